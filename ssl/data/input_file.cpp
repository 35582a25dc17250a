#include "ssl/data/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "tensor/error.h"

namespace tacit::ssl {

InputFile::InputFile(std::string path)
    : path_(std::move(path)), descriptor_(open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
  struct stat facts {};
  if (descriptor_ < 0 || fstat(descriptor_, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    const std::string reason = descriptor_ < 0 || S_ISREG(facts.st_mode) ? std::strerror(errno) : "not a file";
    if (descriptor_ >= 0) close(descriptor_);
    throw Error("cannot read " + path_ + ": " + reason);
  }
  size_ = facts.st_size;
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

void InputFile::read(int64_t offset, int64_t count, void* to) const {
  auto* at = static_cast<char*>(to);
  while (count > 0) {
    const ssize_t got = pread(descriptor_, at, static_cast<size_t>(count), offset);
    if (got < 0 && errno == EINTR) continue;
    TACIT_CHECK(got >= 0, "cannot read ", path_, ": ", std::strerror(errno));
    TACIT_CHECK(got > 0, path_, " ends before byte ", offset + count, "; it is truncated");
    at += got;
    offset += got;
    count -= got;
  }
}

}  // namespace tacit::ssl
