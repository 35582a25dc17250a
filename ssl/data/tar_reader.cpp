#include "ssl/data/tar_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "tensor/error.h"

namespace tacit::ssl {

namespace {

constexpr int64_t kLongestName = 1 << 16;
using Block = std::array<char, kTarBlock>;

// Fields of a header (POSIX.1-1988): offset and length.
struct Field {
  size_t at, length;
};
constexpr Field kName{0, 100}, kSize{124, 12}, kChecksum{148, 8}, kMagic{257, 6}, kPrefix{345, 155};
constexpr size_t kType = 156;

int64_t rounded_up(int64_t bytes) { return (bytes + kTarBlock - 1) / kTarBlock * kTarBlock; }

std::string text_of(const Block& block, Field field) {
  const char* const first = block.data() + field.at;
  return {first, strnlen(first, field.length)};
}

/// Octal digits among spaces, or GNU's base 256 where the first bit is set. -1: neither.
int64_t number_of(const Block& block, Field field) {
  const auto* p = reinterpret_cast<const uint8_t*>(block.data()) + field.at;
  if (p[0] & 0x80) {
    int64_t value = p[0] & 0x3F;
    for (size_t i = 1; i < field.length; ++i) {
      if (value >> 48) return -1;
      value = value << 8 | p[i];
    }
    return value;
  }
  std::string digits = text_of(block, field);
  digits.erase(std::remove(digits.begin(), digits.end(), ' '), digits.end());
  int64_t value = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
  return result.ec == std::errc() && result.ptr == digits.data() + digits.size() ? value : -1;
}

bool checksum_fits(const Block& block) {
  int64_t sum = 0;
  for (size_t i = 0; i < block.size(); ++i) {
    const bool own = i >= kChecksum.at && i < kChecksum.at + kChecksum.length;
    sum += own ? ' ' : static_cast<uint8_t>(block[i]);
  }
  return sum == number_of(block, kChecksum);
}

const char* compression_of(const InputFile& file) {
  std::string start(static_cast<size_t>(std::min<int64_t>(file.size(), 6)), '\0');
  file.read(0, static_cast<int64_t>(start.size()), start.data());
  if (start.starts_with("\x1F\x8B")) return "gzip";
  if (start.starts_with("BZh")) return "bzip2";
  if (start.starts_with("\xFD"
                        "7zXZ"))
    return "xz";
  if (start.starts_with("\x28\xB5\x2F\xFD")) return "zstd";
  return nullptr;
}

/// What a pax header says, "LENGTH key=value\n" again and again, about the next file.
void read_pax(const std::string& text, std::string& name, int64_t& size) {
  for (size_t at = 0; at < text.size();) {
    size_t length = 0;
    const auto result = std::from_chars(text.data() + at, text.data() + text.size(), length);
    const auto digits = static_cast<size_t>(result.ptr - (text.data() + at));
    if (result.ec != std::errc() || length <= digits + 1 || length > text.size() - at) return;
    const std::string record = text.substr(at + digits + 1, length - digits - 2);
    if (record.starts_with("path=")) name = record.substr(5);
    if (record.starts_with("size=")) {
      int64_t value = -1;
      std::from_chars(record.data() + 5, record.data() + record.size(), value);
      if (value >= 0) size = value;
    }
    at += length;
  }
}

}  // namespace

std::string TarReader::read_text(int64_t length) const {
  TACIT_CHECK(length <= kLongestName, "[tar] ", file_.path(), " has a name of ", length, " bytes at byte ", at_);
  std::string text(static_cast<size_t>(length), '\0');
  file_.read(at_ + kTarBlock, length, text.data());
  return text;
}

bool TarReader::next(TarEntry& entry) {
  std::string long_name;
  int64_t long_size = -1, header = at_;
  const char* const compression = at_ == 0 ? compression_of(file_) : nullptr;
  TACIT_CHECK(!compression, "[tar] ", file_.path(), " is compressed (", compression,
              "): its images cannot be read in place; decompress it once (images are compressed already)");
  for (;;) {
    TACIT_CHECK(at_ <= file_.size() - kTarBlock, "[tar] ", file_.path(), " is truncated: it ends at byte ",
                file_.size(), " without an end mark");
    Block block;
    file_.read(at_, kTarBlock, block.data());
    if (std::all_of(block.begin(), block.end(), [](char c) { return c == 0; })) return false;
    if (!checksum_fits(block)) {
      TACIT_CHECK(at_ > 0, "[tar] ", file_.path(), " is not a tar archive");
      throw Error("[tar] " + file_.path() + " is damaged at byte " + std::to_string(at_));
    }
    int64_t length = number_of(block, kSize);
    const char type = block[kType];
    const bool file = type == '0' || type == '\0' || type == '7';
    if (file && long_size >= 0) length = long_size;
    TACIT_CHECK(length >= 0, "[tar] ", file_.path(), " is damaged at byte ", at_, ": a file without a size");
    std::string name = text_of(block, kName);
    const std::string prefix = text_of(block, kPrefix);
    if (std::memcmp(block.data() + kMagic.at, "ustar", kMagic.length) == 0 && !prefix.empty())
      name = prefix + "/" + name;
    if (!long_name.empty()) name = long_name;
    TACIT_CHECK(length <= file_.size() - at_ - kTarBlock, "[tar] ", file_.path(), " is truncated: '", name, "' has ",
                length, " bytes at byte ", at_ + kTarBlock, ", the file ends at ", file_.size());
    const int64_t data = at_ + kTarBlock;
    if (type == 'L') long_name = read_text(length).c_str();
    if (type == 'x') read_pax(read_text(length), long_name, long_size);
    const bool for_next = type == 'L' || type == 'K' || type == 'x' || type == 'g';
    at_ = data + rounded_up(length);
    if (file) {
      entry = {std::move(name), header, data, length};
      return true;
    }
    if (for_next) continue;
    // A directory, a link, a device: not of interest, nor what was said of it.
    long_name.clear();
    long_size = -1;
    header = at_;
  }
}

}  // namespace tacit::ssl
