// The arithmetic of one pixel of an augmented view: what channels mean, colours, lightness. As in torchvision.
// The rule: plain functions (TACIT_HD) of values in [0, 1], written once for the CPU's vector kernels and every
// backend.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/hd.h"
#include "tensor/srgb.h"

namespace tacit::augment {
inline namespace TACIT_ISA {

TACIT_HD inline float least(float a, float b) { return a < b ? a : b; }
TACIT_HD inline float most(float a, float b) { return a > b ? a : b; }
TACIT_HD inline float clamp01(float x) { return x < 0 ? 0.0f : (x > 1 ? 1.0f : x); }

/// Channel c of `want` (1 or 3) of a stored pixel that has 1, 3 or 4: gray is repeated, RGB becomes ITU-R 601 luma,
/// rounded, alpha is composed onto black.
TACIT_HD inline int channel_of(const uint8_t* p, int64_t have, int64_t want, int64_t c) {
  if (have == want) return p[c];
  const auto colour = [&](int64_t k) {
    const int value = have >= 3 ? p[k] : p[0];
    return have == 4 ? (value * p[3] + 127) / 255 : value;
  };
  return want == 3 ? colour(c) : (299 * colour(0) + 587 * colour(1) + 114 * colour(2) + 500) / 1000;
}

TACIT_HD inline float gray_of(float r, float g, float b) { return 0.299f * r + 0.587f * g + 0.114f * b; }
/// x * factor + shift, cut to [0, 1]: brightness, and contrast and saturation with the rest of the gray as shift.
TACIT_HD inline float scaled(float x, float factor, float shift) { return clamp01(x * factor + shift); }
TACIT_HD inline float with_gamma(float x, float exponent) { return ::powf(x < 1e-4f ? 1e-4f : x, exponent); }
TACIT_HD inline float solarized(float x) { return x >= 0.5f ? 1 - x : x; }

struct Rgb {
  float r, g, b;
};

// One channel of a pixel of hue h, in sixths of the circle 0 … 6, `offset` sixths on.
TACIT_HD inline float channel_of_hue(float h, float offset, float high, float range) {
  float k = h + offset;
  k = k >= 6 ? k - 6 : k;
  return high - range * clamp01(least(k, 4 - k));
}

/// The hue turned by `turn`, -1 … 1, of the full circle (Foley et al.'s hexcone model, as colorsys and torchvision).
TACIT_HD inline Rgb turned(float r, float g, float b, float turn) {
  const float high = most(r, most(g, b)), low = least(r, least(g, b)), range = high - low;
  const float inverse = range > 0 ? 1 / range : 0.0f;
  const float of_b = 4 + (r - g) * inverse, of_g = 2 + (b - r) * inverse, of_r = (g - b) * inverse;
  float h = (high == r ? of_r : high == g ? of_g : of_b) * (1.0f / 6) + turn;
  h = h < 0 ? h + 1 : h;
  h = (h >= 1 ? h - 1 : h) * 6;
  return {channel_of_hue(h, 5, high, range), channel_of_hue(h, 3, high, range), channel_of_hue(h, 1, high, range)};
}

TACIT_HD inline float linear_of(float c) {
  constexpr auto kKnee = static_cast<float>(kSrgbKnee), kOffset = static_cast<float>(kSrgbOffset);
  if (c <= kKnee) return c / static_cast<float>(kSrgbSlope);
  return ::powf((c + kOffset) / (1 + kOffset), static_cast<float>(kSrgbGamma));
}

/// (L - 50) / 50 of CIE Lab.
TACIT_HD inline float lightness_of(float r, float g, float b) {
  constexpr auto kRed = static_cast<float>(kXyzOfRgb[1][0]), kGreen = static_cast<float>(kXyzOfRgb[1][1]),
                 kBlue = static_cast<float>(kXyzOfRgb[1][2]);
  const float y = kRed * linear_of(r) + kGreen * linear_of(g) + kBlue * linear_of(b);
  const float f = y <= static_cast<float>(kLabKnee) ? (static_cast<float>(kLabSlope) * y + 16) / 116 : ::cbrtf(y);
  return (116 * f - 16 - static_cast<float>(kLightnessMean)) / static_cast<float>(kLightnessScale);
}

}  // namespace TACIT_ISA
}  // namespace tacit::augment
