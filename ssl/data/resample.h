// Resizing a box of an image, by a separable triangle or cubic filter.
#pragma once

#include "ssl/data/image_source.h"

namespace tacit::ssl {

/// A box in pixels of the source; sides may be fractions.
struct Box {
  double top, left, height, width;
};
enum class Filter { Bilinear, Bicubic };

/// out (height, width, C) in [0, 1]. With antialias the filter widens as the box shrinks (PIL's and torchvision's
/// bilinear, and PIL's bicubic, a = -0.5, whose overshoot is clamped), taking only pixels of the box; without it the
/// nearest pixels of the image are mixed. `flip` mirrors left and right.
void resample(const Image&, const Box&, int64_t height, int64_t width, bool flip, bool antialias, Filter, float* out);
/// The weights (size, source), row by row, by which PIL's filter with antialias makes `size` values of `source`.
std::vector<float> resampling_matrix(int64_t source, int64_t size, Filter);
/// The same as resample() into a square, bilinear.
inline void resample(const Image& image, const Box& box, int64_t size, bool flip, bool antialias, float* out) {
  resample(image, box, size, size, flip, antialias, Filter::Bilinear, out);
}

}  // namespace tacit::ssl
