// Images as sequences of patches, and the random choice of those that are hidden (MAE's masking).
// The rule: patches are in row-major order of the grid; the pixels of a patch too, channels last ("nhwpqc"), so that
// unpatchify(patchify(x)) is x.
#pragma once

#include <functional>

#include "tensor/tensor.h"

namespace tacit::ssl {

/// (N, H, W, C) -> (N, H/p W/p, p p C). Throws Error unless p divides both sides.
Tensor patchify(const Tensor& images, int64_t patch);
/// The inverse, for images of that height and width.
Tensor unpatchify(const Tensor& patches, int64_t patch, int64_t height, int64_t width);

/// Which patches of each image are hidden; every image has its own random order of its L patches, of which the first V
/// stay visible.
struct Masking {
  Tensor keep;     ///< (N, V) i64: the visible patches, in the order drawn
  Tensor hidden;   ///< (N, L - V) i64: the hidden ones, likewise
  Tensor restore;  ///< (N, L) i64: where patch l stands in [visible ones, hidden ones]
  Tensor mask;     ///< (N, L) f32: 1 = hidden, 0 = visible
};
/// V = floor(L (1 - ratio)), in double precision as the official code computes it. Throws Error unless 0 < ratio < 1
/// and at least one patch is visible and one hidden.
int64_t visible_patches(int64_t patches, double ratio);
/// The order of image n is the stable argsort of uniforms n L … n L + L - 1 of the stream.
Masking random_masking(int64_t images, int64_t patches, double ratio, uint64_t seed, uint64_t stream, Device);
/// The same as an input of this step, from the stream that belongs to it.
Masking random_masking(int64_t images, int64_t patches, double ratio, uint64_t seed, int64_t step,
                       const std::function<uint64_t(int64_t step)>& stream, Device);

}  // namespace tacit::ssl
