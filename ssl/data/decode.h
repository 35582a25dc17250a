// Image files into pixels: JPEG, PNG, BMP and PNM.
#pragma once

#include "ssl/data/image_source.h"

namespace tacit::ssl {

/// Throws Error naming the file: unreadable, damaged, not an image, or of more than max_pixels (seen before decoding).
Image decode_file(const std::string& path, int64_t max_pixels);
/// {height, width} from the file's header; {0, 0} when it cannot be read.
std::pair<int64_t, int64_t> image_file_size(const std::string& path);

/// Whether every Huffman table in a JPEG file (or in its beginning) has at most 256 codes. True for other files.
bool jpeg_tables_fit(const std::string& bytes);

}  // namespace tacit::ssl
