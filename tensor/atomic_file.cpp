#include "tensor/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace tacit {

namespace {

// Test hook. TACIT_CRASH_AT=write:N, fsync:N or rename:N kills this process with SIGKILL at the N-th such point,
// counted over all files from 1: after a piece was written, after the fsync, after the rename.
void crash_point(const char* step) {
  const char* const wanted = std::getenv("TACIT_CRASH_AT");
  if (wanted == nullptr) return;
  const size_t length = std::strlen(step);
  if (std::strncmp(wanted, step, length) != 0 || wanted[length] != ':') return;
  static std::atomic<long> passed{0};
  if (++passed == std::atol(wanted + length + 1)) std::raise(SIGKILL);
}

bool same_file(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

// /dev/stdout and the like: what it leads to was opened by somebody else, who goes on writing there, and is not
// replaced.
bool names_open_file(const std::string& path) {
  for (const char* const place : {"/dev/std", "/dev/fd/", "/proc/"})
    if (path.rfind(place, 0) == 0) return true;
  return false;
}

// Makes the rename itself permanent. Some file systems cannot sync a folder, and say so: nothing more can be done
// there.
void sync_folder(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

std::string bytes_of(const Tensor& tensor) {
  const Tensor dense = tensor.contiguous_copy_if_needed();
  std::string bytes(static_cast<size_t>(dense.numel()) * size_of(dense.dtype()), '\0');
  if (!bytes.empty()) dense.backend().download(bytes.data(), dense.view().data, bytes.size());
  return bytes;
}

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(path) {
  struct stat target;
  const bool replaces = ::stat(path.c_str(), &target) == 0;
  if (replaces) {
    if (S_ISDIR(target.st_mode)) fail("it cannot be written", EISDIR);
    if (!S_ISREG(target.st_mode) || names_open_file(path)) {
      descriptor_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
      if (descriptor_ < 0) fail("it cannot be written", errno);
      return;
    }
    std::error_code error;
    const std::filesystem::path linked = std::filesystem::canonical(path, error);
    if (!error) target_ = linked.string();
  }
  temporary_ = target_ + kTemporarySuffix;
  const int descriptor = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (descriptor < 0) fail("it cannot be written", errno);

  // A temporary file left by a killed process is taken over; one that somebody holds, or has just renamed, is not ours.
  struct stat opened, named;
  const bool held = ::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  if (held || ::fstat(descriptor, &opened) != 0 || ::lstat(temporary_.c_str(), &named) != 0 ||
      !same_file(opened, named)) {
    ::close(descriptor);
    detail::fail("[save] ", path_, ": another process is writing it");
  }
  descriptor_ = descriptor;
  // Who may read the old file may read the new one; a file system without permissions may refuse.
  if (replaces) (void)!::fchmod(descriptor_, target.st_mode & 07777);
  if (::ftruncate(descriptor_, 0) != 0) {
    const int error = errno;
    ::close(descriptor_);
    fail("it cannot be written", error);
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  if (!temporary_.empty()) ::unlink(temporary_.c_str());  // before close, which lets go of the lock
  ::close(descriptor_);
}

void AtomicFile::fail(const char* what, int error) const {
  if (error == ENOSPC || error == EDQUOT || error == EFBIG)
    detail::fail("[save] ", path_, ": no space left for it (", std::strerror(error), "); free some and try again");
  detail::fail("[save] ", path_, ": ", what, ": ", std::strerror(error));
}

void AtomicFile::write(const void* bytes, size_t count) {
  const char* next = static_cast<const char*>(bytes);
  for (size_t left = count; left > 0;) {
    const ssize_t written = ::write(descriptor_, next, left);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("it cannot be written", errno);
    next += written;
    left -= static_cast<size_t>(written);
  }
  crash_point("write");
}

void AtomicFile::commit() {
  if (temporary_.empty()) return;  // a device has no half-written state to hide
  if (::fsync(descriptor_) != 0) fail("it cannot be brought to the disk", errno);
  crash_point("fsync");
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("it cannot be replaced", errno);
  crash_point("rename");
  const int descriptor = descriptor_;
  descriptor_ = -1;
  ::close(descriptor);
  sync_folder(target_);
}

void write_file_atomically(const std::string& path, const std::string& bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

}  // namespace tacit
