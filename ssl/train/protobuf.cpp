#include "ssl/train/protobuf.h"

namespace tacit::ssl::protobuf {

namespace {

enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

std::string key(int field, WireType type) { return varint(static_cast<uint64_t>(field) << 3 | type); }

}  // namespace

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}

std::string integer(int field, int64_t value) { return key(field, kVarint) + varint(static_cast<uint64_t>(value)); }
std::string fixed64(int field, double value) { return key(field, kFixed64) + raw(value); }
std::string fixed32(int field, float value) { return key(field, kFixed32) + raw(value); }
std::string bytes_key(int field, uint64_t size) { return key(field, kBytes) + varint(size); }
std::string bytes(int field, const std::string& value) { return bytes_key(field, value.size()) + value; }

bool Reader::next() {
  if (at_ >= message_.size()) return false;
  const uint64_t key = varint();
  field = static_cast<int>(key >> 3);
  switch (key & 7) {
    case kVarint:
      number = varint();
      return true;
    case kFixed64:
      bytes = take(8);
      return true;
    case kBytes:
      bytes = take(varint());
      return true;
    case kFixed32:
      bytes = take(4);
      return true;
    default:
      return false;
  }
}

uint64_t Reader::varint() {
  uint64_t value = 0;
  for (int shift = 0; at_ < message_.size() && shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(message_[at_++]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

std::string Reader::take(uint64_t n) {
  const std::string part = message_.substr(at_, n);
  at_ += part.size();
  return part;
}

}  // namespace tacit::ssl::protobuf
