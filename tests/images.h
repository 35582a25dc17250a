// Small image files and archives, made on the spot, for the tests of data.
#pragma once

#include <zlib.h>

#include <optional>
#include <set>
#include <string>
#include <utility>

#include "ssl/data/image_source.h"
#include "tensor/error.h"

namespace tacit::testing {

/// A colour image whose pixels depend on `seed`.
inline std::string ppm(int side, int seed) {
  std::string bytes = "P6\n" + std::to_string(side) + " " + std::to_string(side) + "\n255\n";
  for (int i = 0; i < side * side * 3; ++i) bytes += static_cast<char>((i * seed) % 256);
  return bytes;
}
/// A gray one of another shape, all of one value.
inline std::string pgm(int height, int width, int value) {
  return "P5\n" + std::to_string(width) + " " + std::to_string(height) + "\n255\n" +
         std::string(static_cast<size_t>(height * width), static_cast<char>(value));
}

inline std::string big_endian(uint32_t v) {
  return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
}

/// MNIST's files: n images of side x side pixels 0, 1, 2 …; n labels 0, 1, 2, 0, …
inline std::string idx_images(uint32_t n, uint32_t side, uint32_t magic = 0x803) {
  std::string bytes = big_endian(magic) + big_endian(n) + big_endian(side) + big_endian(side);
  for (uint32_t i = 0; i < n * side * side; ++i) bytes += static_cast<char>(i % 256);
  return bytes;
}
inline std::string idx_labels(uint32_t n, uint32_t magic = 0x801) {
  std::string bytes = big_endian(magic) + big_endian(n);
  for (uint32_t i = 0; i < n; ++i) bytes += static_cast<char>(i % 3);
  return bytes;
}

/// The bytes as gzip has them.
inline std::string gzipped(const std::string& bytes) {
  constexpr int kGzip = 15 + 16;
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK) throw Error("no zlib");
  std::string out(deflateBound(&stream, bytes.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int done = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (done != Z_STREAM_END) throw Error("zlib cannot compress");
  return out;
}

/// A file of a tar (POSIX ustar): header, bytes, padding.
inline std::string tar_member(const std::string& name, const std::string& bytes, char type = '0') {
  std::string header(512, '\0');
  const auto put = [&](size_t at, const std::string& text) { header.replace(at, text.size(), text); };
  const auto octal = [](size_t value, size_t digits) {
    std::string text;
    for (; digits > 0; --digits, value /= 8) text.insert(text.begin(), static_cast<char>('0' + value % 8));
    return text;
  };
  put(0, name.substr(0, 100));
  put(100, "0000644");
  put(124, octal(bytes.size(), 11));
  put(148, "        ");
  header[156] = type;
  put(257, std::string("ustar\0"
                       "00",
                       8));
  size_t sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put(148, octal(sum, 6) + std::string("\0 ", 2));
  return header + bytes + std::string((512 - bytes.size() % 512) % 512, '\0');
}
inline std::string tar_end() { return std::string(1024, '\0'); }

/// What open_data says to this; "no error" when it opens.
inline std::string error_of(const std::vector<std::string>& specs, ssl::Split split = ssl::Split::Train,
                            const ssl::DataOptions& options = {}) {
  try {
    ssl::open_data(specs, split, options);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

/// A source some of whose images cannot be read.
class SomeDamaged final : public ssl::ImageSource {
 public:
  SomeDamaged(ssl::ImageSourcePtr whole, std::set<int64_t> bad) : whole_(std::move(whole)), bad_(std::move(bad)) {}
  int64_t size() const override { return whole_->size(); }
  ssl::Image image(int64_t i) const override {
    if (bad_.count(i)) throw Error("image " + std::to_string(i) + " is damaged");
    return whole_->image(i);
  }
  std::optional<int64_t> label(int64_t i) const override { return whole_->label(i); }
  int64_t channels() const override { return whole_->channels(); }
  std::pair<int64_t, int64_t> image_size() const override { return whole_->image_size(); }

 private:
  ssl::ImageSourcePtr whole_;
  std::set<int64_t> bad_;
};

}  // namespace tacit::testing
