#include "ssl/data/decode.h"

#include <cstdio>
#include <memory>

#include "tensor/error.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
#define STBI_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace tacit::ssl {

namespace {

/// A file as stb_image's callbacks see it. stb_image reads zeros beyond the end and carries on; `ended` tells.
class ImageFile {
 public:
  explicit ImageFile(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "rb"), &std::fclose) {
    TACIT_CHECK(file_ != nullptr, "[image] cannot open ", path);
  }

  ImageHeader header() {
    const stbi_io_callbacks calls = callbacks();
    int width = 0, height = 0, channels = 0;
    TACIT_CHECK(stbi_info_from_callbacks(&calls, this, &width, &height, &channels) != 0, "[image] ", path_,
                " is no image: ", reason());
    TACIT_CHECK(width > 0 && height > 0, "[image] ", path_, " is no image: it is ", width, " x ", height, " pixels");
    return {height, width, channels == 2 ? 4 : channels};
  }

  Image pixels(const ImageHeader& header) {
    std::rewind(file_.get());
    ended_ = false;
    const stbi_io_callbacks calls = callbacks();
    int width = 0, height = 0, stored = 0;
    const std::unique_ptr<stbi_uc, void (*)(void*)> data(
        stbi_load_from_callbacks(&calls, this, &width, &height, &stored, static_cast<int>(header.channels)),
        &stbi_image_free);
    TACIT_CHECK(data != nullptr, "[image] ", path_, " is damaged: ", reason());
    TACIT_CHECK(!ended_, "[image] ", path_, " is truncated");
    const int64_t bytes = int64_t{height} * width * header.channels;
    return {height, width, header.channels, std::vector<uint8_t>(data.get(), data.get() + bytes)};
  }

 private:
  static stbi_io_callbacks callbacks() {
    stbi_io_callbacks calls{};
    calls.read = [](void* user, char* to, int size) {
      auto* self = static_cast<ImageFile*>(user);
      const auto got = static_cast<int>(std::fread(to, 1, static_cast<size_t>(size), self->file_.get()));
      if (got == 0 && size > 0) self->ended_ = true;
      return got;
    };
    calls.skip = [](void* user, int bytes) { std::fseek(static_cast<ImageFile*>(user)->file_.get(), bytes, SEEK_CUR); };
    calls.eof = [](void* user) { return std::feof(static_cast<ImageFile*>(user)->file_.get()); };
    return calls;
  }
  static const char* reason() {
    const char* text = stbi_failure_reason();
    return text != nullptr ? text : "unknown format";
  }

  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  bool ended_ = false;
};

}  // namespace

ImageHeader read_image_header(const std::string& path) { return ImageFile(path).header(); }

Image decode_image(const std::string& path, int64_t max_pixels) {
  ImageFile file(path);
  const ImageHeader header = file.header();
  TACIT_CHECK(header.height * header.width <= max_pixels, "[image] ", path, " has ", header.width, " x ", header.height,
              " pixels, above --max-pixels ", max_pixels);
  return file.pixels(header);
}

}  // namespace tacit::ssl
