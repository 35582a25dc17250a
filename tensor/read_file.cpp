#include "tensor/read_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tensor/error.h"

namespace tacit {

std::string read_file(const std::string& path) {
  std::error_code ignored;  // a directory opens like an empty file
  TACIT_CHECK(!std::filesystem::is_directory(path, ignored), "cannot read ", path, ": it is a directory");
  std::ifstream file(path, std::ios::binary);
  TACIT_CHECK(file, "cannot read ", path, ": ", std::strerror(errno));
  std::ostringstream bytes;
  bytes << file.rdbuf();
  TACIT_CHECK(!file.bad(), "cannot read ", path, ": ", std::strerror(errno));
  return bytes.str();
}

}  // namespace tacit
