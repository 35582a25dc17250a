// Convolutions of the CPU backend against plain loops in f64.
#include <doctest/doctest.h>

#include <cmath>

#include "backends/cpu/cache.h"
#include "backends/cpu/winograd.h"
#include "cpu_conv.h"
#include "tensor/ops.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

template <class T>
void check_conv(const Conv& conv) {
  const ConvResult<double> expected = plain_conv<T>(conv);
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
  CHECK(error(got.y, expected.y, taps * static_cast<double>(conv.c / conv.groups)) < kTolerance);
  CHECK(error(got.dx, expected.dx, taps * static_cast<double>(conv.k / conv.groups)) < kTolerance);
  CHECK(error(got.dw, expected.dw, static_cast<double>(conv.n * conv.out_h() * conv.out_w())) < kTolerance);
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
  // Few channels and whole vectors of filters, whatever a vector has: rows of several tiles, bands that end in one.
  for (const int64_t channels : {1, 2, 3, 4})
    for (const int64_t stride : {1, 2, 3, 5}) cases.push_back({3, 19, 31, channels, 48, 3, 3, stride, stride, 1, 1});
  cases.push_back({2, 23, 30, 3, 64, 7, 7, 2, 2, 3, 3});   // ImageNet's stem
  cases.push_back({2, 9, 17, 3, 16, 2, 5, 1, 2, 0, 4});    // even kernel, much padding
  cases.push_back({1, 40, 300, 1, 32, 3, 3, 1, 1, 1, 1});  // one image: bands are the tasks
  cases.push_back({2, 6, 5, 3, 320, 3, 3, 1, 1, 2, 2});    // more filters than one step of depth
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

namespace {

ConvAlgorithm chosen(const Conv& conv) {
  cpu::ConvGeometry g{};
  g.images = conv.n, g.height = conv.h, g.width = conv.w, g.channels = conv.c, g.filters = conv.k;
  g.out_height = conv.out_h(), g.out_width = conv.out_w();
  g.groups = conv.groups, g.group_channels = conv.c / conv.groups, g.group_filters = conv.k / conv.groups;
  g.window = conv.window();
  return cpu::choose_algorithm(g);
}

}  // namespace

TEST_CASE("Winograd's convolutions: odd maps, channels and padding; exact where they promise it") {
  // The largest error allowed, of the largest value: what docs/performance.md promises.
  struct Way {
    ConvAlgorithm algorithm;
    double bound;
  };
  const auto check = [](Conv conv) {
    const ConvResult<double> expected = plain_conv<float>(conv);
    CAPTURE(conv.x());
    CAPTURE(conv.weights());
    CAPTURE(conv.padding_h);
    CAPTURE(conv.padding_w);
    const auto worst = [](const std::vector<float>& a, const std::vector<double>& b) {
      double largest = 0, difference = 0;
      for (size_t i = 0; i < a.size(); ++i) {
        largest = std::max(largest, std::abs(b[i]));
        const double d = std::abs(static_cast<double>(a[i]) - b[i]);
        if (!(d <= difference) && !std::isnan(difference)) difference = d;  // a NaN stays
      }
      return largest > 0 ? difference / largest : difference;
    };
    for (const Way& way : {Way{ConvAlgorithm::F4, 1e-4}, {ConvAlgorithm::F2, 1e-5}, {ConvAlgorithm::Direct, 1e-5}}) {
      CAPTURE(static_cast<int>(way.algorithm));
      conv.algorithm = way.algorithm;
      const ConvResult<float> got = run_conv<float>(conv);
      CHECK(worst(got.y, expected.y) <= way.bound);
      CHECK(worst(got.dx, expected.dx) <= way.bound);
      CHECK(worst(got.dw, expected.dw) <= way.bound);
    }
  };
  const std::vector<Conv> cases = {{1, 7, 7, 20, 33, 3, 3, 1, 1, 1, 1}, {2, 5, 9, 16, 48, 3, 3, 1, 1, 0, 0},
                                   {3, 9, 9, 70, 18, 3, 3, 1, 1, 2, 2}, {1, 1, 1, 16, 16, 3, 3, 1, 1, 1, 1},
                                   {2, 1, 6, 5, 3, 3, 3, 1, 1, 1, 0},   {2, 13, 12, 40, 50, 3, 3, 1, 1, 1, 2},
                                   {9, 8, 8, 48, 32, 3, 3, 1, 1, 1, 1}, {40, 6, 6, 33, 31, 3, 3, 1, 1, 1, 1},
                                   {2, 3, 3, 1, 1, 3, 3, 1, 1, 0, 0},   {3, 4, 4, 130, 150, 3, 3, 1, 1, 1, 1},
                                   {40, 80, 80, 3, 2, 3, 3, 1, 1, 1, 1}};  // 64,000 tiles of F2, summed for dw
  for (const Conv& conv : cases) check(conv);
}

TEST_CASE("a convolution and its moments are the same bits whatever the cache holds") {
  const Tensor x = Tensor::normal({5, 30, 30, 64}, 5, 1), weights = Tensor::normal({40, 3, 3, 64}, 6, 1);
  for (const ConvAlgorithm algorithm : {ConvAlgorithm::F4, ConvAlgorithm::F2}) {
    std::vector<std::vector<float>> seen;
    for (const int64_t bytes : {1 << 10, 1 << 18, 1 << 30}) {
      cpu::pretend_second_level_cache(bytes);
      Moments got;
      seen.push_back(conv2d(x, weights, {.padding = 1, .algorithm = algorithm}, &got).to_vector<float>());
      for (const Tensor& t : {got.mean, got.var})
        for (const float v : t.to_vector<float>()) seen.back().push_back(v);
    }
    cpu::pretend_second_level_cache(0);
    CHECK(seen[0] == seen[1]);
    CHECK(seen[0] == seen[2]);
  }
}

TEST_CASE("how a convolution is computed follows from its kernel, channels and map, not from the batch") {
  CHECK(chosen({64, 32, 32, 64, 64, 3, 3, 1, 1, 1, 1}) == ConvAlgorithm::F4);
  CHECK(chosen({1, 32, 32, 64, 64, 3, 3, 1, 1, 1, 1}) == ConvAlgorithm::F4);
  CHECK(chosen({64, 2, 2, 64, 64, 3, 3, 1, 1, 1, 1}) == ConvAlgorithm::F2);
  CHECK(chosen({64, 1, 1, 64, 64, 3, 3, 1, 1, 1, 1}) == ConvAlgorithm::Direct);
  CHECK(chosen({64, 32, 32, 3, 64, 3, 3, 1, 1, 1, 1}) == ConvAlgorithm::Direct);
  CHECK(chosen({64, 32, 32, 64, 64, 3, 3, 2, 2, 1, 1}) == ConvAlgorithm::Direct);
  CHECK(chosen({64, 32, 32, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 2}) == ConvAlgorithm::Direct);
  // What is asked for and cannot be done is Direct too.
  Conv stride{64, 32, 32, 64, 64, 3, 3, 2, 2, 1, 1};
  stride.algorithm = ConvAlgorithm::F4;
  CHECK(chosen(stride) == ConvAlgorithm::Direct);
  CHECK(cpu::conv_algorithm_named(nullptr) == ConvAlgorithm::Auto);
  CHECK(cpu::conv_algorithm_named("f2") == ConvAlgorithm::F2);
  CHECK_THROWS_WITH_AS(cpu::conv_algorithm_named("F4"),
                       "[cpu] TACIT_CONV=F4 is not one of f4, f2, direct; unset it to choose by size", Error);
}
