// Convolutions of the CPU backend against plain loops in f64.
#include <doctest/doctest.h>

#include "cpu_conv.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

template <class T>
void check_conv(const Conv& conv) {
  const auto x = numbers<T>(conv.x().numel(), 1), w = numbers<T>(conv.weights().numel(), 2),
             dy = numbers<T>(conv.y().numel(), 3);
  std::vector<double> y(dy.size()), dx(x.size()), dw(w.size());
  conv.each([&](int64_t i, int64_t j, int64_t o) {
    y[o] += static_cast<double>(x[i]) * static_cast<double>(w[j]);
    dx[i] += static_cast<double>(dy[o]) * static_cast<double>(w[j]);
    dw[j] += static_cast<double>(x[i]) * static_cast<double>(dy[o]);
  });
  const ConvResult<T> got = run_conv<T>(conv);
  CAPTURE(conv.x());
  CAPTURE(conv.weights());
  CAPTURE(conv.y());
  CAPTURE(conv.stride_h);
  CAPTURE(conv.padding_h);
  CAPTURE(conv.dilation_h);
  CAPTURE(conv.groups);
  CAPTURE(sizeof(T));
  const double taps = static_cast<double>(conv.kh * conv.kw);
  CHECK(error(got.y, y, taps * static_cast<double>(conv.c / conv.groups)) < kTolerance);
  CHECK(error(got.dx, dx, taps * static_cast<double>(conv.k / conv.groups)) < kTolerance);
  CHECK(error(got.dw, dw, static_cast<double>(conv.n * conv.out_h() * conv.out_w())) < kTolerance);
}

std::vector<Conv> conv_cases() {
  std::vector<Conv> cases = {
      {3, 9, 7, 5, 11, 3, 3},                         // odd sizes, no padding
      {2, 8, 8, 16, 32, 1, 1},                        // pointwise
      {1, 1, 1, 3, 2, 3, 3, 1, 1, 1, 1},              // one pixel: only the middle tap counts
      {2, 2, 2, 4, 6, 5, 5, 1, 1, 2, 2},              // kernel larger than the image
      {2, 3, 40, 8, 7, 2, 9, 1, 1, 0, 4},             // even kernel, wide image
      {1, 2, 300, 4, 5, 1, 3, 1, 1, 0, 1},            // a row longer than one block
      {4, 6, 6, 48, 20, 3, 3, 1, 1, 1, 1},            // panels that span two taps
      {6, 10, 10, 64, 40, 3, 3, 2, 2, 1, 1},          // whole panels
      {2, 12, 9, 6, 6, 3, 5, 2, 1, 1, 2, 1, 1, 1},    // different in the two directions
      {2, 16, 16, 4, 8, 3, 3, 2, 2, 2, 2, 2, 2},      // stride and dilation with a common factor
      {2, 17, 15, 4, 8, 3, 3, 3, 2, 2, 3, 2, 3},      // and without one
      {2, 11, 11, 8, 8, 3, 3, 4, 4, 1, 1},            // pixels that no output sees
      {3, 8, 8, 12, 18, 3, 3, 1, 1, 1, 1, 1, 1, 3},   // groups
      {3, 8, 8, 64, 64, 3, 3, 2, 2, 1, 1, 1, 1, 2},   // wide groups
      {3, 9, 9, 70, 70, 3, 3, 1, 1, 1, 1, 1, 1, 70},  // depthwise
      {3, 9, 10, 5, 5, 3, 3, 2, 2, 1, 1, 2, 2, 5},    // depthwise, stride and dilation
      {3, 9, 9, 5, 10, 3, 3, 1, 1, 1, 1, 1, 1, 5},    // depthwise with two filters a channel
      {40, 14, 14, 2, 3, 3, 3, 2, 2, 1, 1},           // enough pixels for several pieces of dw
  };
  for (const int64_t channels : {1, 3})
    for (const int64_t stride : {1, 2, 3})
      for (const int64_t padding : {0, 1, 2})
        cases.push_back({3, 10, 11, channels, 8, 3, 3, stride, stride, padding, padding});
  return cases;
}

}  // namespace

TEST_CASE("conv2d, its dx and its dw") {
  for (const Conv& conv : conv_cases()) {
    check_conv<float>(conv);
    check_conv<double>(conv);
  }
}

TEST_CASE("conv2d_dx of a stride above the kernel is 0 where no output looks") {
  const Conv conv{1, 4, 4, 2, 3, 1, 1, 2, 2};
  const auto dx = run_conv<float>(conv).dx;
  for (int64_t h = 0; h < 4; ++h)
    for (int64_t w = 0; w < 4; ++w) CHECK((dx[(h * 4 + w) * 2] == 0) == (h % 2 == 1 || w % 2 == 1));
}
