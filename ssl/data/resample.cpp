#include "ssl/data/resample.h"

#include <algorithm>

#include "backends/cpu/kernels/augment.h"
#include "tensor/augment_taps.h"

namespace tacit::ssl {

namespace {

/// For each output position: the first source position and the weights from it on, `stride` of them.
struct Taps {
  std::vector<int64_t> first, count;
  std::vector<float> weights;
  int64_t stride = 0;
};

void make_taps(Taps& taps, double begin, double extent, int64_t source, int64_t size, bool antialias, Filter filter) {
  const augment::TapAxis axis(begin, extent, source, size, antialias, filter == Filter::Bicubic);
  taps.stride = axis.room();
  taps.first.resize(static_cast<size_t>(size));
  taps.count.resize(static_cast<size_t>(size));
  taps.weights.resize(static_cast<size_t>(size * taps.stride));
  for (int64_t j = 0; j < size; ++j)
    taps.count[static_cast<size_t>(j)] =
        axis.write(j, taps.first[static_cast<size_t>(j)], taps.weights.data() + j * taps.stride);
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
