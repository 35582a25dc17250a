// A convolution and its two gradients as matrix products whose operands are never written down: each is a function that
// reads element (outer, inner) from the image, the gradient or the weights.
// The rule: plain functions of indices (TACIT_HD), so that the CPU's tests can run them. T is the type in memory; what
// load() gives is computed in.
#pragma once

#include "tensor/backend.h"
#include "tensor/dtype.h"
#include "tensor/hd.h"

namespace tacit::cuda {

/// Sizes of a convolution: x (N,H,W,C), w (K,R,S,C/groups), y (N,P,Q,K).
struct ConvSizes {
  int N, H, W, C, K, R, S, P, Q, groups;
  int stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;

  ConvSizes(const Shape& x, const Shape& w, const Shape& y, const Window& window)
      : N(to_int(x[0])),
        H(to_int(x[1])),
        W(to_int(x[2])),
        C(to_int(x[3])),
        K(to_int(y[3])),
        R(to_int(w[1])),
        S(to_int(w[2])),
        P(to_int(y[1])),
        Q(to_int(y[2])),
        groups(to_int(x[3] / w[3])),
        stride_h(to_int(window.stride_h)),
        stride_w(to_int(window.stride_w)),
        padding_h(to_int(window.padding_h)),
        padding_w(to_int(window.padding_w)),
        dilation_h(to_int(window.dilation_h)),
        dilation_w(to_int(window.dilation_w)) {}

  TACIT_HD int group_in() const { return C / groups; }
  TACIT_HD int group_out() const { return K / groups; }

  static int to_int(int64_t value) {
    TACIT_CHECK(value >= 0 && value <= 0x7fffffff, "[conv2d] a size of ", value, " is too large for this device");
    return static_cast<int>(value);
  }
};

/// A place in an image: of the batch's image n, row and column.
struct Place {
  int n, row, column;
};
/// A tap of the kernel and a channel of the group.
struct Tap {
  int r, s, c;
};

TACIT_HD inline Tap tap_of(int i, int channels, int s_size) {
  const int rs = i / channels;
  return {rs / s_size, rs % s_size, i % channels};
}

/// x under the windows: outer = (n, i, j) of y, inner = (r, s, c).
template <class T>
struct WindowsOfX {
  using Outer = Place;
  using Inner = Tap;
  static constexpr bool outer_fastest = false;  // neighbours in memory: c
  const T* x;
  ConvSizes z;
  int group;
  TACIT_HD Place outer(int64_t m) const {
    const auto pixel = static_cast<int>(m % (int64_t{z.P} * z.Q));
    return {static_cast<int>(m / (int64_t{z.P} * z.Q)), pixel / z.Q * z.stride_h - z.padding_h,
            pixel % z.Q * z.stride_w - z.padding_w};
  }
  TACIT_HD Tap inner(int64_t k) const { return tap_of(static_cast<int>(k), z.group_in(), z.S); }
  TACIT_HD ArithmeticOf<T> load(const Place& p, const Tap& t) const {
    const int row = p.row + t.r * z.dilation_h, column = p.column + t.s * z.dilation_w;
    if (row < 0 || row >= z.H || column < 0 || column >= z.W) return 0;
    return convert<ArithmeticOf<T>>(x[((int64_t{p.n} * z.H + row) * z.W + column) * z.C + group * z.group_in() + t.c]);
  }
};

/// The same, read the other way round: outer = (r, s, c), inner = (n, i, j).
template <class T>
struct XUnderTaps {
  using Outer = Tap;
  using Inner = Place;
  static constexpr bool outer_fastest = true;
  WindowsOfX<T> windows;
  TACIT_HD Tap outer(int64_t n) const { return windows.inner(n); }
  TACIT_HD Place inner(int64_t k) const { return windows.outer(k); }
  TACIT_HD ArithmeticOf<T> load(const Tap& t, const Place& p) const { return windows.load(p, t); }
};

/// dy over the windows that cover a pixel of x: outer = (n, h, w), inner = (r, s, k).
template <class T>
struct CoversOfDy {
  using Outer = Place;
  using Inner = Tap;
  static constexpr bool outer_fastest = false;
  const T* dy;
  ConvSizes z;
  int group;
  TACIT_HD Place outer(int64_t m) const {
    const auto pixel = static_cast<int>(m % (int64_t{z.H} * z.W));
    return {static_cast<int>(m / (int64_t{z.H} * z.W)), pixel / z.W + z.padding_h, pixel % z.W + z.padding_w};
  }
  TACIT_HD Tap inner(int64_t k) const { return tap_of(static_cast<int>(k), z.group_out(), z.S); }
  TACIT_HD ArithmeticOf<T> load(const Place& p, const Tap& t) const {
    const int row = p.row - t.r * z.dilation_h, column = p.column - t.s * z.dilation_w;
    if (row < 0 || column < 0 || row % z.stride_h != 0 || column % z.stride_w != 0) return 0;
    const int i = row / z.stride_h, j = column / z.stride_w;
    if (i >= z.P || j >= z.Q) return 0;
    return convert<ArithmeticOf<T>>(dy[((int64_t{p.n} * z.P + i) * z.Q + j) * z.K + group * z.group_out() + t.c]);
  }
};

/// w by its output channels: outer = k, inner = (r, s, c), which lie one after another.
template <class T>
struct WeightRows {
  using Outer = int64_t;
  using Inner = int64_t;
  static constexpr bool outer_fastest = false;
  const T* w;
  ConvSizes z;
  int group;
  TACIT_HD int64_t outer(int64_t k) const { return (int64_t{group} * z.group_out() + k) * z.R * z.S * z.group_in(); }
  TACIT_HD int64_t inner(int64_t i) const { return i; }
  TACIT_HD ArithmeticOf<T> load(int64_t outer, int64_t inner) const {
    return convert<ArithmeticOf<T>>(w[outer + inner]);
  }
};

/// w by its input channels: outer = c, inner = (r, s, k).
template <class T>
struct WeightColumns {
  using Outer = int64_t;
  using Inner = int64_t;
  static constexpr bool outer_fastest = true;
  const T* w;
  ConvSizes z;
  int group;
  TACIT_HD int64_t outer(int64_t c) const { return c; }
  TACIT_HD int64_t inner(int64_t i) const {
    const Tap t = tap_of(static_cast<int>(i), z.group_out(), z.S);
    return (((int64_t{group} * z.group_out() + t.c) * z.R + t.r) * z.S + t.s) * z.group_in();
  }
  TACIT_HD ArithmeticOf<T> load(int64_t outer, int64_t inner) const {
    return convert<ArithmeticOf<T>>(w[outer + inner]);
  }
};

/// dy by its channels: outer = k, inner = (n, i, j).
template <class T>
struct DyByChannel {
  using Outer = int64_t;
  using Inner = int64_t;
  static constexpr bool outer_fastest = true;
  const T* dy;
  ConvSizes z;
  int group;
  TACIT_HD int64_t outer(int64_t k) const { return int64_t{group} * z.group_out() + k; }
  TACIT_HD int64_t inner(int64_t pixel) const { return pixel * z.K; }
  TACIT_HD ArithmeticOf<T> load(int64_t outer, int64_t inner) const {
    return convert<ArithmeticOf<T>>(dy[outer + inner]);
  }
};

}  // namespace tacit::cuda
