// Image files into pixels: JPEG, PNG, BMP and PNM.
#pragma once

#include "ssl/data/image_source.h"

namespace tacit::ssl {

/// An image from a file's bytes; `name` is what errors call it. side > 0: a JPEG may come smaller than it is, if the
/// shorter side stays at least `side`. Throws Error: damaged, not an image, unsupported, or of more than max_pixels
/// (seen before decoding). Pixels of JPEGs differ a little between the decoders that a build may have.
Image decode_image(const std::string& bytes, const std::string& name, int64_t max_pixels, int64_t side = 0);
/// The same from a file; also when it cannot be read.
Image decode_file(const std::string& path, int64_t max_pixels, int64_t side = 0);
/// {height, width} from the first bytes of an image file; {0, 0} when they do not say.
std::pair<int64_t, int64_t> image_size_of(const std::string& head);
std::pair<int64_t, int64_t> image_file_size(const std::string& path);
/// What decodes JPEGs: "libjpeg-turbo VERSION" where the build found it, else "stb_image".
std::string jpeg_decoder();

/// libjpeg-turbo's decoding of a JPEG of w x h pixels, to the smallest of its eight scales that keeps the shorter side
/// at `side` or more (0: as it is). Only in builds that have it. Throws Error with the reason alone.
Image decode_jpeg_turbo(const std::string& bytes, int64_t h, int64_t w, int64_t side);
/// Why a JPEG (or its beginning) is of a kind that no decoder here reads: 12 bits, arithmetic coding, lossless. "" for
/// other files.
std::string jpeg_unsupported(const std::string& bytes);
/// Whether every Huffman table in a JPEG file (or in its beginning) has at most 256 codes. True for other files.
bool jpeg_tables_fit(const std::string& bytes);

}  // namespace tacit::ssl
