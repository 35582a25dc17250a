// The steps of apply_view(), each on f32 pixels (size, size, channels) in [0, 1]. Internal to ssl/data.
// The rule: pure functions of their arguments; scratch memory is per thread and kept between calls.
#pragma once

#include <vector>

#include "ssl/data/augment.h"

namespace tacit::ssl {

/// The parameters of the plain view: the largest central square, and nothing else.
ViewParameters central_view(int64_t height, int64_t width);

/// One axis of a resize: output i is the sum over k < taps of weight[i * taps + k] * source[first[i] + k].
struct ResizeAxis {
  int64_t taps = 0;
  std::vector<int64_t> first;
  std::vector<float> weight;
};
/// Bilinear weights from source pixels [begin, begin + length) (real coordinates, pixel j covers [j, j + 1)) to `size`
/// outputs, as Pillow computes them: a triangle over the source, widened by the factor of shrinking if `antialias`,
/// cut at the pixels low … high-1 and normalised to sum one.
void resize_axis(double begin, double length, int64_t size, int64_t low, int64_t high, bool antialias, ResizeAxis& out);

/// Crops, resizes and (if wanted) mirrors: `image` u8 to `out` (size, size, channels of the image) in [0, 1].
void crop_and_resize(const Image& image, const ViewParameters&, bool antialias, bool cut_at_box, int64_t size,
                     float* out);

/// max(x, 1e-4)^exponent.
void apply_gamma(float* x, int64_t n, float exponent);
/// torchvision's colour jitter: the four factors in the drawn order, each result clipped to [0, 1].
void apply_jitter(float* pixels, int64_t n, int64_t channels, const ViewParameters&);
void adjust_brightness(float* pixels, int64_t n, int64_t channels, float factor);
/// Blend with the mean of the gray image.
void adjust_contrast(float* pixels, int64_t n, int64_t channels, float factor);
/// Blend with the gray image.
void adjust_saturation(float* pixels, int64_t n, int64_t channels, float factor);
/// Turns the hue by `turn` of a full circle.
void adjust_hue(float* pixels, int64_t n, int64_t channels, float turn);
void apply_grayscale(float* pixels, int64_t n, int64_t channels);
/// x below 0.5 stays, above becomes 1 - x.
void apply_solarize(float* x, int64_t n);

/// Weights of a Gaussian of an odd length, normalised to sum one.
std::vector<float> gaussian_kernel(int64_t length, double sigma);
/// Gaussian blur, separable, with reflected borders; the kernel has size / 10 entries, made odd.
void apply_blur(float* pixels, int64_t size, int64_t channels, double sigma);

}  // namespace tacit::ssl
