// What the reference kernels share: walking several strided views at once, finding an element of a dense tensor.
// The rule: an index walks in row-major order, the last dimension fastest, so every sum has one order.
#pragma once

#include <cstdint>
#include <utility>

#include "tensor/backend.h"

namespace tacit::reference {

/// Calls f(offset, …) for every index of `shape`: one element offset for each list of strides (which may be 0).
///
///   for_each(out.shape, {out.strides, x.strides}, [&](int64_t o, int64_t i) { y[o] = x[i]; });
template <size_t N, class F>
void for_each(const Shape& shape, const Strides (&strides)[N], F&& f) {
  if (shape.numel() == 0) return;
  int64_t index[kMaxRank] = {}, offset[N] = {};
  const auto call = [&]<size_t... k>(std::index_sequence<k...>) { f(offset[k]...); };
  while (true) {
    call(std::make_index_sequence<N>());
    int d = shape.rank() - 1;
    for (; d >= 0; --d) {
      for (size_t k = 0; k < N; ++k) offset[k] += strides[k][d];
      if (++index[d] < shape[d]) break;
      for (size_t k = 0; k < N; ++k) offset[k] -= strides[k][d] * shape[d];
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

/// Where element (a, b, c, d) of a dense tensor of rank 4 lies.
inline int64_t dense_offset(const Shape& s, int64_t a, int64_t b, int64_t c, int64_t d) {
  return ((a * s[1] + b) * s[2] + c) * s[3] + d;
}

}  // namespace tacit::reference
