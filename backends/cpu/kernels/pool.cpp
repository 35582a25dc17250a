#include "backends/cpu/kernels/pool.h"

#include "backends/cpu/kernels/widths.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

// The integer as wide as T, so that a comparison of values also selects indices.
template <class T>
struct Index;
template <>
struct Index<float> {
  using Type = int32_t;
};
template <>
struct Index<double> {
  using Type = int64_t;
};

template <class F>
void for_pixels(const PoolPixels& p, F&& f) {
  for (int64_t i = 0; i < p.rows; ++i)
    for (int64_t j = 0; j < p.columns; ++j) f(p.first + i * p.row_step + j * p.column_step);
}

template <class T>
void max(T* y, int64_t* index, const T* image, const PoolPixels& p, int64_t channels) {
  using I = typename Index<T>::Type;
  for_widths<32, 8>(channels, [&](int64_t c0, auto width) {
    constexpr int W = decltype(width)::value;
    T best[W];
    I at[W];
    for (int c = 0; c < W; ++c) {
      best[c] = image[p.first * channels + c0 + c];
      at[c] = static_cast<I>(p.first);
    }
    for_pixels(p, [&](int64_t pixel) {
      const T* const from = image + pixel * channels + c0;
      const I here = static_cast<I>(pixel);
      for (int c = 0; c < W; ++c) {
        const T v = from[c], b = best[c];
        const bool better = (v > b) | ((v != v) & (b == b));
        best[c] = better ? v : b;
        at[c] = better ? here : at[c];
      }
    });
    for (int c = 0; c < W; ++c) {
      y[c0 + c] = best[c];
      index[c0 + c] = static_cast<int64_t>(at[c]);
    }
  });
}

template <class T>
void average(T* y, const T* image, const PoolPixels& p, int64_t channels, double size) {
  // Long stretches of each pixel: memory is read in order.
  for_widths<128, 32, 8>(channels, [&](int64_t c0, auto width) {
    constexpr int W = decltype(width)::value;
    double sum[W] = {};
    for_pixels(p, [&](int64_t pixel) {
      const T* const from = image + pixel * channels + c0;
      for (int c = 0; c < W; ++c) sum[c] += static_cast<double>(from[c]);
    });
    for (int c = 0; c < W; ++c) y[c0 + c] = static_cast<T>(sum[c] / size);
  });
}

template <class T>
void spread(T* image, const T* g, const PoolPixels& p, int64_t channels, T share) {
  for_pixels(p, [&](int64_t pixel) {
    T* const __restrict to = image + pixel * channels;
    for (int64_t c = 0; c < channels; ++c) to[c] += g[c] * share;
  });
}

template <class T>
constexpr PoolTable<T> kTable = {max<T>, average<T>, spread<T>};

}  // namespace

const PoolTable<float>& pool_table(float) { return kTable<float>; }
const PoolTable<double>& pool_table(double) { return kTable<double>; }

}  // namespace tacit::cpu::TACIT_ISA
