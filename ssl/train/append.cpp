#include "ssl/train/append.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tensor/error.h"

namespace tacit::ssl {

namespace {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    TACIT_CHECK(fd_ >= 0, "cannot write ", path, ": ", std::strerror(errno));
  }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

void append_to_file(const std::string& path, const std::string& bytes) {
  const Descriptor file(path, O_WRONLY | O_CREAT | O_APPEND);
  const off_t before = ::lseek(file.get(), 0, SEEK_END);
  const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
  if (written == static_cast<ssize_t>(bytes.size())) return;
  const int reason = written < 0 ? errno : ENOSPC;
  // A part of a record is worse than none; failing to remove it is dealt with when the file is next read.
  if (written > 0 && before >= 0 && ::ftruncate(file.get(), before) != 0) errno = 0;
  TACIT_CHECK(false, "cannot write ", path, ": ", std::strerror(reason));
}

void sync_file(const std::string& path) {
  const Descriptor file(path, O_WRONLY);
  TACIT_CHECK(::fdatasync(file.get()) == 0, "cannot write ", path, ": ", std::strerror(errno));
}

void cut_file(const std::string& path, int64_t size) {
  TACIT_CHECK(::truncate(path.c_str(), size) == 0, "cannot cut ", path, ": ", std::strerror(errno));
}

}  // namespace tacit::ssl
