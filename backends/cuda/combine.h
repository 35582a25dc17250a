// Sums and extremes over threads, in one fixed order: warps by butterflies, blocks by warps, columns and rows by pieces
// whose number depends on the shape only.
// The rule: everything is combined in f64, in which extremes of f32 are exact and sums have bits to spare.
#pragma once

#include <type_traits>

#include "backends/cuda/launch.h"
#include "tensor/backend.h"

namespace tacit::cuda {

struct SumOf {
  static constexpr double identity = 0;
  TACIT_HD static double combine(double a, double b) { return a + b; }
};
/// The first NaN, or the largest (smallest).
template <ReduceOp op>
struct BestOf {
  static constexpr double identity = op == ReduceOp::Max ? -__builtin_inf() : __builtin_inf();
  TACIT_HD static double combine(double a, double b) { return beats(op, b, a) ? b : a; }
};

/// The combination over the 32 threads of a warp, in every one of them.
template <class Combine>
__device__ double over_warp(double value) {
  for (int distance = 16; distance > 0; distance /= 2)
    value = Combine::combine(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}

/// The combination over all threads of a block of whole warps, in every one of them.
template <class Combine, int kBlock>
__device__ double over_block(double value) {
  value = over_warp<Combine>(value);
  if constexpr (kBlock > 32) {
    __shared__ Shared<double[kBlock / 32]> warps;
    __syncthreads();  // the last call's readers are done
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    value = warps[0];
    for (int w = 1; w < kBlock / 32; ++w) value = Combine::combine(value, warps[w]);
  }
  return value;
}

/// A product that no subtraction is fused with: logits must be the numbers that the largest one and lse were made of
/// (see backends/cpu/kernels/attention.cpp).
__device__ inline float rounded_product(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double rounded_product(double a, double b) { return __dmul_rn(a, b); }

/// Calls kernel code with the block size for rows of `size` elements as a constant: f(std::integral_constant).
template <class F>
void with_row_block(int64_t size, F&& f) {
  if (size <= 1024)
    f(std::integral_constant<int, 32>());
  else
    f(std::integral_constant<int, 256>());
}

inline constexpr int kColumnsX = 32, kColumnsY = 8;

// partial[(piece K + k) columns + c] = combination over the piece's rows r of f(r, c, …)[k]
template <class Combine, int K, class F>
__global__ void columns_kernel(int64_t rows, int64_t columns, int64_t rows_a_piece, const F f, double* partial) {
  __shared__ Shared<double[kColumnsY][K][kColumnsX]> shared;
  const int64_t c = int64_t{blockIdx.x} * kColumnsX + threadIdx.x;
  const int64_t begin = blockIdx.y * rows_a_piece, end = begin + rows_a_piece < rows ? begin + rows_a_piece : rows;
  double values[K];
  for (int k = 0; k < K; ++k) values[k] = Combine::identity;
  if (c < columns)
    for (int64_t r = begin + threadIdx.y; r < end; r += kColumnsY) {
      double here[K];
      f(r, c, here);
      for (int k = 0; k < K; ++k) values[k] = Combine::combine(values[k], here[k]);
    }
  for (int k = 0; k < K; ++k) shared[threadIdx.y][k][threadIdx.x] = values[k];
  __syncthreads();
  if (threadIdx.y != 0 || c >= columns) return;
  for (int k = 0; k < K; ++k) {
    double total = shared[0][k][threadIdx.x];
    for (int y = 1; y < kColumnsY; ++y) total = Combine::combine(total, shared[y][k][threadIdx.x]);
    partial[(int64_t{blockIdx.y} * K + k) * columns + c] = total;
  }
}

// partial[piece outputs + o] = combination over the piece's elements i of f(o, i); one warp each
template <class Combine, class F>
__global__ void rows_kernel(int64_t outputs, int64_t size, int64_t size_a_piece, const F f, double* partial) {
  const int64_t o = int64_t{blockIdx.x} * (blockDim.x / 32) + threadIdx.x / 32;
  if (o >= outputs) return;  // a whole warp
  const int64_t begin = blockIdx.y * size_a_piece, end = begin + size_a_piece < size ? begin + size_a_piece : size;
  double value = Combine::identity;
  for (int64_t i = begin + threadIdx.x % 32; i < end; i += 32) value = Combine::combine(value, f(o, i));
  value = over_warp<Combine>(value);
  if (threadIdx.x % 32 == 0) partial[int64_t{blockIdx.y} * outputs + o] = value;
}

// Calls g(c, totals) for every column (output) with its K totals.
template <class Combine, int K, class G>
struct Finish {
  int64_t columns, pieces;
  const double* partial;
  G g;
  TACIT_HD void operator()(int64_t c) const {
    double totals[K];
    for (int k = 0; k < K; ++k) {
      totals[k] = Combine::identity;
      for (int64_t piece = 0; piece < pieces; ++piece)
        totals[k] = Combine::combine(totals[k], partial[(piece * K + k) * columns + c]);
    }
    g(c, totals);
  }
};

/// For each column c: combines f(r, c, double (&values)[K]) over all rows r, then calls g(c, const double
/// (&totals)[K]).
template <class Combine, int K, class F, class G>
void combine_columns(cudaStream_t stream, int64_t rows, int64_t columns, const F& f, const G& g) {
  constexpr int64_t kBlocks = 1024, kFewestRows = 64;
  const int64_t wide = divide_up(columns, kColumnsX);
  const int64_t rows_a_piece =
      std::max(kFewestRows, divide_up(rows, std::max<int64_t>(1, kBlocks / std::max<int64_t>(1, wide))));
  const int64_t pieces = std::max<int64_t>(1, divide_up(rows, rows_a_piece));
  Scratch scratch(stream);
  double* const partial = scratch.take<double>(pieces * K * columns);
  launch(stream, columns_kernel<Combine, K, F>, Grid{wide, pieces}, dim3(kColumnsX, kColumnsY), 0, rows, columns,
         rows_a_piece, f, partial);
  for_each_index(stream, columns, Finish<Combine, K, G>{columns, pieces, partial, g});
}

/// For each output o: combines f(o, i) over all i below size, neighbours in i lying close, then calls g(o, total).
template <class Combine, class F, class G>
void combine_rows(cudaStream_t stream, int64_t outputs, int64_t size, const F& f, const G& g) {
  constexpr int64_t kMostPieces = 1024, kSmallestPiece = 4096, kWarps = kThreads / 32;
  const int64_t size_a_piece = std::max(kSmallestPiece, divide_up(size, kMostPieces));
  const int64_t pieces = std::max<int64_t>(1, divide_up(size, size_a_piece));
  Scratch scratch(stream);
  double* const partial = scratch.take<double>(pieces * outputs);
  launch(stream, rows_kernel<Combine, F>, Grid{divide_up(outputs, kWarps), pieces}, dim3(kThreads), 0, outputs, size,
         size_a_piece, f, partial);
  for_each_index(stream, outputs, Finish<Combine, 1, G>{outputs, pieces, partial, g});
}

}  // namespace tacit::cuda
