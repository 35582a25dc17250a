#include "tensor/read_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tensor/error.h"

namespace tacit {

std::string read_file(const std::string& path) {
  // Not an ifstream: it takes an error of the disk for the end of the file.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  TACIT_CHECK(file >= 0, "cannot read ", path, ": ", std::strerror(errno));
  std::string bytes, block(1 << 16, '\0');
  ssize_t got = 0;
  while ((got = ::read(file, block.data(), block.size())) != 0) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    bytes.append(block, 0, static_cast<size_t>(got));
  }
  const int error = errno;
  ::close(file);
  TACIT_CHECK(got == 0, "cannot read ", path, ": ", error == EISDIR ? "it is a directory" : std::strerror(error));
  return bytes;
}

}  // namespace tacit
