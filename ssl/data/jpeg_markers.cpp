// What a JPEG's markers say before a decoder sees it: whether its Huffman tables have more codes than there are bytes
// (Debian's stb_image writes past its own table for them; found by tests/fuzz/fuzz_image.cpp), and whether it is of a
// kind that is not read here.
#include <cstdint>

#include "ssl/data/decode.h"

namespace tacit::ssl {

namespace {

constexpr int kTables = 0xC4, kFirstFrame = 0xC0, kLastFrame = 0xCF, kReserved = 0xC8, kArithmeticTables = 0xCC,
              kScan = 0xDA, kEnd = 0xD9;

int64_t byte_of(const std::string& bytes, size_t i) {
  return i < bytes.size() ? int64_t{static_cast<uint8_t>(bytes[i])} : int64_t{0};
}

/// Calls f(code, where its contents begin, their length) for each marker with contents until f returns false.
/// ISO/IEC 10918-1, B.1.1: a marker is FF (repeated at will) and a code; compressed data has FF 00 and restart markers.
template <class F>
void for_markers(const std::string& bytes, F&& f) {
  for (size_t at = bytes.find('\xFF'); at < bytes.size(); at = bytes.find('\xFF', at)) {
    while (byte_of(bytes, at) == 0xFF) ++at;
    const int64_t code = byte_of(bytes, at++);
    const bool alone = code <= 1 || (code >= 0xD0 && code <= 0xD8);
    if (alone) continue;
    if (code == kEnd) return;
    const int64_t length = (byte_of(bytes, at) << 8 | byte_of(bytes, at + 1)) - 2;
    at += 2;
    if (!f(code, at, length)) return;
    at += static_cast<size_t>(length > 0 ? length : 0);
  }
}

}  // namespace

bool jpeg_tables_fit(const std::string& bytes) {
  constexpr int64_t kMostCodes = 256, kCounts = 16;
  bool fit = true;
  for_markers(bytes, [&](int64_t code, size_t at, int64_t left) {
    while (code == kTables && left > 0) {  // B.2.4.2: class and number, how many codes of 1 … 16 bits, their values
      int64_t codes = 0;
      for (int64_t i = 1; i <= kCounts; ++i) codes += byte_of(bytes, at + static_cast<size_t>(i));
      fit = fit && codes <= kMostCodes;
      at += static_cast<size_t>(1 + kCounts + codes);
      left -= 1 + kCounts + codes;
    }
    return fit;
  });
  return fit;
}

std::string jpeg_unsupported(const std::string& bytes) {
  std::string kind;
  if (!bytes.starts_with("\xFF\xD8")) return kind;
  for_markers(bytes, [&](int64_t code, size_t at, int64_t) {
    if (code == kScan) return false;
    if (code < kFirstFrame || code > kLastFrame || code == kTables || code == kReserved || code == kArithmeticTables)
      return true;
    // Table B.1: 0 to 2 are the usual ones, 3, 7, 11, 15 lossless, 5 to 7 and 13 to 15 differential, from 9 arithmetic.
    const int64_t frame = code - kFirstFrame, precision = byte_of(bytes, at);
    if (frame >= 9)
      kind = "an arithmetic-coded JPEG";
    else if (frame % 4 == 3)
      kind = "a lossless JPEG";
    else if (frame > 2)
      kind = "a hierarchical JPEG";
    else if (precision != 8)
      kind = "a JPEG of " + std::to_string(precision) + " bits a sample";
    return false;
  });
  return kind.empty() ? kind : kind + ", which is not supported; convert it to a baseline or progressive one of 8 bits";
}

}  // namespace tacit::ssl
