// A convolution that sums up the moments of what it writes, on the default device (see main.cpp).
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tensor/ops.h"
#include "tensor/precision.h"

using namespace tacit;

namespace {

struct Sizes {
  int64_t n, h, w, c, k, padding, groups = 1;
};

// Moments that the convolution gives are those of its y in f64, and y is what it is without them.
void check_moments(const Sizes& s, ConvAlgorithm algorithm, double offset, DType dtype = f32) {
  CAPTURE(s.h);
  CAPTURE(s.w);
  CAPTURE(s.groups);
  CAPTURE(static_cast<int>(algorithm));
  CAPTURE(offset);
  const Tensor x = (Tensor::normal({s.n, s.h, s.w, s.c}, 5, 1) + offset).to(dtype),
               weights = (Tensor::normal({s.k, 3, 3, s.c / s.groups}, 6, 1) + 0.5).to(dtype);
  const Conv2dOptions options{.padding = s.padding, .groups = s.groups, .algorithm = algorithm};
  Moments got;
  const Tensor y = conv2d(x, weights, options, &got);
  CHECK(y.to(f32).to_vector<float>() == conv2d(x, weights, options).to(f32).to_vector<float>());
  const Moments expected = moments(y.to(f64));
  const std::vector<double> mean = expected.mean.to_vector<double>(), var = expected.var.to_vector<double>();
  const std::vector<float> got_mean = got.mean.to_vector<float>(), got_var = got.var.to_vector<float>();
  double off_mean = 0, off_var = 0;
  for (size_t i = 0; i < mean.size(); ++i) {
    const double spread = std::sqrt(var[i]) + std::abs(mean[i]);
    off_mean = std::max(off_mean, std::abs(static_cast<double>(got_mean[i]) - mean[i]) / spread);
    // What a sum of squares around a mean can promise whose last digit is a float's; without the centre it would
    // be 3e-7 mean^2.
    const double allowed = 5e-6 * var[i] + 3e-7 * std::abs(mean[i]) * std::sqrt(var[i]);
    off_var = std::max(off_var, std::abs(static_cast<double>(got_var[i]) - var[i]) / allowed);
  }
  CHECK(off_mean < 5e-7);
  CHECK(off_var < 1);
}

}  // namespace

TEST_CASE("moments that come with a convolution are those of its result") {
  std::vector<ConvAlgorithm> ways = {ConvAlgorithm::Auto};
  if (default_device() == Device("cpu")) ways = {ConvAlgorithm::F4, ConvAlgorithm::F2, ConvAlgorithm::Direct};
  for (const double offset : {0., 1000.}) {
    for (const Sizes& s : std::vector<Sizes>{{1, 7, 7, 20, 33, 1},
                                             {3, 5, 9, 16, 48, 0},
                                             {2, 1, 1, 16, 5, 1},
                                             {1, 6, 6, 16, 16, 2},
                                             {9, 33, 30, 17, 130, 1},
                                             {40, 8, 8, 3, 64, 0}})
      for (const ConvAlgorithm way : ways) check_moments(s, way, offset);
    check_moments({3, 9, 8, 6, 140, 1, 2}, ConvAlgorithm::Auto, offset);
    const PrecisionScope tensor_cores(Precision::TF32);
    check_moments({5, 9, 7, 20, 70, 1}, ConvAlgorithm::Auto, offset);
    check_moments({1, 2, 2, 3, 5, 1}, ConvAlgorithm::Auto, offset);
  }
}

TEST_CASE("moments that come with a convolution in bf16 are those of its result, in f32") {
  if (!default_device().backend().computes_bf16()) return;
  for (const double offset : {0., 1000.}) {
    check_moments({3, 9, 8, 6, 140, 1, 2}, ConvAlgorithm::Auto, offset, bf16);
    check_moments({5, 9, 7, 20, 70, 1}, ConvAlgorithm::Auto, offset, bf16);
    check_moments({1, 2, 2, 3, 5, 1}, ConvAlgorithm::Auto, offset, bf16);
  }
}

TEST_CASE("moments that come with a convolution in f64 are those of its result") {
  const Tensor x = Tensor::normal({4, 7, 6, 5}, 5, 1, f64) + 1000., w = Tensor::normal({9, 3, 3, 5}, 6, 1, f64);
  Moments got;
  const Moments expected = moments(conv2d(x, w, {}, &got));
  CHECK(max_abs_difference(got.mean, expected.mean) < 1e-11);
  CHECK(max_abs_difference(got.var, expected.var) < 1e-9);
}
