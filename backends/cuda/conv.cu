// Convolution and its two gradients as implicit matrix products (see conv_operands.h), tile by tile (tile_product.h);
// where tensors are bf16 or a PrecisionScope allows less than f32, the tensor cores sum the tiles in tf32.
#include "backends/cuda/backend.h"
#include "backends/cuda/combine.h"
#include "backends/cuda/conv_operands.h"
#include "backends/cuda/state.h"
#include "backends/cuda/tile_product.h"

namespace tacit::cuda {

namespace {

/// For each tile of rows and each column of a product: the mean of the tile's rows, and their squares around it.
template <class T>
struct TileMoments {
  T* mean = nullptr;  // (tiles, columns); null: not wanted
  T* squares = nullptr;
  int64_t columns = 0;
};

/// Adds up each column of a block's tile over its first `rows` rows: f(sum, j) for the thread's column j, in every
/// thread of the column; what is added of a result is term(result, j).
template <class Tile, class T, class Term, class F>
__device__ void over_columns(typename Tile::Sums& results, int64_t rows, Slice<T>& shared, const Term& term,
                             const F& f) {
  static_assert(kDepth == kSide);
#pragma unroll
  for (int j = 0; j < kMicro; ++j) {
    T sum = 0;
#pragma unroll
    for (int i = 0; i < kMicro; ++i)
      if (Tile::row(i) < rows) sum += term(Tile::at(results, i, j), j);
    shared[Tile::place_in_column()][Tile::column(j)] = sum;
  }
  __syncthreads();
#pragma unroll
  for (int j = 0; j < kMicro; ++j) {
    T sum = 0;
    for (int place = 0; place < kSide; ++place) sum += shared[place][Tile::column(j)];
    f(sum, j);
  }
  __syncthreads();
}

/// out[piece][m * row_stride + n] = sum over the piece's k of a(m, k) b(n, k); blockIdx = (tile of m, tile of n,
/// piece). The moments are those of what is written: of bf16, of the rounded sums.
template <class Tile, class T, class Out, class A, class B>
__global__ void __launch_bounds__(kThreadsATile)
    product_kernel(int64_t M, int64_t N, int64_t K, int64_t k_a_piece, const __grid_constant__ A a,
                   const __grid_constant__ B b, Out* out, int64_t row_stride, int64_t piece_stride,
                   TileMoments<T> moments) {
  __shared__ Shared<Slice<T>> slice_a, slice_b;
  const int64_t first_m = int64_t{blockIdx.x} * kTile, first_n = int64_t{blockIdx.y} * kTile;
  const int64_t begin = blockIdx.z * k_a_piece, end = begin + k_a_piece < K ? begin + k_a_piece : K;
  typename Tile::Sums sums = {};
  add_product<Tile, T>(a, first_m, M, b, first_n, N, begin, end, slice_a, slice_b, sums);
  Out* const to = out + blockIdx.z * piece_stride;
#pragma unroll
  for (int i = 0; i < kMicro; ++i)
#pragma unroll
    for (int j = 0; j < kMicro; ++j) {
      const int64_t m = first_m + Tile::row(i), n = first_n + Tile::column(j);
      const auto written = convert<Out>(Tile::at(sums, i, j));
      Tile::at(sums, i, j) = convert<T>(written);
      if (m < M && n < N) to[m * row_stride + n] = written;
    }
  if (moments.mean == nullptr) return;
  const int64_t rows = M - first_m < kTile ? M - first_m : kTile;
  T mean[kMicro], squares[kMicro];
  over_columns<Tile, T>(
      sums, rows, slice_a, [](T value, int) { return value; },
      [&](T sum, int j) { mean[j] = sum / static_cast<T>(rows); });
  over_columns<Tile, T>(
      sums, rows, slice_a, [&](T value, int j) { return (value - mean[j]) * (value - mean[j]); },
      [&](T sum, int j) { squares[j] = sum; });
  if (Tile::place_in_column() != 0) return;
#pragma unroll
  for (int j = 0; j < kMicro; ++j) {
    const int64_t n = first_n + Tile::column(j), at = blockIdx.x * moments.columns + n;
    if (n < N) moments.mean[at] = mean[j], moments.squares[at] = squares[j];
  }
}

/// S: the type of both operands in memory.
template <class S, class Out, class A, class B>
void conv_product(cudaStream_t stream, int64_t M, int64_t N, int64_t K, int64_t pieces, int64_t k_a_piece, const A& a,
                  const B& b, Out* out, int64_t row_stride, int64_t piece_stride,
                  const TileMoments<ArithmeticOf<S>>& moments = {}) {
  const Grid grid{divide_up(M, kTile), divide_up(N, kTile), pieces};
  with_tile<S>([&](auto tile) {
    launch(stream, product_kernel<decltype(tile), ArithmeticOf<S>, Out, A, B>, grid, dim3(kThreadsATile), 0, M, N, K,
           k_a_piece, a, b, out, row_stride, piece_stride, moments);
  });
}

// The moments of n rows from those of their tiles, around the first tile's mean m0 (Chan, Golub and LeVeque 1979):
// with d = mean - m0 of a tile of r rows,  mean = m0 + 1/n sum r d;  n var = sum (squares + r d^2) - 1/n (sum r d)^2
template <class T>
struct TileTerms {
  static constexpr int kWidth = 1;
  TileMoments<T> tiles;
  int64_t rows;
  TACIT_HD void operator()(int64_t tile, int64_t c, double (&out)[1][2]) const {
    const int64_t at = tile * tiles.columns + c, left = rows - tile * kTile;
    const auto r = static_cast<double>(left < kTile ? left : kTile);
    const double d = static_cast<double>(tiles.mean[at]) - static_cast<double>(tiles.mean[c]);
    out[0][0] = r * d;
    out[0][1] = static_cast<double>(tiles.squares[at]) + r * d * d;
  }
};
template <class T>
struct StoreMoments {
  TileMoments<T> tiles;
  T *mean, *var;
  double n;
  TACIT_HD void operator()(int64_t c, const double (&totals)[2]) const {
    mean[c] = static_cast<T>(static_cast<double>(tiles.mean[c]) + totals[0] / n);
    var[c] = static_cast<T>((totals[1] - totals[0] * totals[0] / n) / n);
  }
};

/// y, and its moments by tiles where they are wanted.
template <class S, class T = ArithmeticOf<S>>
void own_conv2d(cudaStream_t stream, const View& y, const View& x, const View& w, const ConvSizes& z,
                const TileMoments<T>& moments) {
  const int64_t depth = int64_t{z.R} * z.S * z.group_in();
  for (int g = 0; g < z.groups; ++g) {
    const int first = g * z.group_out();
    TileMoments<T> of_group = moments;
    if (moments.mean != nullptr) of_group.mean += first, of_group.squares += first;
    conv_product<S>(stream, int64_t{z.N} * z.P * z.Q, z.group_out(), depth, 1, depth, WindowsOfX<S>{x.ptr<S>(), z, g},
                    WeightRows<S>{w.ptr<S>(), z, g}, y.ptr<S>() + first, z.K, 0, of_group);
  }
}

/// out[i] = sum of partial[piece][i] in the order of the pieces.
template <class T>
struct AddPieces {
  T* out;
  const T* partial;
  int64_t pieces, size;
  TACIT_HD void operator()(int64_t i) const { out[i] = static_cast<T>(over_pieces(partial, pieces, size, i)); }
};

}  // namespace

// y[n, i, j, k] = sum over (r, s, c) of x[n, i stride + r dilation - padding, j …, c] w[k, r, s, c]
void CudaBackend::conv2d(const View& y, const View& x, const View& w, const Window& window) {
#ifdef TACIT_WITH_CUDNN
  if (state_->cudnn->conv2d(y, x, w, window)) return;
#endif
  const ConvSizes z(x.shape, w.shape, y.shape, window);
  visit_activations("conv2d", y.dtype, [&](auto zero) { own_conv2d<decltype(zero)>(stream(), y, x, w, z, {}); });
}

// The blocks that write y sum up its columns on the way, so that no pass over y follows. cuDNN's do not.
void CudaBackend::conv2d_moments(const View& y, const View& mean, const View& var, const View& x, const View& w,
                                 const Window& window) {
#ifdef TACIT_WITH_CUDNN
  if (state_->cudnn->conv2d(y, x, w, window)) return moments(mean, var, y);
#endif
  const ConvSizes z(x.shape, w.shape, y.shape, window);
  const int64_t rows = int64_t{z.N} * z.P * z.Q, tiles = divide_up(rows, kTile);
  visit_activations("conv2d_moments", y.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    Scratch scratch(stream());
    const TileMoments<T> of_tiles{scratch.take<T>(tiles * z.K), scratch.take<T>(tiles * z.K), z.K};
    own_conv2d<S>(stream(), y, x, w, z, of_tiles);
    combine_columns<SumOf, 2>(stream(), tiles, z.K, TileTerms<T>{of_tiles, rows},
                              StoreMoments<T>{of_tiles, mean.ptr<T>(), var.ptr<T>(), static_cast<double>(rows)});
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
    using S = decltype(zero);
    const int64_t depth = int64_t{z.R} * z.S * z.group_out();
    for (int g = 0; g < z.groups; ++g)
      conv_product<S>(stream(), int64_t{z.N} * z.H * z.W, z.group_in(), depth, 1, depth,
                      CoversOfDy<S>{dy.ptr<S>(), z, g}, WeightColumns<S>{w.ptr<S>(), z, g},
                      dx.ptr<S>() + g * z.group_in(), z.C, 0);
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
