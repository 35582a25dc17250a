// Which positions of an image a pooling window covers, and which windows cover a position.
// The rule: plain functions of indices (TACIT_HD), so that the CPU's tests can run them.
#pragma once

#include "tensor/backend.h"
#include "tensor/hd.h"

namespace tacit::cuda {

/// One axis of a pooling: which positions of the input, of `size`, window i of n covers.
struct Axis {
  int64_t size, n, kernel, stride, padding, dilation;
  bool adaptive;

  TACIT_HD int64_t begin(int64_t i) const { return adaptive ? i * size / n : i * stride - padding; }
  TACIT_HD int64_t terms(int64_t i) const { return adaptive ? ((i + 1) * size + n - 1) / n - begin(i) : kernel; }
  TACIT_HD int64_t position(int64_t i, int64_t term) const { return begin(i) + term * (adaptive ? 1 : dilation); }
  TACIT_HD bool inside(int64_t position) const { return position >= 0 && position < size; }

  /// Of all windows, first_window … last_window are those that can cover a position; with dilation some do not.
  TACIT_HD int64_t first_window(int64_t position) const {
    if (adaptive) return position * n / size;
    const int64_t reach = position + padding - (kernel - 1) * dilation;
    return reach <= 0 ? 0 : (reach + stride - 1) / stride;
  }
  TACIT_HD int64_t last_window(int64_t position) const {
    const int64_t last = adaptive ? ((position + 1) * n - 1) / size : (position + padding) / stride;
    return last < n ? last : n - 1;
  }
  TACIT_HD bool covers(int64_t i, int64_t position) const {
    const int64_t from = position - begin(i);
    if (adaptive) return from >= 0 && from < terms(i);
    return from >= 0 && from % dilation == 0 && from / dilation < kernel;
  }
};

struct Pooling {
  Axis rows, columns;
  int64_t channels;

  Pooling(const Window& w, const Shape& x, const Shape& y)
      : rows{x[1], y[1], w.kernel_h, w.stride_h, w.padding_h, w.dilation_h, w.adaptive},
        columns{x[2], y[2], w.kernel_w, w.stride_w, w.padding_w, w.dilation_w, w.adaptive},
        channels(x[3]) {}

  TACIT_HD int64_t x_offset(int64_t n, int64_t h, int64_t w, int64_t c) const {
    return ((n * rows.size + h) * columns.size + w) * channels + c;
  }
  TACIT_HD int64_t y_offset(int64_t n, int64_t i, int64_t j, int64_t c) const {
    return ((n * rows.n + i) * columns.n + j) * channels + c;
  }
};

}  // namespace tacit::cuda
