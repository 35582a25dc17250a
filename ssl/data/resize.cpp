// Separable resize of a crop: rows first (they lie densely in memory), then columns, one output row at a time.
#include <algorithm>
#include <cmath>

#include "ssl/data/view_steps.h"

namespace tacit::ssl {

namespace {

constexpr float kByteScale = 1.0f / 255;

/// sums = weighted sum of `taps` byte rows, in [0, 1].
void mix_rows(const uint8_t* row, int64_t stride, const float* weight, int64_t taps, int64_t n, float* sums) {
  if (taps == 2) {
    const float a = weight[0] * kByteScale, b = weight[1] * kByteScale;
    const uint8_t* second = row + stride;
    for (int64_t x = 0; x < n; ++x) sums[x] = a * static_cast<float>(row[x]) + b * static_cast<float>(second[x]);
    return;
  }
  std::fill(sums, sums + n, 0.0f);
  for (int64_t k = 0; k < taps; ++k) {
    const float w = weight[k] * kByteScale;
    const uint8_t* from = row + k * stride;
    for (int64_t x = 0; x < n; ++x) sums[x] += w * static_cast<float>(from[x]);
  }
}

template <int kChannels>
void mix_columns(const float* row, const ResizeAxis& axis, int64_t size, bool mirrored, float* out) {
  const int64_t step = mirrored ? -kChannels : kChannels;
  float* to = mirrored ? out + (size - 1) * kChannels : out;
  const float* weight = axis.weight.data();
  for (int64_t i = 0; i < size; ++i, to += step, weight += axis.taps) {
    const float* from = row + axis.first[static_cast<size_t>(i)] * kChannels;
    float sum[kChannels] = {};
    for (int64_t k = 0; k < axis.taps; ++k)
      for (int c = 0; c < kChannels; ++c) sum[c] += weight[k] * from[k * kChannels + c];
    for (int c = 0; c < kChannels; ++c) to[c] = sum[c];
  }
}

}  // namespace

void resize_axis(double begin, double length, int64_t size, int64_t low, int64_t high, bool antialias,
                 ResizeAxis& out) {
  const double scale = length / static_cast<double>(size), support = antialias ? std::max(1.0, scale) : 1.0;
  // Every output gets the same number of taps, the superfluous ones with weight 0, so that the loops have no branches.
  out.taps = std::min<int64_t>(static_cast<int64_t>(std::ceil(2 * support)), high - low);
  out.first.resize(static_cast<size_t>(size));
  out.weight.resize(static_cast<size_t>(size * out.taps));
  float* weight = out.weight.data();
  for (int64_t i = 0; i < size; ++i, weight += out.taps) {
    const double center = begin + (static_cast<double>(i) + 0.5) * scale;
    const auto reach = static_cast<int64_t>(std::floor(center - support + 0.5));
    const int64_t first = std::clamp(reach, low, high - out.taps);
    double sum = 0;
    for (int64_t k = 0; k < out.taps; ++k)
      sum += std::max(0.0, 1 - std::abs(static_cast<double>(first + k) + 0.5 - center) / support);
    const double inverse = sum > 0 ? 1 / sum : 0;
    for (int64_t k = 0; k < out.taps; ++k)
      weight[k] = static_cast<float>(
          inverse * std::max(0.0, 1 - std::abs(static_cast<double>(first + k) + 0.5 - center) / support));
    // Further than one filter from every pixel (a box beside the image): the nearest pixel.
    if (sum <= 0) weight[reach < first ? 0 : out.taps - 1] = 1;
    out.first[static_cast<size_t>(i)] = first;
  }
}

void crop_and_resize(const Image& image, const ViewParameters& p, bool antialias, bool cut_at_box, int64_t size,
                     float* out) {
  thread_local ResizeAxis rows, columns;
  thread_local std::vector<float> row;
  const auto range = [&](double begin, double length, int64_t pixels, int64_t& low, int64_t& high) {
    low = cut_at_box ? std::clamp<int64_t>(static_cast<int64_t>(std::floor(begin)), 0, pixels - 1) : 0;
    high = cut_at_box ? std::clamp<int64_t>(static_cast<int64_t>(std::ceil(begin + length)), low + 1, pixels) : pixels;
  };
  int64_t top = 0, bottom = 0, left = 0, right = 0;
  range(p.top, p.height, image.height, top, bottom);
  range(p.left, p.width, image.width, left, right);
  resize_axis(p.top, p.height, size, top, bottom, antialias, rows);
  resize_axis(p.left, p.width, size, left, right, antialias, columns);
  // Only the columns that some output needs.
  const int64_t begin = *std::min_element(columns.first.begin(), columns.first.end()),
                end = *std::max_element(columns.first.begin(), columns.first.end()) + columns.taps;
  for (int64_t& first : columns.first) first -= begin;
  const int64_t c = image.channels, stride = image.width * c, n = (end - begin) * c;
  row.resize(static_cast<size_t>(n));
  for (int64_t y = 0; y < size; ++y, out += size * c) {
    mix_rows(image.pixels.data() + rows.first[static_cast<size_t>(y)] * stride + begin * c, stride,
             rows.weight.data() + y * rows.taps, rows.taps, n, row.data());
    if (c == 1)
      mix_columns<1>(row.data(), columns, size, p.flip, out);
    else
      mix_columns<3>(row.data(), columns, size, p.flip, out);
  }
}

}  // namespace tacit::ssl
