#include "ssl/data/color.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "backends/cpu/kernels/augment.h"
#include "tensor/augment_math.h"
#include "tensor/augment_taps.h"

namespace tacit::ssl {

void adjust_gamma(float* x, int64_t n, double exponent) {
  const auto e = static_cast<float>(exponent);
  for (int64_t i = 0; i < n; ++i) x[i] = augment::with_gamma(x[i], e);
}

void adjust_brightness(float* x, int64_t n, double factor) {
  cpu::augment_table().scale(x, n, static_cast<float>(factor), 0);
}

void adjust_contrast(float* x, int64_t pixels, int64_t channels, double factor) {
  const double sum = channels == 1 ? std::accumulate(x, x + pixels, 0.0) : cpu::augment_table().gray_sum(x, pixels);
  const double rest = (1 - factor) * sum / static_cast<double>(pixels);
  cpu::augment_table().scale(x, pixels * channels, static_cast<float>(factor), static_cast<float>(rest));
}

void adjust_saturation(float* x, int64_t pixels, int64_t channels, double factor) {
  if (channels == 3) cpu::augment_table().saturate(x, pixels, static_cast<float>(factor));
}

void adjust_hue(float* x, int64_t pixels, int64_t channels, double turn) {
  if (channels == 3) cpu::augment_table().turn_hue(x, pixels, static_cast<float>(turn));
}

void to_gray(float* x, int64_t pixels, int64_t channels) {
  if (channels == 3) cpu::augment_table().to_gray(x, pixels);
}

void gaussian_blur(float* x, int64_t size, int64_t channels, double sigma) {
  const int64_t reach = augment::blur_reach(size, sigma);
  if (reach == 0) return;
  std::vector<float> weights(static_cast<size_t>(2 * reach + 1));
  const double sum = augment::gaussian_sum(reach, sigma);
  for (int64_t i = -reach; i <= reach; ++i)
    weights[static_cast<size_t>(i + reach)] = static_cast<float>(augment::gaussian(i, sigma) / sum);
  static thread_local std::vector<float> rows, padded;
  static thread_local std::vector<const float*> taps;
  const int64_t line = size * channels;
  rows.resize(static_cast<size_t>(size * line));
  padded.resize(static_cast<size_t>(line + 2 * reach * channels));
  taps.resize(weights.size());
  const auto mix = [&](float* out) {
    cpu::augment_table().weighted_sum(out, taps.data(), weights.data(), 2 * reach + 1, line);
  };
  for (int64_t y = 0; y < size; ++y) {
    for (int64_t k = -reach; k <= reach; ++k)
      taps[static_cast<size_t>(k + reach)] = x + augment::mirrored(y + k, size) * line;
    mix(rows.data() + y * line);
  }
  // Along a row: the row itself, shifted by whole pixels, its ends mirrored.
  for (int64_t k = 0; k <= 2 * reach; ++k) taps[static_cast<size_t>(k)] = padded.data() + k * channels;
  for (int64_t y = 0; y < size; ++y) {
    const float* const row = rows.data() + y * line;
    std::copy_n(row, line, padded.data() + reach * channels);
    for (int64_t w = 1; w <= reach; ++w)
      for (int64_t c = 0; c < channels; ++c) {
        padded[static_cast<size_t>((reach - w) * channels + c)] = row[w * channels + c];
        padded[static_cast<size_t>((reach + size - 1 + w) * channels + c)] = row[(size - 1 - w) * channels + c];
      }
    mix(x + y * line);
  }
}

void solarize(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = augment::solarized(x[i]);
}

void to_lightness(const float* rgb, int64_t pixels, float* lightness) {
  for (int64_t i = 0; i < pixels; ++i) lightness[i] = augment::lightness_of(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);
}

}  // namespace tacit::ssl
