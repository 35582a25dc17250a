// SimCLR: the loss against its definition, and that a network learns from it.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "optim/adamw.h"
#include "ssl/methods/simclr.h"

using namespace tacit;
using namespace tacit::ssl;

namespace {

Tensor unit_rows(int64_t rows, int64_t d, DType dtype = f64) {
  return l2_normalize(Tensor::normal({rows, d}, 3, 4).to(dtype));
}

/// Equation 1 of the paper, term by term.
double by_definition(const Tensor& z, double temperature) {
  const int64_t rows = z.size(0), d = z.size(1), n = rows / 2;
  const std::vector<double> v = z.to_vector<double>();
  const auto similarity = [&](int64_t i, int64_t j) {
    double dot = 0;
    for (int64_t k = 0; k < d; ++k) dot += v[static_cast<size_t>(i * d + k)] * v[static_cast<size_t>(j * d + k)];
    return dot / temperature;
  };
  double total = 0;
  for (int64_t i = 0; i < rows; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < rows; ++j)
      if (j != i) sum += std::exp(similarity(i, j));
    total += std::log(sum) - similarity(i, (i + n) % rows);
  }
  return total / static_cast<double>(rows);
}

}  // namespace

TEST_CASE("NT-Xent is the paper's equation") {
  for (const double temperature : {0.1, 0.5, 1.0}) {
    const Tensor z = unit_rows(10, 6);
    CHECK(nt_xent(z, temperature).item() == doctest::Approx(by_definition(z, temperature)).epsilon(1e-12));
  }
  // Large logits: 100 at temperature 0.01, in f32.
  CHECK(std::isfinite(nt_xent(unit_rows(64, 8, f32), 0.01).item()));
}

TEST_CASE("NT-Xent of equal rows is the chance level; of perfect pairs it is small") {
  CHECK(nt_xent(Tensor::ones({8, 1}, f64), 0.5).item() == doctest::Approx(std::log(7.0)));
  std::vector<double> pairs(8 * 4, 0.0);
  for (size_t i = 0; i < 8; ++i) pairs[i * 4 + i % 4] = 1;  // row i and row i + 4 are equal, others orthogonal
  CHECK(nt_xent(Tensor::from(pairs, {8, 4}), 0.1).item() == doctest::Approx(std::log(1 + 6 * std::exp(-10.0))));
}

TEST_CASE("NT-Xent refuses one image, odd rows and temperatures that are not above 0") {
  CHECK_THROWS_WITH_AS(nt_xent(unit_rows(2, 4), 0.5), doctest::Contains("no negative"), Error);
  CHECK_THROWS_AS(nt_xent(unit_rows(5, 4), 0.5), Error);
  CHECK_THROWS_WITH_AS(nt_xent(unit_rows(4, 4), 0), doctest::Contains("temperature"), Error);
}

TEST_CASE("SimCLR learns to tell images apart, and its features stay spread") {
  SimCLR model(nn::make_encoder({.name = "small_cnn", .width = 4}), {.temperature = 0.2, .projector = {0, 16}});
  CHECK(model.chance(16).loss == doctest::Approx(std::log(31.0)));
  optim::AdamW optimizer(model, {.lr = 5e-3});
  const Tensor base = Tensor::normal({16, 16, 16, 3}, 0, 1);
  double first = 0, last = 0;
  for (uint64_t step = 0; step < 40; ++step) {
    const Tensor a = base + Tensor::normal(base.shape(), step, 2) * 0.3,
                 b = base + Tensor::normal(base.shape(), step, 3) * 0.3;
    const Variable loss = model.loss({a, b}, {});
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    last = loss.item();
    if (step == 0) first = last;
  }
  CHECK(last < 0.5 * first);
  const double spread = model.metrics().at("feature_std").item();
  CHECK(spread > 0.3);
  CHECK(spread < 1.1);
}

TEST_CASE("SimCLR's steps ask the system for no memory once they repeat") {
  SimCLR model(nn::make_encoder({.name = "small_cnn", .width = 8, .seed = 1}), {.projector = {16, 8}});
  optim::AdamW optimizer(model, {.lr = 1e-3});
  const CachingAllocator& allocator = default_device().allocator();
  int64_t system = 0;
  for (int64_t step = 0; step < 5; ++step) {
    const std::vector<Tensor> views = {Tensor::normal({16, 24, 24, 3}, 1, static_cast<uint64_t>(2 * step)),
                                       Tensor::normal({16, 24, 24, 3}, 1, static_cast<uint64_t>(2 * step + 1))};
    const Variable loss = model.loss(views, {step, 5});
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    if (step == 1) system = allocator.statistics().system_allocations;
  }
  CHECK(allocator.statistics().system_allocations == system);
}
