// Near-identical images. Features propose them and pixels decide: features alone call every white shirt the same,
// pixels alone would have to be compared with all others. The rule: similarity is not transitive but groups are: an
// image belongs where it resembles any member.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace tacit::ssl {

/// The correlation of two images' pixels, or of one with the other's mirror image if that is larger: in [-1, 1], blind
/// to brightness and contrast. Images of one colour: 1 where the colours are equal, else 0.
double pixel_correlation(const float* a, const float* b, int64_t height, int64_t width, int64_t channels);

/// Images that are nearly the same.
struct DuplicateGroup {
  std::vector<int64_t> images;     ///< ascending, at least two
  std::vector<double> similarity;  ///< of each to the member that it resembles most
};
/// features (N, D); thumbnails (N, H, W, C) f32. An image is compared with the `neighbours` whose features are nearest;
/// pairs with a pixel_correlation of at least `threshold` share a group. The largest similarity first, then by the
/// first image. Throws Error for N = 0 and features that are not finite.
std::vector<DuplicateGroup> duplicates(const Tensor& features, const Tensor& thumbnails, double threshold,
                                       int64_t neighbours = 10);

}  // namespace tacit::ssl
