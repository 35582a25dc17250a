// Point operations on pixels, as torchvision defines them on f32 images.
#include <algorithm>
#include <bit>
#include <cmath>

#include "ssl/data/view_steps.h"

namespace tacit::ssl {

namespace {

constexpr float kRed = 0.299f, kGreen = 0.587f, kBlue = 0.114f;

float clip(float x) { return std::min(std::max(x, 0.0f), 1.0f); }

float gray_of(const float* rgb) { return kRed * rgb[0] + kGreen * rgb[1] + kBlue * rgb[2]; }

/// Mean of the gray image: eight running sums, so that the loop vectorises with a fixed order.
float mean_gray(const float* pixels, int64_t n, int64_t channels) {
  double sum = 0;
  if (channels == 1) {
    constexpr int64_t kLanes = 8;
    float lanes[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      for (int64_t k = 0; k < kLanes; ++k) lanes[k] += pixels[i + k];
    for (const float lane : lanes) sum += lane;
    for (; i < n; ++i) sum += pixels[i];
  } else {
    for (int64_t i = 0; i < n; ++i) sum += gray_of(pixels + 3 * i);
  }
  return static_cast<float>(sum / static_cast<double>(n));
}

/// x^exponent for x in [1e-4, 1], to a few 1e-7 relative: 2^(exponent * log2 x) by polynomials without branches, so
/// that it vectorises (std::pow does not, and would be two thirds of the time of a view).
float power(float x, float exponent) {
  const auto bits = std::bit_cast<int32_t>(x);
  // x = 2^e * m with m in [sqrt(1/2), sqrt(2)); log2 m by the series of atanh((m - 1) / (m + 1)).
  const int32_t e = (bits - 0x3f3504f3) >> 23;
  const float m = std::bit_cast<float>(bits - (e << 23));
  const float s = (m - 1) / (m + 1), s2 = s * s;
  const float log2_m =
      s * (2.885390082f + s2 * (0.961796694f + s2 * (0.577078016f + s2 * (0.412198583f + s2 * 0.320598898f))));
  const float y = std::min(std::max(exponent * (static_cast<float>(e) + log2_m), -126.0f), 126.0f);
  // 2^y = 2^i * 2^f with f in [-1/2, 1/2]; adding 1.5 * 2^23 rounds to the nearest whole number.
  constexpr float kRound = 12582912.0f;
  const float shifted = y + kRound;
  const float f = y - (shifted - kRound);
  const float two_f =
      1 +
      f * (0.693147181f + f * (0.240226507f + f * (0.0555041087f +
                                                   f * (0.00961812911f + f * (0.00133335581f + f * 0.000154035304f)))));
  const int32_t i = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
  return two_f * std::bit_cast<float>((i + 127) << 23);
}

void turn_hue(float* rgb, float turn) {
  const float largest = std::max({rgb[0], rgb[1], rgb[2]}), smallest = std::min({rgb[0], rgb[1], rgb[2]});
  const float chroma = largest - smallest;
  if (chroma <= 0) return;  // gray has no hue
  float hue = 0;            // in sixths of a circle
  if (largest == rgb[0])
    hue = (rgb[1] - rgb[2]) / chroma;
  else if (largest == rgb[1])
    hue = 2 + (rgb[2] - rgb[0]) / chroma;
  else
    hue = 4 + (rgb[0] - rgb[1]) / chroma;
  hue += 6 * turn;
  hue -= 6 * std::floor(hue / 6);
  // Channel c is largest - chroma * ramp, a ramp shifted by a third of the circle per channel.
  static constexpr float kShift[3] = {5, 3, 1};
  for (int c = 0; c < 3; ++c) {
    float k = kShift[c] + hue;
    k -= k >= 6 ? 6.0f : 0.0f;
    rgb[c] = largest - chroma * std::max(0.0f, std::min({k, 4 - k, 1.0f}));
  }
}

}  // namespace

void apply_gamma(float* x, int64_t n, float exponent) {
  for (int64_t i = 0; i < n; ++i) x[i] = power(std::max(x[i], 1e-4f), exponent);
}

void adjust_brightness(float* pixels, int64_t n, int64_t channels, float factor) {
  for (int64_t i = 0; i < n * channels; ++i) pixels[i] = clip(pixels[i] * factor);
}

void adjust_contrast(float* pixels, int64_t n, int64_t channels, float factor) {
  const float offset = (1 - factor) * mean_gray(pixels, n, channels);
  for (int64_t i = 0; i < n * channels; ++i) pixels[i] = clip(pixels[i] * factor + offset);
}

void adjust_saturation(float* pixels, int64_t n, int64_t channels, float factor) {
  if (channels == 1) return;
  for (int64_t i = 0; i < n; ++i, pixels += 3) {
    const float gray = (1 - factor) * gray_of(pixels);
    for (int c = 0; c < 3; ++c) pixels[c] = clip(pixels[c] * factor + gray);
  }
}

void adjust_hue(float* pixels, int64_t n, int64_t channels, float turn) {
  if (channels == 1) return;
  for (int64_t i = 0; i < n; ++i) turn_hue(pixels + 3 * i, turn);
}

void apply_jitter(float* pixels, int64_t n, int64_t channels, const ViewParameters& p) {
  for (const int step : p.order) {
    if (step == 0 && p.brightness != 1) adjust_brightness(pixels, n, channels, static_cast<float>(p.brightness));
    if (step == 1 && p.contrast != 1) adjust_contrast(pixels, n, channels, static_cast<float>(p.contrast));
    if (step == 2 && p.saturation != 1) adjust_saturation(pixels, n, channels, static_cast<float>(p.saturation));
    if (step == 3 && p.hue != 0) adjust_hue(pixels, n, channels, static_cast<float>(p.hue));
  }
}

void apply_grayscale(float* pixels, int64_t n, int64_t channels) {
  if (channels == 1) return;
  for (int64_t i = 0; i < n; ++i, pixels += 3) pixels[0] = pixels[1] = pixels[2] = gray_of(pixels);
}

void apply_solarize(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = x[i] < 0.5f ? x[i] : 1 - x[i];
}

}  // namespace tacit::ssl
