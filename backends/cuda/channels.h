// Element-wise kernels whose formula depends on the channel (the last dimension): a thread follows a pack of
// neighbouring channels through some of the rows, with what it needs of them in registers.
#pragma once

#include "backends/cuda/launch.h"
#include "backends/cuda/pack.h"
#include "tensor/shape.h"

namespace tacit::cuda {

/// mean, rstd, gamma and beta of V channels.
template <class T, int V>
struct Affine {
  Pack<T, V> mean, rstd, gamma, beta;
  /// What relu sees of a value x of channel v, without a residual.
  __device__ T normalised(int v, T x) const { return (x - mean.at[v]) * rstd.at[v] * gamma.at[v] + beta.at[v]; }
};
template <class T>
struct AffineOf {
  const T *mean, *rstd, *gamma, *beta;  // beta: null where nothing is normalised
  bool is_aligned;
  template <int V>
  __device__ Affine<T, V> at(int64_t c) const {
    return {load_pack<V>(mean + c, is_aligned), load_pack<V>(rstd + c, is_aligned), load_pack<V>(gamma + c, is_aligned),
            beta != nullptr ? load_pack<V>(beta + c, is_aligned) : Pack<T, V>{}};
  }
};

/// For the first element i of every V neighbours: f.write(i, f.read(i), channels), where channels = f.channels(c) are
/// those of c. Two rows are read before either is written.
template <class F>
__global__ void __launch_bounds__(kThreads) channels_kernel(int64_t rows, int64_t columns, const F f) {
  const int64_t c = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * F::kWidth;
  if (c >= columns) return;
  const auto channels = f.channels(c);
  const int64_t step = int64_t{gridDim.y} * blockDim.y;
  int64_t r = int64_t{blockIdx.y} * blockDim.y + threadIdx.y;
  for (; r + step < rows; r += 2 * step) {
    const int64_t i = r * columns + c, j = (r + step) * columns + c;
    const auto here = f.read(i), there = f.read(j);
    f.write(i, here, channels);
    f.write(j, there, channels);
  }
  if (r < rows) f.write(r * columns + c, f.read(r * columns + c), channels);
}

template <class F>
void for_each_channel(cudaStream_t stream, const Rows& rows, const F& f) {
  constexpr int64_t kRowsAThread = 8, kMostBlocks = 65535;
  const int64_t groups = rows.size / F::kWidth;
  if (groups == 0) return;
  const int64_t wide = divide_up(groups, kThreads), lanes = divide_up(groups, wide), at_once = kThreads / lanes;
  launch(stream, channels_kernel<F>, Grid{wide, std::min(divide_up(rows.count, at_once * kRowsAThread), kMostBlocks)},
         dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(at_once)), 0, rows.count, rows.size, f);
}

}  // namespace tacit::cuda
