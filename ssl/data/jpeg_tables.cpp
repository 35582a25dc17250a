// JPEG files whose Huffman tables have more codes than there are bytes: Debian's stb_image writes past its own table
// for them (found by tests/fuzz/fuzz_image.cpp), so they are refused before it sees them.
#include <cstdint>

#include "ssl/data/decode.h"

namespace tacit::ssl {

bool jpeg_tables_fit(const std::string& bytes) {
  constexpr int64_t kMostCodes = 256, kCounts = 16;
  constexpr int kTables = 0xC4, kEnd = 0xD9;
  const auto byte = [&](size_t i) { return i < bytes.size() ? int64_t{static_cast<uint8_t>(bytes[i])} : int64_t{0}; };
  // ISO/IEC 10918-1, B.1.1: a marker is FF (repeated at will) and a code; compressed data has FF 00 and restart
  // markers.
  for (size_t at = bytes.find('\xFF'); at < bytes.size(); at = bytes.find('\xFF', at)) {
    while (byte(at) == 0xFF) ++at;
    const int64_t code = byte(at++);
    const bool alone = code <= 1 || (code >= 0xD0 && code <= 0xD8);
    if (alone) continue;
    if (code == kEnd) return true;
    int64_t left = (byte(at) << 8 | byte(at + 1)) - 2;
    at += 2;
    if (code != kTables) {
      at += static_cast<size_t>(left > 0 ? left : 0);
      continue;
    }
    while (left > 0) {  // B.2.4.2: class and number, how many codes of 1 … 16 bits, their values
      int64_t codes = 0;
      for (int64_t i = 1; i <= kCounts; ++i) codes += byte(at + static_cast<size_t>(i));
      if (codes > kMostCodes) return false;
      at += static_cast<size_t>(1 + kCounts + codes);
      left -= 1 + kCounts + codes;
    }
  }
  return true;
}

}  // namespace tacit::ssl
