// Image files to pixels: JPEG, PNG, BMP and PNM by stb_image. Internal to ssl/data.
// The rule: a file is never decoded before its header has been checked against max_pixels, and one that ends early
// is an error, not a half-gray image.
#pragma once

#include <string>

#include "ssl/data/image_source.h"

namespace tacit::ssl {

struct ImageHeader {
  int64_t height = 0, width = 0, channels = 0;  ///< channels 1, 3 or 4; gray with alpha counts as 4
};

/// Size and channels from the file's first bytes. Throws Error naming the file.
ImageHeader read_image_header(const std::string& path);

/// The whole image. Throws Error naming the file when it cannot be read, is damaged, or has more than max_pixels.
Image decode_image(const std::string& path, int64_t max_pixels);

}  // namespace tacit::ssl
