// Where element i of several strided views lies: the index arithmetic of every element-wise CUDA kernel.
// The rule: everything here is plain data and TACIT_HD functions of indices, so that the CPU's tests can run it.
#pragma once

#include <cstdint>

#include "tensor/hd.h"
#include "tensor/shape.h"

namespace tacit::cuda {

/// The offsets of N operands at the row-major index i of one shape. Dimensions that lie dense behind one another in
/// every operand are merged, so that contiguous views need no division.
template <int N>
struct Strided {
  int rank = 0;
  int64_t count = 1;  ///< elements of the shape
  int64_t size[kMaxRank] = {};
  int64_t stride[N][kMaxRank] = {};

  Strided(const Shape& shape, const Strides (&strides)[N]) {
    count = shape.numel();
    for (int d = 0; d < shape.rank(); ++d) {
      if (shape[d] == 1) continue;
      bool merges = rank > 0;
      for (int k = 0; k < N && merges; ++k) merges = stride[k][rank - 1] == strides[k][d] * shape[d];
      if (merges)
        size[rank - 1] *= shape[d];
      else
        size[rank++] = shape[d];
      for (int k = 0; k < N; ++k) stride[k][rank - 1] = strides[k][d];
    }
  }

  TACIT_HD void offsets(int64_t i, int64_t (&out)[N]) const {
    for (int k = 0; k < N; ++k) out[k] = 0;
    // 32-bit divisions are several times faster; nearly every tensor is small enough.
    if (count <= int64_t{0xffffffff})
      walk(static_cast<uint32_t>(i), out);
    else
      walk(static_cast<uint64_t>(i), out);
  }

  TACIT_HD int64_t offset(int64_t i) const {
    static_assert(N == 1);
    int64_t out[1];
    offsets(i, out);
    return out[0];
  }

 private:
  template <class Index>
  TACIT_HD void walk(Index i, int64_t (&out)[N]) const {
    for (int d = rank - 1; d > 0; --d) {
      const auto n = static_cast<Index>(size[d]);
      const Index rest = i / n, here = i - rest * n;
      for (int k = 0; k < N; ++k) out[k] += static_cast<int64_t>(here) * stride[k][d];
      i = rest;
    }
    if (rank > 0)
      for (int k = 0; k < N; ++k) out[k] += static_cast<int64_t>(i) * stride[k][0];
  }
};

}  // namespace tacit::cuda
