// Convolution and its two gradients as implicit matrix products (see conv_operands.h): tiles of both operands go
// through shared memory, and each thread sums a small square of the result in registers; where tensors are bf16 or a
// PrecisionScope allows less than f32, the tensor cores sum the same tiles in tf32.
#include "backends/cuda/backend.h"
#include "backends/cuda/conv_operands.h"
#include "backends/cuda/launch.h"
#include "backends/cuda/state.h"
#include "backends/cuda/tensor_core.h"
#include "tensor/precision.h"

namespace tacit::cuda {

namespace {

inline constexpr int kTile = 64, kDepth = 16, kMicro = 4, kSide = kTile / kMicro;  // kSide^2 threads a block
// Rows of a tile in shared memory: 4 numbers more spread the writes of load_tile over the banks, 8 the reads of a
// warp's fragments too (lanes (g, t) read [t][g]: bank 8 t + g, all different).
inline constexpr int kPitch = kTile + 8;

/// Copies tile (outer, inner) of an operand to shared memory; a thread's outer or inner index stays its own.
template <class T, class Operand>
__device__ void load_tile(const Operand& operand, int64_t first_outer, int64_t outers, int64_t first_inner,
                          int64_t inners, T (&tile)[kDepth][kPitch]) {
  constexpr int kThreadsHere = kSide * kSide;
  if constexpr (Operand::outer_fastest) {
    const int o = static_cast<int>(threadIdx.x) % kTile;
    const bool valid = first_outer + o < outers;
    const auto outer = operand.outer(valid ? first_outer + o : 0);
    for (int k = static_cast<int>(threadIdx.x) / kTile; k < kDepth; k += kThreadsHere / kTile) {
      const bool here = valid && first_inner + k < inners;
      tile[k][o] = here ? operand.load(outer, operand.inner(first_inner + k)) : T(0);
    }
  } else {
    const int k = static_cast<int>(threadIdx.x) % kDepth;
    const bool valid = first_inner + k < inners;
    const auto inner = operand.inner(valid ? first_inner + k : 0);
    for (int o = static_cast<int>(threadIdx.x) / kDepth; o < kTile; o += kThreadsHere / kDepth) {
      const bool here = valid && first_outer + o < outers;
      tile[k][o] = here ? operand.load(operand.outer(first_outer + o), inner) : T(0);
    }
  }
}

/// out[piece][m * row_stride + n] = sum over the piece's k of a(m, k) b(n, k); blockIdx = (tile of n, tile of m, piece)
template <class T, class A, class B>
__global__ void __launch_bounds__(kSide* kSide)
    product_kernel(int64_t M, int64_t N, int64_t K, int64_t k_a_piece, const __grid_constant__ A a,
                   const __grid_constant__ B b, T* out, int64_t row_stride, int64_t piece_stride) {
  __shared__ Shared<T[kDepth][kPitch]> tile_a, tile_b;
  const int64_t first_m = int64_t{blockIdx.x} * kTile, first_n = int64_t{blockIdx.y} * kTile;
  const int64_t begin = blockIdx.z * k_a_piece, end = begin + k_a_piece < K ? begin + k_a_piece : K;
  const int row = static_cast<int>(threadIdx.x) / kSide, column = static_cast<int>(threadIdx.x) % kSide;
  T sums[kMicro][kMicro] = {};
  for (int64_t k = begin; k < end; k += kDepth) {
    load_tile<T>(a, first_m, M, k, end, tile_a);
    load_tile<T>(b, first_n, N, k, end, tile_b);
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      T left[kMicro], right[kMicro];
#pragma unroll
      for (int i = 0; i < kMicro; ++i) left[i] = tile_a[d][row * kMicro + i];
#pragma unroll
      for (int j = 0; j < kMicro; ++j) right[j] = tile_b[d][column + j * kSide];
#pragma unroll
      for (int i = 0; i < kMicro; ++i)
#pragma unroll
        for (int j = 0; j < kMicro; ++j) sums[i][j] += left[i] * right[j];
    }
    __syncthreads();
  }
  T* const to = out + blockIdx.z * piece_stride;
#pragma unroll
  for (int i = 0; i < kMicro; ++i)
#pragma unroll
    for (int j = 0; j < kMicro; ++j) {
      const int64_t m = first_m + row * kMicro + i, n = first_n + column + j * kSide;
      if (m < M && n < N) to[m * row_stride + n] = sums[i][j];
    }
}

/// The same by tensor cores. Each of the 8 warps sums 32 x 16 of the tile: 2 x 2 of the instruction's 16 x 8.
template <class Out, class A, class B>
__global__ void __launch_bounds__(kSide* kSide)
    tf32_product_kernel(int64_t M, int64_t N, int64_t K, int64_t k_a_piece, const __grid_constant__ A a,
                        const __grid_constant__ B b, Out* out, int64_t row_stride, int64_t piece_stride) {
  constexpr int kRows = 32, kColumns = 16, kStep = 8;
  static_assert(kTile / kRows * (kTile / kColumns) * 32 == kSide * kSide);
  __shared__ Shared<float[kDepth][kPitch]> tile_a, tile_b;
  const int64_t first_m = int64_t{blockIdx.x} * kTile, first_n = int64_t{blockIdx.y} * kTile;
  const int64_t begin = blockIdx.z * k_a_piece, end = begin + k_a_piece < K ? begin + k_a_piece : K;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int g = lane / 4, t = lane % 4;
  const int row = warp % (kTile / kRows) * kRows, column = warp / (kTile / kRows) * kColumns;
  float sums[2][2][4] = {};
  for (int64_t k = begin; k < end; k += kDepth) {
    load_tile<float>(a, first_m, M, k, end, tile_a);
    load_tile<float>(b, first_n, N, k, end, tile_b);
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; d += kStep) {
      uint32_t left[2][4], right[2][2];
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int r = 0; r < 4; ++r) left[i][r] = to_tf32(tile_a[d + t + r / 2 * 4][row + i * 16 + g + r % 2 * 8]);
#pragma unroll
      for (int j = 0; j < 2; ++j)
#pragma unroll
        for (int r = 0; r < 2; ++r) right[j][r] = to_tf32(tile_b[d + t + r * 4][column + j * 8 + g]);
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < 2; ++j) multiply_add(sums[i][j], left[i], right[j]);
    }
    __syncthreads();
  }
  Out* const to = out + blockIdx.z * piece_stride;
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int64_t m = first_m + row + i * 16 + g + r / 2 * 8, n = first_n + column + j * 8 + 2 * t + r % 2;
        if (m < M && n < N) to[m * row_stride + n] = convert<Out>(sums[i][j][r]);
      }
}

/// S: the type of both operands in memory. Tensor cores take bf16 as it is: tf32 has its bits.
template <class S, class Out, class A, class B>
void conv_product(cudaStream_t stream, int64_t M, int64_t N, int64_t K, int64_t pieces, int64_t k_a_piece, const A& a,
                  const B& b, Out* out, int64_t row_stride, int64_t piece_stride) {
  const Grid grid{divide_up(M, kTile), divide_up(N, kTile), pieces};
  const auto run = [&](auto kernel) {
    launch(stream, kernel, grid, dim3(kSide * kSide), 0, M, N, K, k_a_piece, a, b, out, row_stride, piece_stride);
  };
  if constexpr (std::is_same_v<S, BFloat16>) {
    run(tf32_product_kernel<Out, A, B>);
  } else {
    if constexpr (std::is_same_v<S, float>)
      if (precision() != Precision::F32) return run(tf32_product_kernel<Out, A, B>);
    run(product_kernel<Out, A, B>);
  }
}

/// out[i] = sum of partial[piece][i] in the order of the pieces.
template <class T>
struct AddPieces {
  T* out;
  const T* partial;
  int64_t pieces, size;
  TACIT_HD void operator()(int64_t i) const {
    double sum = 0;
    for (int64_t piece = 0; piece < pieces; ++piece) sum += static_cast<double>(partial[piece * size + i]);
    out[i] = static_cast<T>(sum);
  }
};

}  // namespace

// y[n, i, j, k] = sum over (r, s, c) of x[n, i stride + r dilation - padding, j …, c] w[k, r, s, c]
void CudaBackend::conv2d(const View& y, const View& x, const View& w, const Window& window) {
#ifdef TACIT_WITH_CUDNN
  if (state_->cudnn->conv2d(y, x, w, window)) return;
#endif
  const ConvSizes z(x.shape, w.shape, y.shape, window);
  visit_activations("conv2d", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t depth = int64_t{z.R} * z.S * z.group_in();
    for (int g = 0; g < z.groups; ++g)
      conv_product<T>(stream(), int64_t{z.N} * z.P * z.Q, z.group_out(), depth, 1, depth,
                      WindowsOfX<T>{x.ptr<T>(), z, g}, WeightRows<T>{w.ptr<T>(), z, g}, y.ptr<T>() + g * z.group_out(),
                      z.K, 0);
  });
}

// dx[n, h, w, c] = sum over (r, s, k) of dy[n, (h + padding - r dilation) / stride, …, k] w[k, r, s, c], where it
// divides
void CudaBackend::conv2d_dx(const View& dx, const View& dy, const View& w, const Window& window) {
#ifdef TACIT_WITH_CUDNN
  if (state_->cudnn->conv2d_dx(dx, dy, w, window)) return;
#endif
  const ConvSizes z(dx.shape, w.shape, dy.shape, window);
  visit_activations("conv2d_dx", dx.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t depth = int64_t{z.R} * z.S * z.group_out();
    for (int g = 0; g < z.groups; ++g)
      conv_product<T>(stream(), int64_t{z.N} * z.H * z.W, z.group_in(), depth, 1, depth,
                      CoversOfDy<T>{dy.ptr<T>(), z, g}, WeightColumns<T>{w.ptr<T>(), z, g},
                      dx.ptr<T>() + g * z.group_in(), z.C, 0);
  });
}

// dw[k, r, s, c] = sum over (n, i, j) of dy[n, i, j, k] x[n, i stride + r dilation - padding, j …, c]. The sum is long
// and the result small, so it is cut into pieces, which are added in their order.
void CudaBackend::conv2d_dw(const View& dw, const View& x, const View& dy, const Window& window) {
#ifdef TACIT_WITH_CUDNN
  if (state_->cudnn->conv2d_dw(dw, x, dy, window)) return;
#endif
  const ConvSizes z(x.shape, dw.shape, dy.shape, window);
  const int64_t rows = z.group_out(), columns = int64_t{z.R} * z.S * z.group_in();
  const int64_t depth = int64_t{z.N} * z.P * z.Q, tiles = divide_up(rows, kTile) * divide_up(columns, kTile);
  constexpr int64_t kBlocks = 1024, kShortestPiece = 256;
  const int64_t wanted = std::max<int64_t>(1, kBlocks / std::max<int64_t>(1, tiles));
  const int64_t k_a_piece = divide_up(std::max(kShortestPiece, divide_up(depth, wanted)), kDepth) * kDepth;
  const int64_t pieces = std::max<int64_t>(1, divide_up(depth, k_a_piece));
  visit_activations("conv2d_dw", x.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    Scratch scratch(stream());
    T* const partial = scratch.take<T>(pieces * rows * columns);
    for (int g = 0; g < z.groups; ++g) {
      conv_product<S>(stream(), rows, columns, depth, pieces, k_a_piece, DyByChannel<S>{dy.ptr<S>(), z, g},
                      XUnderTaps<S>{{x.ptr<S>(), z, g}}, partial, columns, rows * columns);
      for_each_index(stream(), rows * columns,
                     AddPieces<T>{dw.ptr<T>() + g * rows * columns, partial, pieces, rows * columns});
    }
  });
}

}  // namespace tacit::cuda
