#include "ssl/data/color.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ssl/srgb.h"

namespace tacit::ssl {

namespace {

float clamp01(float x) { return x < 0 ? 0.0f : (x > 1 ? 1.0f : x); }
float gray_of(const float* p) { return 0.299f * p[0] + 0.587f * p[1] + 0.114f * p[2]; }

// Foley et al.'s hexcone model, as colorsys and torchvision have it.
void turn_hue(float* p, float turn) {
  const float high = std::max({p[0], p[1], p[2]}), low = std::min({p[0], p[1], p[2]}), range = high - low;
  if (range <= 0) return;
  float h = high == p[0] ? (p[1] - p[2]) / range : high == p[1] ? 2 + (p[2] - p[0]) / range : 4 + (p[0] - p[1]) / range;
  h = h / 6 + turn;
  h = (h - std::floor(h)) * 6;
  for (int c = 0; c < 3; ++c) {
    const float k = std::fmod(h + static_cast<float>(c == 0 ? 5 : c == 1 ? 3 : 1), 6.0f);
    p[c] = high - range * std::clamp(std::min(k, 4 - k), 0.0f, 1.0f);
  }
}

float linear_of(float c) {
  constexpr auto kKnee = static_cast<float>(kSrgbKnee), kOffset = static_cast<float>(kSrgbOffset);
  if (c <= kKnee) return c / static_cast<float>(kSrgbSlope);
  return std::pow((c + kOffset) / (1 + kOffset), static_cast<float>(kSrgbGamma));
}

}  // namespace

void adjust_gamma(float* x, int64_t n, double exponent) {
  const auto e = static_cast<float>(exponent);
  for (int64_t i = 0; i < n; ++i) x[i] = std::pow(std::max(x[i], 1e-4f), e);
}

void adjust_brightness(float* x, int64_t n, double factor) {
  const auto f = static_cast<float>(factor);
  for (int64_t i = 0; i < n; ++i) x[i] = clamp01(x[i] * f);
}

void adjust_contrast(float* x, int64_t pixels, int64_t channels, double factor) {
  double sum = 0;
  for (int64_t i = 0; i < pixels; ++i) sum += static_cast<double>(channels == 1 ? x[i] : gray_of(x + 3 * i));
  const auto f = static_cast<float>(factor),
             rest = static_cast<float>((1 - factor) * sum / static_cast<double>(pixels));
  for (int64_t i = 0; i < pixels * channels; ++i) x[i] = clamp01(x[i] * f + rest);
}

void adjust_saturation(float* x, int64_t pixels, int64_t channels, double factor) {
  if (channels == 1) return;
  const auto f = static_cast<float>(factor);
  for (int64_t i = 0; i < pixels; ++i) {
    float* const p = x + 3 * i;
    const float gray = gray_of(p) * (1 - f);
    for (int c = 0; c < 3; ++c) p[c] = clamp01(p[c] * f + gray);
  }
}

void adjust_hue(float* x, int64_t pixels, int64_t channels, double turn) {
  if (channels == 1) return;
  for (int64_t i = 0; i < pixels; ++i) turn_hue(x + 3 * i, static_cast<float>(turn));
}

void to_gray(float* x, int64_t pixels, int64_t channels) {
  if (channels == 1) return;
  for (int64_t i = 0; i < pixels; ++i) x[3 * i] = x[3 * i + 1] = x[3 * i + 2] = gray_of(x + 3 * i);
}

void gaussian_blur(float* x, int64_t size, int64_t channels, double sigma) {
  const int64_t kernel = size / 10 | 1, reach = std::min(kernel / 2, size - 1);
  if (reach == 0) return;
  std::vector<float> weights(static_cast<size_t>(2 * reach + 1));
  double sum = 0;
  for (int64_t i = -reach; i <= reach; ++i) sum += std::exp(-0.5 * static_cast<double>(i * i) / (sigma * sigma));
  for (int64_t i = -reach; i <= reach; ++i)
    weights[static_cast<size_t>(i + reach)] =
        static_cast<float>(std::exp(-0.5 * static_cast<double>(i * i) / (sigma * sigma)) / sum);
  const auto mirrored = [size](int64_t i) { return i < 0 ? -i : i >= size ? 2 * size - 2 - i : i; };
  static thread_local std::vector<float> rows;
  const int64_t line = size * channels;
  rows.assign(static_cast<size_t>(size * line), 0.0f);
  for (int64_t y = 0; y < size; ++y)
    for (int64_t k = -reach; k <= reach; ++k) {
      const float weight = weights[static_cast<size_t>(k + reach)];
      const float* const from = x + mirrored(y + k) * line;
      for (int64_t i = 0; i < line; ++i) rows[static_cast<size_t>(y * line + i)] += weight * from[i];
    }
  for (int64_t y = 0; y < size; ++y)
    for (int64_t w = 0; w < size; ++w)
      for (int64_t c = 0; c < channels; ++c) {
        float value = 0;
        for (int64_t k = -reach; k <= reach; ++k)
          value += weights[static_cast<size_t>(k + reach)] *
                   rows[static_cast<size_t>(y * line + mirrored(w + k) * channels + c)];
        x[y * line + w * channels + c] = value;
      }
}

void solarize(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = x[i] >= 0.5f ? 1 - x[i] : x[i];
}

void to_lightness(const float* rgb, int64_t pixels, float* lightness) {
  constexpr float kRed = static_cast<float>(kXyzOfRgb[1][0]), kGreen = static_cast<float>(kXyzOfRgb[1][1]),
                  kBlue = static_cast<float>(kXyzOfRgb[1][2]);
  for (int64_t i = 0; i < pixels; ++i) {
    const float* const p = rgb + 3 * i;
    const float y = kRed * linear_of(p[0]) + kGreen * linear_of(p[1]) + kBlue * linear_of(p[2]);
    const float f = y <= static_cast<float>(kLabKnee) ? (static_cast<float>(kLabSlope) * y + 16) / 116 : std::cbrt(y);
    lightness[i] = (116 * f - 16 - static_cast<float>(kLightnessMean)) / static_cast<float>(kLightnessScale);
  }
}

}  // namespace tacit::ssl
