#include "ssl/data/resample.h"

#include <algorithm>
#include <cmath>

#include "backends/cpu/kernels/augment.h"

namespace tacit::ssl {

namespace {

/// For each output position: the first source position and the weights from it on, `stride` of them.
struct Taps {
  std::vector<int64_t> first, count;
  std::vector<float> weights;
  int64_t stride = 0;
};

// Keys 1981 with a = -0.5, of a distance in source pixels; 0 from 2 on.
double cubic(double x) {
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

void make_taps(Taps& taps, double begin, double extent, int64_t source, int64_t size, bool antialias, Filter filter) {
  const double scale = extent / static_cast<double>(size), stretch = antialias ? std::max(scale, 1.0) : 1.0;
  const double width = stretch * (filter == Filter::Bicubic ? 2 : 1);
  int64_t low = 0, high = source;
  if (antialias) {
    low = std::max<int64_t>(0, static_cast<int64_t>(std::floor(begin)));
    high = std::min<int64_t>(source, std::max(low + 1, static_cast<int64_t>(std::ceil(begin + extent))));
  }
  taps.stride = static_cast<int64_t>(std::ceil(2 * width)) + 1;
  taps.first.resize(static_cast<size_t>(size));
  taps.count.resize(static_cast<size_t>(size));
  taps.weights.assign(static_cast<size_t>(size * taps.stride), 0.0f);
  for (int64_t j = 0; j < size; ++j) {
    const double centre = begin + (static_cast<double>(j) + 0.5) * scale - 0.5;  // in positions of pixel centres
    const int64_t from = std::clamp<int64_t>(static_cast<int64_t>(std::floor(centre - width)) + 1, low, high - 1);
    const int64_t to = std::clamp<int64_t>(static_cast<int64_t>(std::ceil(centre + width)) - 1, from, high - 1);
    float* const weights = taps.weights.data() + j * taps.stride;
    double sum = 0;
    const auto weight = [&](int64_t i) {
      const double distance = std::abs(static_cast<double>(i) - centre) / stretch;
      return filter == Filter::Bicubic ? cubic(distance) : std::max(0.0, 1 - distance);
    };
    for (int64_t i = from; i <= to; ++i) sum += weight(i);
    for (int64_t i = from; i <= to; ++i)
      weights[i - from] = static_cast<float>(sum > 0 ? weight(i) / sum : 1.0 / static_cast<double>(to - from + 1));
    taps.first[static_cast<size_t>(j)] = from;
    taps.count[static_cast<size_t>(j)] = to - from + 1;
  }
}

template <int64_t C>
void columns(const Image& image, const Taps& taps, int64_t row, int64_t size, bool flip, float* out) {
  const uint8_t* const line = image.pixels.data() + row * image.width * C;
  for (int64_t j = 0; j < size; ++j) {
    const auto column = static_cast<size_t>(flip ? size - 1 - j : j);
    const float* const weights = taps.weights.data() + static_cast<int64_t>(column) * taps.stride;
    const uint8_t* p = line + taps.first[column] * C;
    float sum[C] = {};
    for (int64_t i = 0; i < taps.count[column]; ++i, p += C)
      for (int64_t c = 0; c < C; ++c) sum[c] += weights[i] * static_cast<float>(p[c]);
    for (int64_t c = 0; c < C; ++c) out[j * C + c] = sum[c] * (1.0f / 255);
  }
}

}  // namespace

std::vector<float> resampling_matrix(int64_t source, int64_t size, Filter filter) {
  Taps taps;
  make_taps(taps, 0, static_cast<double>(source), source, size, true, filter);
  std::vector<float> matrix(static_cast<size_t>(size * source));
  for (int64_t j = 0; j < size; ++j)
    std::copy_n(taps.weights.begin() + j * taps.stride, taps.count[static_cast<size_t>(j)],
                matrix.begin() + j * source + taps.first[static_cast<size_t>(j)]);
  return matrix;
}

void resample(const Image& image, const Box& box, int64_t height, int64_t width, bool flip, bool antialias,
              Filter filter, float* out) {
  // Kept between calls: this runs for every view.
  static thread_local Taps horizontal, vertical;
  static thread_local std::vector<float> rows;
  static thread_local std::vector<const float*> mixed;
  make_taps(horizontal, box.left, box.width, image.width, width, antialias, filter);
  make_taps(vertical, box.top, box.height, image.height, height, antialias, filter);
  const int64_t line = width * image.channels;
  int64_t begin = image.height, end = 0;
  for (size_t y = 0; y < vertical.first.size(); ++y) {
    begin = std::min(begin, vertical.first[y]);
    end = std::max(end, vertical.first[y] + vertical.count[y]);
  }
  rows.resize(static_cast<size_t>((end - begin) * line));
  for (int64_t y = begin; y < end; ++y) {
    float* const to = rows.data() + (y - begin) * line;
    if (image.channels == 1)
      columns<1>(image, horizontal, y, width, flip, to);
    else
      columns<3>(image, horizontal, y, width, flip, to);
  }
  for (int64_t y = 0; y < height; ++y) {
    const auto at = static_cast<size_t>(y);
    const int64_t count = vertical.count[at];
    mixed.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i)
      mixed[static_cast<size_t>(i)] = rows.data() + (vertical.first[at] + i - begin) * line;
    cpu::augment_table().weighted_sum(out + y * line, mixed.data(), vertical.weights.data() + y * vertical.stride,
                                      count, line);
  }
  if (filter == Filter::Bicubic)
    for (int64_t i = 0; i < height * line; ++i) out[i] = std::clamp(out[i], 0.0f, 1.0f);
}

}  // namespace tacit::ssl
