// What attention does to a block of scores, between the products. Scores lie transposed: a row for each key, a column
// for each query, so that what a query needs, its maximum and its sums, goes down the columns in vectors. Serial; T is
// float or double. `queries` is a multiple of kQueryStep everywhere, rows are `pitch` apart.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/dispatch.h"

namespace tacit::cpu {

/// Columns of scores are padded to a multiple of this: of every vector's lanes.
inline constexpr int64_t kQueryStep = 16;

template <class T>
struct AttentionTable {
  /// Scores s of one more tile of keys become exp(scale s - m), m the larger of `largest` and scale max(s), which it
  /// becomes. Their sums join `sum`. What was summed under the old maximum must shrink by `shrink` = exp(old - m),
  /// which for `sum` is done here. Before the first tile largest is -inf and sum 0.
  void (*join_tile)(T* s, int64_t pitch, int64_t keys, int64_t queries, T scale, T* largest, double* sum, T* shrink);
  /// y = x * factor, of one query.
  void (*scale_row)(T* y, const T* x, int64_t n, T factor);
  /// s becomes p = exp(scale s - lse), dp becomes ds = scale p (dp - along).
  void (*gradient)(T* s, T* dp, int64_t pitch, int64_t keys, int64_t queries, T scale, const T* lse, const T* along);
  /// Sum of a b.
  T (*dot)(const T* a, const T* b, int64_t n);
};

TACIT_ISA_TABLES(AttentionTable, attention_table)

}  // namespace tacit::cpu
