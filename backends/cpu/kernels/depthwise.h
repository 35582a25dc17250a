// The inner loop of depthwise convolutions and of their gradients: sums of element-wise products of channel vectors.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/dispatch.h"

namespace tacit::cpu {

struct DepthwiseTable {
  /// to[c] = (accumulate ? to[c] : 0) + sum over t < count of a[t][c] * b[t][c], in the order of t, for c < channels.
  void (*f32)(float* to, const float* const* a, const float* const* b, int64_t count, int64_t channels,
              bool accumulate);
  void (*f64)(double* to, const double* const* a, const double* const* b, int64_t count, int64_t channels,
              bool accumulate);
};

TACIT_ISA_TABLE(DepthwiseTable, depthwise_table)

}  // namespace tacit::cpu
