// Where the files in an uncompressed tar lie. libarchive reads archives from front to back; what is needed here are
// positions, so that any file can be read in place later.
#pragma once

#include <cstdint>
#include <string>

#include "ssl/data/input_file.h"

namespace tacit::ssl {

/// A tar is made of blocks of this many bytes: headers are one each, files are filled up to whole ones.
inline constexpr int64_t kTarBlock = 512;

struct TarEntry {
  std::string name;
  int64_t header = 0;            ///< where its headers begin, those that hold a long name first; one block each
  int64_t data = 0, length = 0;  ///< its bytes
};

/// Goes through the regular files of a tar: POSIX ustar, its pax extensions (path, size) and GNU's long names and
/// sizes.
class TarReader {
 public:
  /// `file` must outlive the reader. `at`: 0, or the header of a TarEntry.
  explicit TarReader(const InputFile& file, int64_t at = 0) : file_(file), at_(at) {}
  /// False at the archive's end. Throws Error naming the file: compressed, not a tar, damaged, cut short.
  bool next(TarEntry&);

 private:
  std::string read_text(int64_t length) const;

  const InputFile& file_;
  int64_t at_;
};

}  // namespace tacit::ssl
