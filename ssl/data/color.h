// Colour and sharpness changes of one view in place: pixels (n, C) in [0, 1], C 1 or 3; as in torchvision.
#pragma once

#include <cstdint>

namespace tacit::ssl {

/// x^exponent of max(x, 1e-4).
void adjust_gamma(float* x, int64_t n, double exponent);
/// x * factor, clamped.
void adjust_brightness(float* x, int64_t n, double factor);
/// Away from (factor > 1) or towards the mean of the gray image, clamped.
void adjust_contrast(float* x, int64_t pixels, int64_t channels, double factor);
/// Away from or towards each pixel's gray, clamped. Nothing for gray images.
void adjust_saturation(float* x, int64_t pixels, int64_t channels, double factor);
/// Turns the hue by `turn` of the full circle, -0.5 … 0.5. Nothing for gray images.
void adjust_hue(float* x, int64_t pixels, int64_t channels, double turn);
/// Every channel becomes the gray (.299, .587, .114).
void to_gray(float* x, int64_t pixels, int64_t channels);
/// Gaussian blur of a (size, size, C) image; kernel size / 10 made odd, borders mirrored.
void gaussian_blur(float* x, int64_t size, int64_t channels, double sigma);
/// 1 - x where x is at least 0.5.
void solarize(float* x, int64_t n);
/// (L - 50) / 50 of CIE Lab of RGB pixels (n, 3) -> n.
void to_lightness(const float* rgb, int64_t pixels, float* lightness);

}  // namespace tacit::ssl
