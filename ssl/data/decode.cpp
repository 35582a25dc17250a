#include "ssl/data/decode.h"

#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <memory>

#include "tensor/error.h"
#include "tensor/read_file.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace tacit::ssl {

namespace {

const stbi_uc* data_of(const std::string& bytes) { return reinterpret_cast<const stbi_uc*>(bytes.data()); }

int64_t little_endian(const std::string& bytes, size_t at, int count) {
  int64_t value = 0;
  for (int i = count - 1; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[at + static_cast<size_t>(i)]);
  return value;
}

/// Where the pixels of a PNM file begin: after the magic number, three numbers (comments between them) and one space.
/// 0 when a number has more digits than an int: stb would read it as another one.
size_t pnm_raster(const std::string& bytes) {
  constexpr size_t kMostDigits = 9;
  size_t at = 2;
  for (int number = 0; number < 3; ++number) {
    while (at < bytes.size() && (std::isspace(static_cast<unsigned char>(bytes[at])) || bytes[at] == '#'))
      at = bytes[at] == '#' ? std::min(bytes.find_first_of("\r\n", at), bytes.size()) : at + 1;
    const size_t first = at;
    while (at < bytes.size() && std::isdigit(static_cast<unsigned char>(bytes[at]))) ++at;
    if (at - first > kMostDigits) return 0;
  }
  return at + 1;
}

/// Size and channels from the first bytes of a file; false where they are no image's.
bool read_header(const std::string& bytes, int& w, int& h, int& channels) {
  if ((bytes.starts_with("P5") || bytes.starts_with("P6")) && pnm_raster(bytes) == 0) return false;
  if (bytes.starts_with("\xFF") && !jpeg_tables_fit(bytes)) return false;
  return stbi_info_from_memory(data_of(bytes), static_cast<int>(bytes.size()), &w, &h, &channels) == 1;
}

/// stb fills what is missing at the end of JPEG, BMP and PNM files with anything; such files are damaged.
bool truncated(const std::string& bytes, int64_t w, int64_t h, int64_t channels) {
  const auto size = static_cast<int64_t>(bytes.size());
  if (bytes.starts_with("P5") || bytes.starts_with("P6")) {
    const bool wide = stbi_is_16_bit_from_memory(data_of(bytes), static_cast<int>(size)) != 0;
    return size < static_cast<int64_t>(pnm_raster(bytes)) + w * h * channels * (wide ? 2 : 1);
  }
  if (bytes.starts_with("\xFF\xD8")) {  // an end marker must follow the last scan's start (thumbnails have their own)
    const size_t end = bytes.rfind("\xFF\xD9"), scan = bytes.rfind("\xFF\xDA");
    return end == std::string::npos || (scan != std::string::npos && end < scan);
  }
  if (bytes.starts_with("BM") && size >= 34 && little_endian(bytes, 30, 4) == 0) {
    const int64_t row = (w * little_endian(bytes, 28, 2) + 31) / 32 * 4;
    return size < little_endian(bytes, 10, 4) + row * h;
  }
  return false;
}

/// Whether every chunk of a PNG is whole and agrees with its checksum, which stb does not look at.
bool damaged_png(const std::string& bytes) {
  if (!bytes.starts_with("\x89PNG\r\n\x1a\n")) return false;
  const auto big_endian = [&](size_t at) {
    int64_t value = 0;
    for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
    return value;
  };
  for (size_t at = 8; at + 12 <= bytes.size();) {  // length, type, data, checksum of type and data
    const auto length = static_cast<size_t>(big_endian(at));
    if (length > bytes.size() - at - 12) return true;
    const auto* const type = reinterpret_cast<const Bytef*>(bytes.data() + at + 4);
    if (crc32_z(0, type, length + 4) != static_cast<uLong>(big_endian(at + 8 + length))) return true;
    if (bytes.compare(at + 4, 4, "IEND") == 0) return false;
    at += 12 + length;
  }
  return true;
}

}  // namespace

Image decode_image(const std::string& bytes, const std::string& name, int64_t max_pixels, int64_t side) {
  TACIT_CHECK(bytes.size() < (size_t{1} << 31), "[image] ", name, " is larger than 2 GB");
  const int size = static_cast<int>(bytes.size());
  int w = 0, h = 0, channels = 0;
  const std::string unsupported = jpeg_unsupported(bytes);
  TACIT_CHECK(unsupported.empty(), "[image] ", name, " is ", unsupported);
  TACIT_CHECK(read_header(bytes, w, h, channels) && w > 0 && h > 0, "[image] ", name,
              " is damaged or not a JPEG, PNG, BMP or PNM image");
  TACIT_CHECK(int64_t{w} * h <= max_pixels, "[image] ", name, " has ", w, " x ", h, " pixels, the limit is ",
              max_pixels, "; raise --max-pixels to read it");
  TACIT_CHECK(!truncated(bytes, w, h, channels), "[image] ", name, " is damaged: it ends before its last pixel");
  TACIT_CHECK(!damaged_png(bytes), "[image] ", name,
              " is damaged: a part is missing or does not agree with its checksum");
#ifdef TACIT_JPEG_TURBO
  if (bytes.starts_with("\xFF\xD8")) {
    try {
      return decode_jpeg_turbo(bytes, h, w, side);
    } catch (const Error& e) {
      throw Error("[image] " + name + " is damaged: " + e.what());
    }
  }
#endif
  (void)side;                                       // stb has one scale
  const int wanted = channels == 2 ? 4 : channels;  // gray with alpha
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(data_of(bytes), size, &w, &h, &channels, wanted), stbi_image_free);
  TACIT_CHECK(pixels, "[image] ", name, " is damaged: ", stbi_failure_reason());
  const size_t count = static_cast<size_t>(w) * static_cast<size_t>(h) * static_cast<size_t>(wanted);
  return {h, w, wanted, std::vector<uint8_t>(pixels.get(), pixels.get() + count)};
}

Image decode_file(const std::string& path, int64_t max_pixels, int64_t side) {
  return decode_image(read_file(path), path, max_pixels, side);
}

std::pair<int64_t, int64_t> image_size_of(const std::string& head) {
  int w = 0, h = 0, channels = 0;
  if (!read_header(head, w, h, channels)) return {0, 0};
  return {h, w};
}

std::pair<int64_t, int64_t> image_file_size(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string head(size_t{1} << 16, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<size_t>(file.gcount()));
  return image_size_of(head);
}

#ifndef TACIT_JPEG_TURBO
std::string jpeg_decoder() { return "stb_image"; }
#endif

}  // namespace tacit::ssl
