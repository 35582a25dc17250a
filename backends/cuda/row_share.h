// Rows that are read several times: a row is a warp's, or where it is long a block's. A thread keeps its share of the
// row in registers, or where that is more than kNumbersAThread reads it again each time.
#pragma once

#include "backends/cuda/launch.h"
#include "backends/cuda/pack.h"
#include "tensor/dtype.h"

namespace tacit::cuda {

inline constexpr int kNumbersAThread = 32, kWarpsABlock = 4;

/// A thread's share of a row: V numbers together, kBlock V apart.
template <class S, int V, int kBlock, bool kKept>
class RowShare {
 public:
  using T = ArithmeticOf<S>;

  __device__ RowShare(const S* row, int64_t size, bool is_aligned) : row_(row), size_(size), is_aligned_(is_aligned) {
    if constexpr (kKept) each([&](int p, int64_t first) { kept_[p] = read(first); });
  }
  /// Calls f(p, first) for each pack p of the share, which begins at the row's element `first`.
  template <class F>
  __device__ void each(const F& f) const {
    if constexpr (kKept) {
#pragma unroll
      for (int p = 0; p < kPacks; ++p) {
        const int64_t first = (int64_t{p} * kBlock + threadIdx.x) * V;
        if (first < size_) f(p, first);
      }
    } else {
      for (int64_t first = int64_t{threadIdx.x} * V; first < size_; first += kBlock * V) f(0, first);
    }
  }
  __device__ Pack<T, V> at(int p, int64_t first) const {
    if constexpr (kKept)
      return kept_[p];
    else
      return read(first);
  }

 private:
  static constexpr int kPacks = kNumbersAThread / V;
  __device__ Pack<T, V> read(int64_t first) const {
    const Pack<S, V> pack = load_pack<V>(row_ + first, is_aligned_);
    Pack<T, V> numbers;
#pragma unroll
    for (int v = 0; v < V; ++v) numbers.at[v] = convert<T>(pack.at[v]);
    return numbers;
  }

  const S* row_;
  int64_t size_;
  bool is_aligned_;
  Pack<T, V> kept_[kKept ? kPacks : 1];
};

/// How rows are given to threads.
template <class S, int V_, int kBlock_, bool kKept>
struct RowPlan {
  static constexpr int V = V_, kBlock = kBlock_, kRowsABlock = kBlock == 32 ? kWarpsABlock : 1;
  using Share = RowShare<S, V, kBlock, kKept>;
  __device__ static int64_t row() { return int64_t{blockIdx.x} * kRowsABlock + threadIdx.y; }
  static Grid grid(int64_t rows) { return {divide_up(rows, kRowsABlock)}; }
  static dim3 block() { return dim3(kBlock, kRowsABlock); }
};
/// Calls f(plan) with the RowPlan, as a type, of rows of that size.
template <class S, class F>
void with_row_plan(int64_t size, F&& f) {
  with_width<kPack<S>>(size, [&](auto width) {
    constexpr int V = decltype(width)::value;
    if (size <= 32 * kNumbersAThread)
      f(RowPlan<S, V, 32, true>());
    else if (size <= 256 * kNumbersAThread)
      f(RowPlan<S, V, 256, true>());
    else
      f(RowPlan<S, V, 256, false>());
  });
}

}  // namespace tacit::cuda
