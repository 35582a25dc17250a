// Protocol buffers' wire format (protobuf.dev/programming-guides/encoding), as much as TensorBoard's event files and
// ONNX models need: a message is the concatenation of its fields, each a key (number and wire type) and a value.
// The rule: a nested message, a string and packed numbers are all written by `bytes`.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

namespace tacit::ssl::protobuf {

/// Seven bits a byte, lowest first; negative numbers take ten bytes.
std::string varint(uint64_t value);
/// The bytes of a number in memory (this project runs on little-endian machines only).
template <class T>
std::string raw(T value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}

/// Fields: int64, int32, enum, bool; double; float; string, bytes, message, packed numbers.
std::string integer(int field, int64_t value);
std::string fixed64(int field, double value);
std::string fixed32(int field, float value);
std::string bytes(int field, const std::string& value);

/// What `bytes` puts before a value of that size, for values written apart.
std::string bytes_key(int field, uint64_t size);

/// Walks the fields of a message, which must outlive it; ends at the end or at what is no field.
class Reader {
 public:
  explicit Reader(const std::string& message) : message_(message) {}
  bool next();

  int field = 0;        ///< its number
  uint64_t number = 0;  ///< of an integer field
  std::string bytes;    ///< of every other field

 private:
  uint64_t varint();
  std::string take(uint64_t n);
  const std::string& message_;
  size_t at_ = 0;
};

}  // namespace tacit::ssl::protobuf
