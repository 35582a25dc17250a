// Strided element-wise loops as few long rows: dimensions merge where every operand allows it, and the rows are cut
// into pieces by the shape alone.
#pragma once

#include <algorithm>
#include <array>

#include "backends/cpu/parallel.h"
#include "tensor/view.h"

namespace tacit::cpu {

/// Elements a piece has: small enough for two cores to share, large enough to hide a task's cost.
inline constexpr int64_t kPiece = 32768;

/// N operands over one shape, with dimensions of size 1 dropped and neighbours merged.
template <size_t N>
struct MergedLoop {
  MergedLoop(const Shape& shape, const std::array<const Strides*, N>& operands) {
    for (int d = 0; d < shape.rank(); ++d) {
      if (shape[d] == 1) continue;
      bool merges = rank > 0;
      for (size_t k = 0; k < N; ++k) merges = merges && strides[k][rank - 1] == (*operands[k])[d] * shape[d];
      if (!merges) sizes[rank++] = 1;
      sizes[rank - 1] *= shape[d];
      for (size_t k = 0; k < N; ++k) strides[k][rank - 1] = (*operands[k])[d];
    }
    if (rank == 0) {
      rank = 1;
      sizes[0] = 1;
      for (size_t k = 0; k < N; ++k) strides[k][0] = 1;  // one element: any stride is right, 1 is the fast one
    }
  }
  int64_t inner() const { return sizes[rank - 1]; }
  int64_t rows() const {
    int64_t n = 1;
    for (int d = 0; d + 1 < rank; ++d) n *= sizes[d];
    return n;
  }
  /// Offsets of each operand at the start of a row.
  std::array<int64_t, N> row(int64_t r) const {
    std::array<int64_t, N> at{};
    for (int d = rank - 2; d >= 0; --d) {
      const int64_t i = r % sizes[d];
      r /= sizes[d];
      for (size_t k = 0; k < N; ++k) at[k] += i * strides[k][d];
    }
    return at;
  }

  /// Offsets of each operand at element i, in row-major order.
  std::array<int64_t, N> element(int64_t i) const {
    std::array<int64_t, N> at = row(i / inner());
    for (size_t k = 0; k < N; ++k) at[k] += i % inner() * strides[k][rank - 1];
    return at;
  }

  int rank = 0;
  int64_t sizes[kMaxRank] = {};
  int64_t strides[N][kMaxRank] = {};
};

/// Calls f(offsets, n, strides) for stretches of the innermost dimension, in parallel.
template <size_t N, class F>
void for_stretches(const Shape& shape, const std::array<const Strides*, N>& operands, F&& f) {
  if (shape.numel() == 0) return;
  const MergedLoop<N> loop(shape, operands);
  const int64_t n = loop.inner(), rows = loop.rows();
  std::array<int64_t, N> inner{};
  for (size_t k = 0; k < N; ++k) inner[k] = loop.strides[k][loop.rank - 1];
  const int64_t parts = (n + kPiece - 1) / kPiece, rows_a_piece = parts > 1 ? 1 : std::max<int64_t>(1, kPiece / n);
  const int64_t pieces = (rows + rows_a_piece - 1) / rows_a_piece * parts;
  parallel_pieces(pieces, [&](int64_t piece) {
    const int64_t first = piece / parts * rows_a_piece, last = std::min(rows, first + rows_a_piece);
    const int64_t begin = piece % parts * kPiece, count = std::min(n - begin, parts > 1 ? kPiece : n);
    for (int64_t r = first; r < last; ++r) {
      std::array<int64_t, N> at = loop.row(r);
      for (size_t k = 0; k < N; ++k) at[k] += begin * inner[k];
      f(at, count, inner);
    }
  });
}

/// Adds part after part (each `columns` sums) to the first, in order.
inline void add_parts(double* sums, int64_t parts, int64_t columns) {
  parallel_ranges(columns, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t p = 1; p < parts; ++p)
      for (int64_t c = begin; c < end; ++c) sums[c] += sums[p * columns + c];
  });
}

}  // namespace tacit::cpu
