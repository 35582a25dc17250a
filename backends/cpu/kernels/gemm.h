// Blocks of matrix products C (+)= A B, the inner part of matmul and of the convolutions. Serial; T is float or double.
// The rule: an element of C is one chain of multiply-adds in the order of the caller's runs, whatever tile computes it.
//
// B arrives packed in panels of `nr` columns, row after row ([k][nr]). The kernel gathers A, `mr` rows of C at a time:
// from rows (contiguous in k; pieces of image rows in a convolution) into a buffer in the first-level cache, or from
// columns (contiguous in the row index, as in X^T dY), many rows in one sweep, so that memory is read in order.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/dispatch.h"

namespace tacit::cpu {

/// The most steps of the summed index that one block takes: mr rows of A then fit half of a 32 KiB cache. 288 = 9 * 32.
inline constexpr int64_t kGemmDepth = 288;
/// Rows that by_columns gathers at a time, a multiple of every mr, and the elements of scratch memory that takes.
inline constexpr int kGemmSweep = 48;
inline constexpr int64_t kGemmScratch = kGemmSweep * kGemmDepth;

/// `length` contiguous elements of every row of A, `offset` elements after the row's pointer.
struct GemmPiece {
  int64_t offset, length;
};

/// `length` steps of the summed index: from step a of the block's A, and from row b of the packed panel.
struct GemmRun {
  int64_t a, b, length;
};

/// Up to nr columns of B and C.
template <class T>
struct GemmPanel {
  const T* b;           ///< packed, [row][nr]
  int64_t column;       ///< the first column in C
  int64_t columns;      ///< at most nr
  const GemmRun* runs;  ///< what is summed, in this order
  int64_t run_count;
};

template <class T>
struct GemmBlock {
  const T* const* a;        ///< by_rows: pointers to `rows` rows; by_columns: to `depth` columns of A
  int64_t rows;             ///< rows of C
  int64_t depth;            ///< at most kGemmDepth
  const GemmPiece* pieces;  ///< by_rows only: the pieces that make up a row, `depth` elements together
  int64_t piece_count;
  T* const* c;  ///< row pointers of C
  const GemmPanel<T>* panels;
  int64_t panel_count;
  bool accumulate;          ///< continue the sums in C, else start from the bias
  T* scratch;               ///< by_columns only: kGemmScratch elements
  const T* bias = nullptr;  ///< of C's columns, from the first; null: 0
  T* row_sums = nullptr;  ///< by_columns only: for each of `rows`, receives the sum of A over `depth`; null: not wanted
  /// by_columns only: where the next block's `next_depth` columns begin, `rows` elements each, or null. They are
  /// fetched into the cache while this block multiplies; by_rows knows its next rows itself.
  const T* const* next = nullptr;
  int64_t next_depth = 0;
};

template <class T>
struct GemmTable {
  int64_t mr, nr;
  void (*by_rows)(const GemmBlock<T>&);
  void (*by_columns)(const GemmBlock<T>&);
  /// panel[k * nr + j] = rows[k][j] for j < columns.
  void (*pack)(T* panel, const T* const* rows, int64_t count, int64_t columns);
  /// panel[k * nr + j] = source[j * stride + k] for j < columns; the last column again for the rest of the nr.
  void (*pack_transposed)(T* panel, const T* source, int64_t stride, int64_t count, int64_t columns);
};

struct GemmTables {
  GemmTable<float> f32;
  GemmTable<double> f64;
};

TACIT_ISA_TABLE(GemmTables, gemm_tables)

}  // namespace tacit::cpu
