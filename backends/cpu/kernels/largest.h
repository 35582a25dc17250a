// The largest element of a row, in vector lanes: what a softmax subtracts.
#pragma once

#include "backends/cpu/kernels/run_sum.h"

namespace tacit::cpu::TACIT_ISA {

/// NaNs may be passed over: one anywhere reaches every result through the sum of exponentials.
template <class T>
T largest(const T* x, int64_t n) {
  T best = x[0];
  int64_t i = 0;
  if (n >= 2 * kLanes) {
    T lanes[kLanes];
    for (int l = 0; l < kLanes; ++l) lanes[l] = x[l];
    for (i = kLanes; n - i >= kLanes; i += kLanes)
      for (int l = 0; l < kLanes; ++l) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    for (int l = 0; l < kLanes; ++l) best = lanes[l] > best ? lanes[l] : best;
  }
  for (; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

}  // namespace tacit::cpu::TACIT_ISA
