// Lab: sRGB to CIE 1976 L*a*b* (D65) and back, as tensor ops: on any device, in f32 or f64, over all threads.
// The rule: RGB is in [0, 1] and stands in the last dimension, as Lab does: L 0 … 100, a and b about -108 … 99.
#pragma once

#include "tensor/tensor.h"

namespace tacit::ssl {

/// (…, 3) -> (…, 3).
Tensor rgb_to_lab(const Tensor& rgb);
/// The first channel of rgb_to_lab alone, which is half the work: (…, 3) -> (…, 1).
Tensor rgb_to_lightness(const Tensor& rgb);
/// The reverse; colours that sRGB lacks are clamped to [0, 1].
Tensor lab_to_rgb(const Tensor& lab);
/// RGB (…, 3) in [0, 1] without its colours: each pixel the gray of its lightness.
Tensor lightness_as_gray(const Tensor& rgb);

}  // namespace tacit::ssl
