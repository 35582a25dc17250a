// NT-Xent and InfoNCE on the default device (see main.cpp) beyond what the op table asks: which candidate is nearest,
// extreme temperatures, NaN, and products of less than f32.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "tensor/precision.h"
#include "tensor/random.h"

using namespace tacit;

namespace {

const Device& reference() {
  static const Device device("reference");
  return device;
}

// Rows of -1, 0 and 1: their products are exact on every device, and many are equal.
Tensor with_ties(const Shape& shape, uint64_t stream) {
  Random random(3, random_stream("ties", stream));
  std::vector<double> values;
  for (int64_t i = 0; i < shape.numel(); ++i) values.push_back(static_cast<double>(random.below(3)) - 1);
  return Tensor::from(values, shape, reference()).to(f32);
}

struct Result {
  double loss, top1;
  Tensor gradient;
};

template <class F>
Result result_of(const Tensor& x, const Device& device, const F& f) {
  const DeviceScope scope(device);
  const Variable leaf = Variable::leaf(x.to(device));
  Tensor top1;
  const Variable loss = f(leaf, &top1);
  loss.backward();
  return {loss.item(), top1.item(), leaf.grad().to(reference())};
}

Variable xent(const Variable& z, Tensor* top1) { return nt_xent(z, 0.5, top1); }

}  // namespace

TEST_CASE("top1: a row is right where its label's logit is the first of the largest, as on the reference") {
  double seen = 0;
  for (const int64_t rows : {4, 10, 62, 64, 66, 130, 258}) {
    CAPTURE(rows);
    const Tensor z = with_ties({rows, 3}, static_cast<uint64_t>(rows));
    const Result got = result_of(z, default_device(), xent), expected = result_of(z, reference(), xent);
    CHECK(got.top1 == doctest::Approx(expected.top1).epsilon(1e-7));
    CHECK(got.loss == doctest::Approx(expected.loss).epsilon(1e-6));
    seen += got.top1;

    const Tensor k = with_ties({rows * 5, 3}, 7), positive = with_ties({rows, 3}, 8);
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < rows; ++i) labels.push_back(i % 3 * i);
    for (const bool queue : {false, true}) {
      const auto info = [&](const Variable& q, Tensor* top1) {
        const Device device = q.value().device();
        return info_nce(q, k.to(device), queue ? positive.to(device) : Tensor(), labels, 0.5, top1);
      };
      const Result a = result_of(z, default_device(), info), b = result_of(z, reference(), info);
      CHECK(a.top1 == doctest::Approx(b.top1).epsilon(1e-7));
      CHECK(a.loss == doctest::Approx(b.loss).epsilon(1e-6));
      CHECK(max_abs_difference(a.gradient, b.gradient) < 1e-6);
      seen += a.top1;
    }
  }
  CHECK(seen > 0.5);  // some were right
}

TEST_CASE("contrastive losses at extreme temperatures are finite, and NaN is not lost") {
  const Tensor z = l2_normalize(Tensor::normal({70, 5}, 3, 4, f32, reference()));
  for (const double temperature : {1e-4, 1e-2, 1e4}) {
    CAPTURE(temperature);
    const auto f = [&](const Variable& x, Tensor* top1) { return nt_xent(x, temperature, top1); };
    const Result got = result_of(z, default_device(), f), expected = result_of(z.to(f64), reference(), f);
    // Logits of up to 1 / temperature have an error of a few ulp of that.
    CHECK(got.loss == doctest::Approx(expected.loss).epsilon(1e-6 + 1e-6 / temperature));
    CHECK(got.top1 == doctest::Approx(expected.top1).epsilon(1e-6));
    CHECK(std::isfinite(max_abs_difference(got.gradient, got.gradient * 0.0)));
  }
  const Tensor bad = z.clone();
  Tensor(bad.slice(0, 66, 67)).fill_(std::numeric_limits<double>::quiet_NaN());
  CHECK(std::isnan(result_of(bad, default_device(), xent).loss));
}

TEST_CASE("contrastive losses: tf32 and bf16 are for the scope that asks for them") {
  const Tensor z = l2_normalize(Tensor::normal({130, 40}, 3, 4, f32, reference()));
  const Result exact = result_of(z, default_device(), xent);
  for (const auto& [allowed, rounding] : {std::pair(Precision::TF32, 0x1p-11), std::pair(Precision::BF16, 0x1p-8)}) {
    const PrecisionScope scope(allowed);
    const Result got = result_of(z, default_device(), xent);
    // Rows have length 1, so that a logit is off by 2 rounding / temperature; the loss has two, its log-sum-exp and the
    // partner's.
    const double logit = 2 * rounding / 0.5;
    CHECK(std::abs(got.loss - exact.loss) <= 2 * logit);
    // A weight p is off by 2 logit p, and rounded as the row is that it multiplies; a row's weights sum up to at most
    // 4 in absolute value, those of the others to it about as much.
    CHECK(max_abs_difference(got.gradient, exact.gradient) <= 8 * (2 * logit + 2 * rounding) / 0.5 / 130);
    const PrecisionScope inner(Precision::F32);
    CHECK(max_abs_difference(result_of(z, default_device(), xent).gradient, exact.gradient) == 0);
  }
}

TEST_CASE("info_nce refuses labels beyond its candidates and tensors of two kinds") {
  const Tensor q = Tensor::ones({2, 3}), k = Tensor::ones({4, 3});
  CHECK_THROWS_WITH_AS(info_nce(q, k, {}, {0, 4}, 1), doctest::Contains("label 4 is out of range for 4"), Error);
  CHECK_THROWS_WITH_AS(info_nce(q, k, q, {-1, 0}, 1), doctest::Contains("label -1"), Error);
  CHECK_THROWS_AS(info_nce(q, k.to(f64), {}, {0, 0}, 1), Error);
  CHECK(info_nce(q, k, q, {0, 4}, 1).item() == doctest::Approx(std::log(5.0)));
}
