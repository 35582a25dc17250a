// Sums in vector lanes over runs of bounded length, the runs in double: fast, and as exact as the longest run allows.
#pragma once

#include <cstdint>

namespace tacit::cpu::TACIT_ISA {

inline constexpr int kLanes = 64;    // independent partial sums: four AVX-512 vectors of floats hide an add's latency
inline constexpr int64_t kRun = 64;  // additions a lane makes before its sum moves on to double

/// Sum of the lanes in double, by halves: a chain of 64 additions would cost a short row more than its elements do.
template <int W, class T>
double add_lanes(const T* lanes) {
  double sums[W];
  for (int l = 0; l < W; ++l) sums[l] = static_cast<double>(lanes[l]);
  for (int half = W / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) sums[l] += sums[l + half];
  return sums[0];
}

/// Sum of f(i) over i < n; f returns T, and is called once for each i.
template <class T, class F>
double run_sum(int64_t n, F f) {
  constexpr int kShort = 16;
  double total = 0;
  int64_t i = 0;
  while (n - i >= kLanes) {
    T lanes[kLanes] = {};
    const int64_t runs = (n - i) / kLanes < kRun ? (n - i) / kLanes : kRun;
    for (int64_t r = 0; r < runs; ++r, i += kLanes)
      for (int l = 0; l < kLanes; ++l) lanes[l] += f(i + l);
    total += add_lanes<kLanes>(lanes);
  }
  if (n - i >= kShort) {
    T lanes[kShort] = {};
    for (; n - i >= kShort; i += kShort)
      for (int l = 0; l < kShort; ++l) lanes[l] += f(i + l);
    total += add_lanes<kShort>(lanes);
  }
  for (; i < n; ++i) total += static_cast<double>(f(i));
  return total;
}

}  // namespace tacit::cpu::TACIT_ISA
