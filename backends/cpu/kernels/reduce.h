// Sums and extremes of rows and of columns. Sums are made in vector lanes over runs of bounded length, the runs in
// double.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/dispatch.h"

namespace tacit::cpu {

template <class T>
struct ReduceTable {
  double (*sum)(const T* x, int64_t n, int64_t stride);
  double (*sum_squares)(const T* x, int64_t n);
  /// A NaN among the elements is the result.
  T (*max)(const T* x, int64_t n, int64_t stride);
  T (*min)(const T* x, int64_t n, int64_t stride);
  /// acc[c] += sum over rows of x[r * row_stride + c].
  void (*column_sum)(const T* x, int64_t rows, int64_t columns, int64_t row_stride, double* acc);
  /// acc[c] = the larger (smaller) of acc[c] and every x[r][c]; NaN wins.
  void (*column_max)(const T* x, int64_t rows, int64_t columns, int64_t row_stride, T* acc);
  void (*column_min)(const T* x, int64_t rows, int64_t columns, int64_t row_stride, T* acc);
};
using ReduceF32 = ReduceTable<float>;
using ReduceF64 = ReduceTable<double>;

TACIT_ISA_TABLE(ReduceF32, reduce_f32)
TACIT_ISA_TABLE(ReduceF64, reduce_f64)

}  // namespace tacit::cpu
