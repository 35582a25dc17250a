// Writing files that are never seen half-written: a temporary file beside the target, fsync, rename, fsync of the
// folder. The rule: whatever fails or is killed, what was there before stays whole until the new file has replaced it.
#pragma once

#include <string>

#include "tensor/tensor.h"

namespace tacit {

/// A tensor's elements in row-major order, as a file has them.
std::string bytes_of(const Tensor&);

/// Collects the new content of `path` in "<path>.tacit-partial" until commit(); destroyed without it, that file goes.
/// The new file has the old one's permissions. A device, a pipe and anything below /dev and /proc (/dev/stdout,
/// /dev/null) is written to directly, never replaced; a link to a file stays a link. Every function throws Error naming
/// the file and the reason: no space, no such folder, a directory in the way, another process that is writing the same
/// file. Running into a file size limit (RLIMIT_FSIZE) is an Error only where SIGXFSZ is ignored; by default that
/// signal ends the process.
class AtomicFile {
 public:
  /// A name that is nobody else's: a file of this name is taken over, as left by a killed process.
  static constexpr const char* kTemporarySuffix = ".tacit-partial";

  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, size_t count);
  void write(const std::string& bytes) { write(bytes.data(), bytes.size()); }
  void write(const Tensor& tensor) { write(bytes_of(tensor)); }
  /// Puts the new content in place. The last call on this object.
  void commit();

 private:
  [[noreturn]] void fail(const char* what, int error) const;

  std::string path_, target_, temporary_;  // temporary_ "": a device, written to directly
  int descriptor_ = -1;
};

/// AtomicFile for content that is at hand.
void write_file_atomically(const std::string& path, const std::string& bytes);

}  // namespace tacit
