// A kTile x kTile tile of a matrix product, by a block of kThreadsATile threads: slices of both operands go through
// shared memory, and each thread sums kMicro x kMicro of the results in registers; or its warp's tensor cores do, in
// tf32, from the same slices.
// The rule: only PlainTile and TensorCoreTile know which results a thread holds. Its result (i, j), both below kMicro,
// is in the tile's row(i) and column(j); kSide threads share a row, by their place_in_row(), and as many a column.
#pragma once

#include "backends/cuda/launch.h"
#include "backends/cuda/tensor_core.h"
#include "tensor/precision.h"

namespace tacit::cuda {

inline constexpr int kTile = 64, kDepth = 16, kMicro = 4, kSide = kTile / kMicro, kThreadsATile = kSide * kSide;
// Rows of a slice in shared memory: 4 numbers more spread the writes of load_slice over the banks, 8 the reads of a
// warp's fragments too (lanes (g, t) read [t][g]: bank 8 t + g, all different).
inline constexpr int kPitch = kTile + 8;

/// kDepth steps of the summed index, for kTile rows of an operand.
template <class T>
using Slice = T[kDepth][kPitch];

/// A matrix whose row is the outer index: (outers, inners), dense. As the operands of conv_operands.h.
template <class T>
struct DenseRows {
  static constexpr bool outer_fastest = false;
  const T* data;
  int64_t inners;
  TACIT_HD int64_t outer(int64_t o) const { return o * inners; }
  TACIT_HD int64_t inner(int64_t i) const { return i; }
  TACIT_HD T load(int64_t outer, int64_t inner) const { return data[outer + inner]; }
};
/// A matrix whose column is the outer index: (inners, outers), dense.
template <class T>
struct DenseColumns {
  static constexpr bool outer_fastest = true;
  const T* data;
  int64_t outers;
  TACIT_HD int64_t outer(int64_t o) const { return o; }
  TACIT_HD int64_t inner(int64_t i) const { return i * outers; }
  TACIT_HD T load(int64_t outer, int64_t inner) const { return data[outer + inner]; }
};

/// Copies a slice of an operand to shared memory, 0 beyond its ends; a thread's outer or inner index stays its own.
template <class T, class Operand>
__device__ void load_slice(const Operand& operand, int64_t first_outer, int64_t outers, int64_t first_inner,
                           int64_t inners, Slice<T>& slice) {
  if constexpr (Operand::outer_fastest) {
    const int o = static_cast<int>(threadIdx.x) % kTile;
    const bool valid = first_outer + o < outers;
    const auto outer = operand.outer(valid ? first_outer + o : 0);
    for (int k = static_cast<int>(threadIdx.x) / kTile; k < kDepth; k += kThreadsATile / kTile) {
      const bool here = valid && first_inner + k < inners;
      slice[k][o] = here ? operand.load(outer, operand.inner(first_inner + k)) : T(0);
    }
  } else {
    const int k = static_cast<int>(threadIdx.x) % kDepth;
    const bool valid = first_inner + k < inners;
    const auto inner = operand.inner(valid ? first_inner + k : 0);
    for (int o = static_cast<int>(threadIdx.x) / kDepth; o < kTile; o += kThreadsATile / kDepth) {
      const bool here = valid && first_outer + o < outers;
      slice[k][o] = here ? operand.load(operand.outer(first_outer + o), inner) : T(0);
    }
  }
}

/// Each thread has kMicro rows that lie together, and kMicro columns kSide apart.
template <class T>
struct PlainTile {
  using Sums = T[kMicro][kMicro];
  __device__ static int place_in_column() { return static_cast<int>(threadIdx.x) / kSide; }
  __device__ static int place_in_row() { return static_cast<int>(threadIdx.x) % kSide; }
  __device__ static int row(int i) { return place_in_column() * kMicro + i; }
  __device__ static int column(int j) { return place_in_row() + j * kSide; }
  __device__ static T& at(Sums& sums, int i, int j) { return sums[i][j]; }

  /// sums += leftᵀ right
  __device__ static void add(const Slice<T>& left, const Slice<T>& right, Sums& sums) {
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      T a[kMicro], b[kMicro];
#pragma unroll
      for (int i = 0; i < kMicro; ++i) a[i] = left[d][row(i)];
#pragma unroll
      for (int j = 0; j < kMicro; ++j) b[j] = right[d][column(j)];
#pragma unroll
      for (int i = 0; i < kMicro; ++i)
#pragma unroll
        for (int j = 0; j < kMicro; ++j) sums[i][j] += a[i] * b[j];
    }
  }
};

/// Each of the 8 warps has 32 x 16 of the tile: 2 x 2 of the instruction's 16 x 8, Sums[block] is a lane's part of one.
struct TensorCoreTile {
  using Sums = float[kMicro][kMicro];
  static constexpr int kRows = 32, kColumns = 16, kStep = 8;
  static_assert(kTile / kRows * (kTile / kColumns) * 32 == kThreadsATile);
  __device__ static int first_row() { return warp_of() % (kTile / kRows) * kRows; }
  __device__ static int first_column() { return warp_of() / (kTile / kRows) * kColumns; }
  __device__ static int place_in_column() { return warp_of() % (kTile / kRows) * 8 + g_of(); }
  __device__ static int place_in_row() { return warp_of() / (kTile / kRows) * 4 + t_of(); }
  __device__ static int row(int i) { return first_row() + i / 2 * 16 + g_of() + i % 2 * 8; }
  __device__ static int column(int j) { return first_column() + j / 2 * 8 + 2 * t_of() + j % 2; }
  __device__ static float& at(Sums& sums, int i, int j) { return sums[i / 2 * 2 + j / 2][i % 2 * 2 + j % 2]; }

  __device__ static void add(const Slice<float>& left, const Slice<float>& right, Sums& sums) {
#pragma unroll
    for (int d = 0; d < kDepth; d += kStep) {
      uint32_t a[2][4], b[2][2];
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int r = 0; r < 4; ++r)
          a[i][r] = to_tf32(left[d + t_of() + r / 2 * 4][first_row() + i * 16 + g_of() + r % 2 * 8]);
#pragma unroll
      for (int j = 0; j < 2; ++j)
#pragma unroll
        for (int r = 0; r < 2; ++r) b[j][r] = to_tf32(right[d + t_of() + r * 4][first_column() + j * 8 + g_of()]);
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < 2; ++j) multiply_add_tf32(sums[i * 2 + j], a[i], b[j]);
    }
  }
};

/// Calls f(tile) with how tiles of products are summed, of operands that are S in memory: by tensor cores where less
/// than f32 is allowed, and of bf16, whose bits tf32 has.
template <class S, class F>
void with_tile(F&& f) {
  if constexpr (std::is_same_v<S, BFloat16>) {
    f(TensorCoreTile());
  } else {
    if constexpr (std::is_same_v<S, float>)
      if (precision() != Precision::F32) return f(TensorCoreTile());
    f(PlainTile<S>());
  }
}

/// sums += sum over k in [begin, end) of a(first_m + row, k) b(first_n + column, k), where a has M rows and b has N.
/// The whole block calls it; the slices are free when it returns.
template <class Tile, class T, class A, class B>
__device__ void add_product(const A& a, int64_t first_m, int64_t M, const B& b, int64_t first_n, int64_t N,
                            int64_t begin, int64_t end, Slice<T>& slice_a, Slice<T>& slice_b,
                            typename Tile::Sums& sums) {
  for (int64_t k = begin; k < end; k += kDepth) {
    load_slice<T>(a, first_m, M, k, end, slice_a);
    load_slice<T>(b, first_n, N, k, end, slice_b);
    __syncthreads();
    Tile::add(slice_a, slice_b, sums);
    __syncthreads();
  }
}

/// The sum of a place's numbers in all pieces of a product, in their order; a piece has `size` of them.
template <class T>
TACIT_HD double over_pieces(const T* partial, int64_t pieces, int64_t size, int64_t i) {
  double sum = 0;
  for (int64_t piece = 0; piece < pieces; ++piece) sum += static_cast<double>(partial[piece * size + i]);
  return sum;
}

}  // namespace tacit::cuda
