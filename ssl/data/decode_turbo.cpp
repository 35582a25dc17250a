// JPEG through libjpeg-turbo: two to three times as fast as stb_image, and able to decode at 1/8 … 7/8 of the size.
// Which of the scales is taken depends on sizes only, so the pixels are the same every time within one build.
#include <csetjmp>
#include <cstdio>
// Both in this order: jpeglib.h needs FILE, jerror.h what is in jpeglib.h.
#include <jpeglib.h>
//
#include <jerror.h>

#include <algorithm>

#include "ssl/data/decode.h"
#include "tensor/error.h"

#define TACIT_TEXT_OF(x) #x
#define TACIT_TEXT(x) TACIT_TEXT_OF(x)

namespace tacit::ssl {

namespace {

struct Errors {
  jpeg_error_mgr base;
  std::jmp_buf out;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void leave(j_common_ptr info) {
  auto* const errors = reinterpret_cast<Errors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->out, 1);
}

// Warnings that mean missing or wrong pixels, which libjpeg makes up; such a file is damaged.
void on_message(j_common_ptr info, int level) {
  if (level != -1) return;
  for (const int damage :
       {JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE, JWRN_JPEG_EOF, JWRN_BOGUS_PROGRESSION, JWRN_MUST_RESYNC})
    if (info->err->msg_code == damage) leave(info);
}

/// Nothing in here has a destructor: longjmp skips those. False: errors.message says why.
bool decode(const std::string& bytes, int scale, J_COLOR_SPACE wanted, jpeg_decompress_struct& info, Errors& errors,
            std::vector<uint8_t>& pixels) {
  if (setjmp(errors.out)) return false;
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&info, TRUE);
  info.scale_num = static_cast<unsigned>(scale);
  info.scale_denom = 8;
  info.out_color_space = info.num_components == 1 ? JCS_GRAYSCALE : info.num_components == 4 ? JCS_CMYK : wanted;
  info.dct_method = JDCT_ISLOW;
  jpeg_start_decompress(&info);
  const size_t line = size_t{info.output_width} * static_cast<size_t>(info.output_components);
  pixels.resize(line * info.output_height);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = pixels.data() + line * info.output_scanline;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  return true;
}

/// CMYK to RGB without a colour profile. Adobe's files, almost all there are, hold it inverted.
std::vector<uint8_t> rgb_from_cmyk(const std::vector<uint8_t>& cmyk, bool inverted) {
  std::vector<uint8_t> rgb;
  rgb.reserve(cmyk.size() / 4 * 3);
  for (size_t i = 0; i + 3 < cmyk.size(); i += 4) {
    const int black = inverted ? cmyk[i + 3] : 255 - cmyk[i + 3];
    for (size_t c = 0; c < 3; ++c) {
      const int ink = inverted ? cmyk[i + c] : 255 - cmyk[i + c];
      rgb.push_back(static_cast<uint8_t>((ink * black + 127) / 255));
    }
  }
  return rgb;
}

}  // namespace

std::string jpeg_decoder() {
#ifdef LIBJPEG_TURBO_VERSION
  constexpr const char* version = TACIT_TEXT(LIBJPEG_TURBO_VERSION);
  return std::string("libjpeg-turbo ") + version;
#else
  return "libjpeg";
#endif
}

Image decode_jpeg_turbo(const std::string& bytes, int64_t h, int64_t w, int64_t side) {
  const int64_t shorter = std::min(h, w);
  int scale = 8;
  if (side > 0)
    while (scale > 1 && (shorter * (scale - 1) + 7) / 8 >= side) --scale;
  jpeg_decompress_struct info{};
  Errors errors{};
  info.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = leave;
  errors.base.emit_message = on_message;
  std::vector<uint8_t> pixels;
  const bool good = decode(bytes, scale, JCS_RGB, info, errors, pixels);
  const int64_t components = info.output_components, height = info.output_height, width = info.output_width;
  const bool adobe = info.saw_Adobe_marker != 0;
  jpeg_destroy_decompress(&info);
  TACIT_CHECK(good, errors.message);
  if (components == 4) return {height, width, 3, rgb_from_cmyk(pixels, adobe)};
  return {height, width, components, std::move(pixels)};
}

}  // namespace tacit::ssl
