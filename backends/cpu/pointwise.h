// 1x1 convolutions as matrix products of pixels (rows) and channels (columns).
#pragma once

#include "backends/cpu/conv_geometry.h"
#include "backends/cpu/memory.h"
#include "backends/cpu/parallel.h"

namespace tacit::cpu {

/// A dense matrix.
template <class T>
View matrix(T* data, int64_t rows, int64_t columns, DType dtype) {
  View view;
  view.data = const_cast<std::remove_const_t<T>*>(data);
  view.dtype = dtype;
  view.shape = Shape{rows, columns};
  view.strides = Strides{columns, 1};
  return view;
}

inline View transposed(View matrix) {
  std::swap(matrix.shape[0], matrix.shape[1]);
  std::swap(matrix.strides[0], matrix.strides[1]);
  return matrix;
}

/// The input pixels that a pointwise convolution sees, as rows: x itself, or a copy where it has a stride.
template <class T>
class SeenPixels {
 public:
  SeenPixels(const ConvGeometry& g, const View& x)
      : rows_(g.images * g.out_height * g.out_width),
        dense_(g.window.stride_h == 1 && g.window.stride_w == 1),
        copy_(dense_ ? 0 : static_cast<size_t>(rows_ * g.channels) * sizeof(T)),
        view_(matrix(dense_ ? x.ptr<T>() : copy_.as<T>(), rows_, g.channels, x.dtype)) {
    if (dense_) return;
    const T* const from = x.ptr<const T>();
    T* const to = copy_.as<T>();
    parallel_ranges(g.images * g.out_height, 8, [&](int64_t begin, int64_t end) {
      for (int64_t line = begin; line < end; ++line) {
        const int64_t n = line / g.out_height, h = line % g.out_height * g.window.stride_h;
        for (int64_t w = 0; w < g.out_width; ++w)
          std::copy_n(from + ((n * g.height + h) * g.width + w * g.window.stride_w) * g.channels, g.channels,
                      to + (line * g.out_width + w) * g.channels);
      }
    });
  }
  const View& view() const { return view_; }

 private:
  int64_t rows_;
  bool dense_;
  Scratch copy_;
  View view_;
};

}  // namespace tacit::cpu
