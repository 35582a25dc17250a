// Sums and extremes over threads, in one fixed order: warps by butterflies, blocks by warps, columns and rows by pieces
// whose number depends on the shape only.
// The rule: everything is combined in f64, in which extremes of f32 are exact and sums have bits to spare.
#pragma once

#include <type_traits>

#include "backends/cuda/launch.h"
#include "backends/cuda/pack.h"
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

/// How many rows a block of columns_kernel follows at once, and how many threads it has at most: with few columns more
/// threads share each. A thread takes F::kWidth neighbouring columns.
inline constexpr int64_t kLanes = 32;
constexpr int64_t rows_at_once(int64_t columns) { return columns <= 64 ? 32 : columns <= 128 ? 16 : 8; }
constexpr int most_threads(int width) { return width <= 2 ? 1024 : 2048 / width; }

/// Columns that a thread sums together: 8 bytes of them, since each needs registers for its sums in f64.
template <class S>
inline constexpr int kSummed = kPack<S> / 2;

// partial[(piece K + k) columns + c] = combination over the piece's rows r of f(r, c, …)[.][k]
template <class Combine, int K, class F>
__global__ void __launch_bounds__(most_threads(F::kWidth), 1)
    columns_kernel(int64_t rows, int64_t columns, int64_t rows_a_piece, const F f, double* partial) {
  constexpr int V = F::kWidth;
  double* const shared = dynamic_shared<double>();  // (rows at once, K, V, lanes)
  const int lanes = static_cast<int>(blockDim.x), at_once = static_cast<int>(blockDim.y);
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int64_t c = (int64_t{blockIdx.x} * lanes + x) * V;
  const int64_t begin = blockIdx.y * rows_a_piece, end = begin + rows_a_piece < rows ? begin + rows_a_piece : rows;
  double values[V][K];
#pragma unroll
  for (int v = 0; v < V; ++v)
#pragma unroll
    for (int k = 0; k < K; ++k) values[v][k] = Combine::identity;
  if (c < columns) {
#pragma unroll 4
    for (int64_t r = begin + y; r < end; r += at_once) {
      double here[V][K];
      f(r, c, here);
#pragma unroll
      for (int v = 0; v < V; ++v)
#pragma unroll
        for (int k = 0; k < K; ++k) values[v][k] = Combine::combine(values[v][k], here[v][k]);
    }
  }
#pragma unroll
  for (int v = 0; v < V; ++v)
#pragma unroll
    for (int k = 0; k < K; ++k) shared[((y * K + k) * V + v) * lanes + x] = values[v][k];
  __syncthreads();
  const int results = K * V * lanes;
  for (int i = y * lanes + x; i < results; i += lanes * at_once) {
    const int64_t column = (int64_t{blockIdx.x} * lanes + i % lanes) * V + i / lanes % V;
    double total = shared[i];
    for (int row = 1; row < at_once; ++row) total = Combine::combine(total, shared[row * results + i]);
    if (column < columns) partial[(int64_t{blockIdx.y} * K + i / (lanes * V)) * columns + column] = total;
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

// Calls g(c, totals) for every column (output) with its K totals, of few pieces.
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

// The same of many pieces, which kFinishers threads of a column share; one alone would wait for each of them.
inline constexpr int kFinishers = 32;
template <class Combine, int K, class G>
__global__ void __launch_bounds__(kLanes* kFinishers)
    finish_kernel(int64_t columns, int64_t pieces, const double* partial, const G g) {
  __shared__ Shared<double[kFinishers][K][kLanes]> shared;
  const int64_t c = int64_t{blockIdx.x} * kLanes + threadIdx.x;
  for (int k = 0; k < K; ++k) {
    double total = Combine::identity;
    if (c < columns)
      for (int64_t piece = threadIdx.y; piece < pieces; piece += kFinishers)
        total = Combine::combine(total, partial[(piece * K + k) * columns + c]);
    shared[threadIdx.y][k][threadIdx.x] = total;
  }
  __syncthreads();
  if (threadIdx.y != 0 || c >= columns) return;
  double totals[K];
  for (int k = 0; k < K; ++k) {
    totals[k] = shared[0][k][threadIdx.x];
    for (int y = 1; y < kFinishers; ++y) totals[k] = Combine::combine(totals[k], shared[y][k][threadIdx.x]);
  }
  g(c, totals);
}

template <class Combine, int K, class G>
void finish(cudaStream_t stream, int64_t columns, int64_t pieces, const double* partial, const G& g) {
  constexpr int64_t kFew = 8;
  if (pieces <= kFew)
    for_each_index(stream, columns, Finish<Combine, K, G>{columns, pieces, partial, g});
  else
    launch(stream, finish_kernel<Combine, K, G>, Grid{divide_up(columns, kLanes)}, dim3(kLanes, kFinishers), 0, columns,
           pieces, partial, g);
}

/// For each column c: combines f(r, c, double (&values)[F::kWidth][K]), of kWidth neighbouring columns at once, over
/// all rows r, then calls g(c, const double (&totals)[K]). `columns` is a multiple of kWidth.
template <class Combine, int K, class F, class G>
void combine_columns(cudaStream_t stream, int64_t rows, int64_t columns, const F& f, const G& g) {
  constexpr int64_t kBlocks = 1024, kFewestRowsAThread = 8;
  const int64_t groups = columns / F::kWidth, lanes = std::min(groups, kLanes), at_once = rows_at_once(columns);
  if (groups == 0) return;
  const int64_t wide = divide_up(groups, lanes);
  const int64_t rows_a_piece =
      std::max(kFewestRowsAThread * at_once, divide_up(rows, std::max<int64_t>(1, kBlocks / wide)));
  const int64_t pieces = std::max<int64_t>(1, divide_up(rows, rows_a_piece));
  Scratch scratch(stream);
  double* const partial = scratch.take<double>(pieces * K * columns);
  const size_t shared = static_cast<size_t>(at_once * K * F::kWidth * lanes) * sizeof(double);
  launch(stream, columns_kernel<Combine, K, F>, Grid{wide, pieces},
         dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(at_once)), shared, rows, columns, rows_a_piece, f,
         partial);
  finish<Combine, K>(stream, columns, pieces, partial, g);
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
  finish<Combine, 1>(stream, outputs, pieces, partial, g);
}

}  // namespace tacit::cuda
