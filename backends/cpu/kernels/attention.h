// What attention does to one row of scores, between the products. Serial; T is float or double.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/dispatch.h"

namespace tacit::cpu {

template <class T>
struct AttentionTable {
  /// Scores s (n) of one more tile of keys become exp(scale s - m), m the larger of *largest and scale max(s). Their
  /// sum joins *sum; what was summed under the old maximum, *sum and y (size), first shrinks by exp(*largest - m). y is
  /// null for the first tile, where *largest is -inf and *sum 0.
  void (*join_tile)(T* s, int64_t n, T scale, T* largest, double* sum, T* y, int64_t size);
  /// y /= sum; the result is the log-sum-exp of the row.
  T (*finish)(T* y, int64_t size, T largest, double sum);
  /// s becomes p = exp(scale s - lse), dp becomes ds = scale p (dp - along).
  void (*gradient)(T* s, T* dp, int64_t n, T scale, T lse, T along);
  /// Sum of a b.
  T (*dot)(const T* a, const T* b, int64_t n);
};

TACIT_ISA_TABLES(AttentionTable, attention_table)

}  // namespace tacit::cpu
