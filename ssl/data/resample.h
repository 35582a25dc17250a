// Resizing a box of an image to a square, by a separable triangle filter.
#pragma once

#include "ssl/data/image_source.h"

namespace tacit::ssl {

/// A box in pixels of the source; sides may be fractions.
struct Box {
  double top, left, height, width;
};
/// out (size, size, C) in [0, 1]. With antialias the filter widens as the box shrinks (PIL's and torchvision's
/// bilinear), taking only pixels of the box; without it the four nearest pixels of the image are mixed.
void resample(const Image&, const Box&, int64_t size, bool flip, bool antialias, float* out);

}  // namespace tacit::ssl
