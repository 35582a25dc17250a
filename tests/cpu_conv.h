// A convolution to test the CPU backend with.
#pragma once

#include "cpu_kernels.h"

namespace tacit::testing {

struct Conv {
  int64_t n, h, w, c, k, kh, kw;
  int64_t stride_h = 1, stride_w = 1, padding_h = 0, padding_w = 0, dilation_h = 1, dilation_w = 1, groups = 1;
  ConvAlgorithm algorithm = ConvAlgorithm::Auto;

  Window window() const {
    return {.kernel_h = kh,
            .kernel_w = kw,
            .stride_h = stride_h,
            .stride_w = stride_w,
            .padding_h = padding_h,
            .padding_w = padding_w,
            .dilation_h = dilation_h,
            .dilation_w = dilation_w,
            .algorithm = algorithm};
  }
  int64_t out_h() const { return (h + 2 * padding_h - dilation_h * (kh - 1) - 1) / stride_h + 1; }
  int64_t out_w() const { return (w + 2 * padding_w - dilation_w * (kw - 1) - 1) / stride_w + 1; }
  Shape x() const { return {n, h, w, c}; }
  Shape y() const { return {n, out_h(), out_w(), k}; }
  Shape weights() const { return {k, kh, kw, c / groups}; }

  /// Calls f(x index, w index, y index) for every product of the convolution.
  template <class F>
  void each(F f) const {
    const int64_t cg = c / groups, kg = k / groups;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t oh = 0; oh < out_h(); ++oh)
        for (int64_t ow = 0; ow < out_w(); ++ow)
          for (int64_t r = 0; r < kh; ++r)
            for (int64_t s = 0; s < kw; ++s) {
              const int64_t ih = oh * stride_h - padding_h + r * dilation_h,
                            iw = ow * stride_w - padding_w + s * dilation_w;
              if (ih < 0 || ih >= h || iw < 0 || iw >= w) continue;
              for (int64_t o = 0; o < k; ++o)
                for (int64_t j = 0; j < cg; ++j)
                  f(((i * h + ih) * w + iw) * c + o / kg * cg + j, ((o * kh + r) * kw + s) * cg + j,
                    ((i * out_h() + oh) * out_w() + ow) * k + o);
            }
  }
};

template <class T>
struct ConvResult {
  std::vector<T> y, dx, dw;
};

template <class T>
ConvResult<T> run_conv(const Conv& conv) {
  auto x = numbers<T>(conv.x().numel(), 1), w = numbers<T>(conv.weights().numel(), 2),
       dy = numbers<T>(conv.y().numel(), 3);
  const T junk = std::numeric_limits<T>::quiet_NaN();  // every element must be written
  ConvResult<T> r{std::vector<T>(dy.size(), junk), std::vector<T>(x.size(), junk), std::vector<T>(w.size(), junk)};
  backend().conv2d(view(r.y, conv.y()), view(x, conv.x()), view(w, conv.weights()), conv.window());
  backend().conv2d_dx(view(r.dx, conv.x()), view(dy, conv.y()), view(w, conv.weights()), conv.window());
  backend().conv2d_dw(view(r.dw, conv.weights()), view(x, conv.x()), view(dy, conv.y()), conv.window());
  return r;
}

/// The same by plain loops, in f64.
template <class T>
ConvResult<double> plain_conv(const Conv& conv) {
  const auto x = numbers<T>(conv.x().numel(), 1), w = numbers<T>(conv.weights().numel(), 2),
             dy = numbers<T>(conv.y().numel(), 3);
  ConvResult<double> r{std::vector<double>(dy.size()), std::vector<double>(x.size()), std::vector<double>(w.size())};
  conv.each([&](int64_t i, int64_t j, int64_t o) {
    r.y[o] += static_cast<double>(x[i]) * static_cast<double>(w[j]);
    r.dx[i] += static_cast<double>(dy[o]) * static_cast<double>(w[j]);
    r.dw[j] += static_cast<double>(x[i]) * static_cast<double>(dy[o]);
  });
  return r;
}

}  // namespace tacit::testing
