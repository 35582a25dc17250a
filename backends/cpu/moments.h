// The mean and variance of a whole from those of its parts (Chan, Golub and LeVeque 1979). The rule: parts are cut by
// shapes alone and merge in order, so that the result is the same at any number of threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/cpu/memory.h"
#include "backends/cpu/parallel.h"

namespace tacit::cpu {

/// part_mean and part_squares (around it) are (parts, channels); pixels(part) is how many values a channel has in it,
/// maybe 0. Sets the mean and the biased variance of each channel.
template <class T, class P, class Pixels>
void merge_moments(T* mean, T* var, int64_t channels, int64_t parts, const P* part_mean, const P* part_squares,
                   Pixels&& pixels) {
  const Scratch sums(static_cast<size_t>(2 * channels) * sizeof(double));
  double* const all_mean = sums.as<double>();
  double* const all_squares = all_mean + channels;
  std::fill_n(all_mean, 2 * channels, 0.0);
  parallel_ranges(channels, 32, [&](int64_t begin, int64_t end) {
    double n = 0;
    for (int64_t p = 0; p < parts; ++p) {
      const auto count = static_cast<double>(pixels(p));
      if (count == 0) continue;
      const double weight = count / (n + count), spread = n * weight;
      for (int64_t c = begin; c < end; ++c) {
        const double delta = static_cast<double>(part_mean[p * channels + c]) - all_mean[c];
        all_squares[c] += static_cast<double>(part_squares[p * channels + c]) + delta * delta * spread;
        all_mean[c] += delta * weight;
      }
      n += count;
    }
    for (int64_t c = begin; c < end; ++c) {
      mean[c] = static_cast<T>(all_mean[c]);
      var[c] = static_cast<T>(all_squares[c] / n);
    }
  });
}

}  // namespace tacit::cpu
