// What the reference kernels share: walking several strided views at once, finding an element of a dense tensor.
// The rule: an index walks in row-major order, the last dimension fastest, so every sum has one order.
#pragma once

#include <cstdint>
#include <utility>

#include "tensor/backend.h"

namespace tacit::reference {

/// One element offset for each of N lists of strides (which may be 0), at every index of a shape in turn.
class Walk {
 public:
  static constexpr size_t kMost = 6;  ///< lists of strides
  Walk(const Shape& shape, const Strides* strides, size_t n) : shape_(shape), strides_(strides), n_(n) {}
  /// To the first index, then to the next; false after the last.
  bool next();
  int64_t offset(size_t k) const { return offsets_[k]; }

 private:
  const Shape& shape_;
  const Strides* strides_;
  const size_t n_;
  bool begun_ = false;
  int64_t index_[kMaxRank] = {}, offsets_[kMost] = {};
};

/// Calls f(offset, …) for every index of `shape`.
///
///   for_each(out.shape, {out.strides, x.strides}, [&](int64_t o, int64_t i) { y[o] = x[i]; });
template <size_t N, class F>
void for_each(const Shape& shape, const Strides (&strides)[N], F&& f) {
  static_assert(N <= Walk::kMost);
  Walk walk(shape, strides, N);
  const auto call = [&]<size_t... k>(std::index_sequence<k...>) { f(walk.offset(k)...); };
  while (walk.next()) call(std::make_index_sequence<N>());
}

/// Where element (a, b, c, d) of a dense tensor of rank 4 lies.
inline int64_t dense_offset(const Shape& s, int64_t a, int64_t b, int64_t c, int64_t d) {
  return ((a * s[1] + b) * s[2] + c) * s[3] + d;
}

}  // namespace tacit::reference
