// A file that is read in place, piece by piece and from many threads. Not a mapping: a file cut short by another
// program is an Error here, and would be a signal there.
#pragma once

#include <cstdint>
#include <string>

namespace tacit::ssl {

class InputFile {
 public:
  /// Throws Error naming the file and the reason.
  explicit InputFile(std::string path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }
  /// `count` bytes from `offset` on. Throws Error where the file ends before.
  void read(int64_t offset, int64_t count, void* to) const;

 private:
  std::string path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

}  // namespace tacit::ssl
