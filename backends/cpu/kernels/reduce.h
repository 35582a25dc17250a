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
};

TACIT_ISA_TABLES(ReduceTable, reduce_table)

}  // namespace tacit::cpu
