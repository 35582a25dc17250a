// Reading a file whole.
#pragma once

#include <string>

namespace tacit {

/// A file's bytes. Throws Error naming the file and the reason.
std::string read_file(const std::string& path);

}  // namespace tacit
