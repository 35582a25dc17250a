// Which pixels of a line a resampled or blurred position mixes, and with what weights.
// The rule: plain functions (TACIT_HD) of a position, written once for ssl/data and every backend.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/hd.h"

namespace tacit::augment {
inline namespace TACIT_ISA {

TACIT_HD inline int64_t within(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

/// Keys 1981 with a = -0.5, of a distance in source pixels; 0 from 2 on.
TACIT_HD inline double cubic(double x) {
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/// One axis of a resampling: `size` positions over `extent` source pixels from `begin` on. With antialias the filter
/// widens as the box shrinks and takes pixels of the box alone; without it, the nearest of the image.
struct TapAxis {
  double begin, scale, stretch, width;
  int64_t low = 0, high;
  bool bicubic;

  TACIT_HD TapAxis(double from, double extent, int64_t source, int64_t size, bool antialias, bool cubic_filter)
      : begin(from),
        scale(extent / static_cast<double>(size)),
        stretch(antialias && scale > 1 ? scale : 1.0),
        width(stretch * (cubic_filter ? 2 : 1)),
        high(source),
        bicubic(cubic_filter) {
    if (!antialias) return;
    const auto first = static_cast<int64_t>(::floor(from)), last = static_cast<int64_t>(::ceil(from + extent));
    low = first > 0 ? first : 0;
    high = last > low + 1 ? last : low + 1;
    if (high > source) high = source;
  }

  /// The most weights that write() leaves for a position.
  TACIT_HD int64_t room() const { return static_cast<int64_t>(::ceil(2 * width)) + 1; }

  /// The weights of position j, from source pixel `first` on; gives their number.
  TACIT_HD int64_t write(int64_t j, int64_t& first, float* weights) const {
    const double centre = begin + (static_cast<double>(j) + 0.5) * scale - 0.5;  // in positions of pixel centres
    const int64_t from = within(static_cast<int64_t>(::floor(centre - width)) + 1, low, high - 1);
    const int64_t to = within(static_cast<int64_t>(::ceil(centre + width)) - 1, from, high - 1);
    double sum = 0;
    for (int64_t i = from; i <= to; ++i) sum += weight(i, centre);
    for (int64_t i = from; i <= to; ++i)
      weights[i - from] =
          static_cast<float>(sum > 0 ? weight(i, centre) / sum : 1.0 / static_cast<double>(to - from + 1));
    first = from;
    return to - from + 1;
  }

 private:
  TACIT_HD double weight(int64_t i, double centre) const {
    const double distance = ::fabs(static_cast<double>(i) - centre) / stretch;
    if (bicubic) return cubic(distance);
    return distance < 1 ? 1 - distance : 0;
  }
};

/// Neighbours on either side that a blur of a (size, size) view mixes; kernel size / 10 made odd. Taps below e^-14 of
/// the middle one are as good as none.
TACIT_HD inline int64_t blur_reach(int64_t size, double sigma) {
  const int64_t half = (size / 10 | 1) / 2, seen = static_cast<int64_t>(::ceil(::sqrt(28.0) * sigma));
  const int64_t most = half < size - 1 ? half : size - 1;
  return seen < most ? seen : most;
}
/// The sum of the Gaussian over -reach … reach, and its weight at i.
TACIT_HD inline double gaussian(int64_t i, double sigma) {
  return ::exp(-0.5 * static_cast<double>(i * i) / (sigma * sigma));
}
TACIT_HD inline double gaussian_sum(int64_t reach, double sigma) {
  double sum = 0;
  for (int64_t i = -reach; i <= reach; ++i) sum += gaussian(i, sigma);
  return sum;
}
/// Position i of a line of `size`, mirrored at its ends without repeating them.
TACIT_HD inline int64_t mirrored(int64_t i, int64_t size) { return i < 0 ? -i : i >= size ? 2 * size - 2 - i : i; }

}  // namespace TACIT_ISA
}  // namespace tacit::augment
