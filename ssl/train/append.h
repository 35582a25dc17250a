// Appending whole records to a log that a kill, a full disk or a power cut may end at any byte.
#pragma once

#include <string>

namespace tacit::ssl {

/// Appends with one write, so that a killed process leaves a whole record or none. Throws Error naming the file and the
/// reason (no space); what was there before stays.
void append_to_file(const std::string& path, const std::string& bytes);
/// Forces what was appended to the disk.
void sync_file(const std::string& path);
/// Cuts a file to its first `size` bytes.
void cut_file(const std::string& path, int64_t size);

}  // namespace tacit::ssl
