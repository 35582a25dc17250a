// Sums in vector lanes over runs of bounded length, the runs in double: fast, and as exact as the longest run allows.
#pragma once

#include <cstdint>

namespace tacit::cpu::TACIT_ISA {

inline constexpr int kLanes = 64;    // independent partial sums: four AVX-512 vectors of floats hide an add's latency
inline constexpr int64_t kRun = 64;  // additions a lane makes before its sum moves on to double

/// Sum of f(i) over i < n; f returns T.
template <class T, class F>
double run_sum(int64_t n, F f) {
  double total = 0;
  int64_t i = 0;
  while (n - i >= kLanes) {
    T lanes[kLanes] = {};
    const int64_t runs = (n - i) / kLanes < kRun ? (n - i) / kLanes : kRun;
    for (int64_t r = 0; r < runs; ++r, i += kLanes)
      for (int l = 0; l < kLanes; ++l) lanes[l] += f(i + l);
    for (int l = 0; l < kLanes; ++l) total += static_cast<double>(lanes[l]);
  }
  for (; i < n; ++i) total += static_cast<double>(f(i));
  return total;
}

}  // namespace tacit::cpu::TACIT_ISA
