// The directories that outputs lie in. The rule: what an output lacks is made when it is written, and found out before
// the work that fills it, without leaving anything behind.
#pragma once

#include <string>

namespace tacit {

/// Makes `path` and the parents it lacks. Throws Error naming the path and the reason: a file in the way, no rights.
void make_directories(const std::string& path);
/// Throws the Error of make_directories(path) where it would fail, or where the directory that is there cannot be
/// written to; makes nothing.
void check_directory(const std::string& path);
/// `file`, whose directory is made if it is missing: for a file about to be written.
const std::string& with_directory(const std::string& file);

}  // namespace tacit
