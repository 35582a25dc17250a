// LARS: both published orders by hand under a changing learning rate, what has no trust ratio, norms of 0, and the
// kernels of every backend against the reference's.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/linear.h"
#include "optim/lars.h"
#include "optim/sgd.h"
#include "tests/toy_backend.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::optim;
using namespace tacit::testing;

namespace {

/// weight {3, -4} and bias {0.5} in f64, with gradients {g, 2 g} and {g}.
struct Toy {
  Toy() : layer(2, 1) {
    layer.to(f64);
    layer.weight.variable().assign_(tensor_of({3, -4}, {1, 2}, f64));
    layer.bias.variable().assign_(tensor_of({0.5}, {1}, f64));
  }
  void backward(double g) {
    layer.zero_grad();
    (sum(layer.weight.variable() * tensor_of({g, 2 * g}, {1, 2}, f64)) + sum(layer.bias.variable() * g)).backward();
  }
  nn::Linear layer;
};

}  // namespace

TEST_CASE("LARS: three steps by hand, the learning rate outside or inside the buffer") {
  std::vector<double> ends;
  for (const bool inside : {false, true}) {
    Toy toy;
    LARS lars(toy.layer, {.momentum = 0.9, .weight_decay = 0.1, .eta = 0.02, .lr_in_buffer = inside});
    double w[2] = {3, -4}, m[2] = {0, 0}, b = 0.5, mb = 0;
    for (int step = 0; step < 3; ++step) {
      const double lr = 0.5 * (step + 1), g = 1 - 0.3 * step;
      toy.backward(g);
      lars.set_lr(lr);
      lars.step();
      const double d[2] = {g + 0.1 * w[0], 2 * g + 0.1 * w[1]};
      const double q = 0.02 * std::hypot(w[0], w[1]) / std::hypot(d[0], d[1]);
      for (int i = 0; i < 2; ++i) {
        m[i] = 0.9 * m[i] + (inside ? lr : 1) * q * d[i];
        w[i] -= inside ? m[i] : lr * m[i];
      }
      mb = 0.9 * mb + (inside ? lr : 1) * g;  // the bias: no weight decay, no ratio
      b -= inside ? mb : lr * mb;
      check_values(toy.layer.weight.value(), {w[0], w[1]}, 1e-14);
      check_values(toy.layer.bias.value(), {b}, 1e-14);
    }
    ends.push_back(w[0]);
  }
  CHECK(std::abs(ends[0] - ends[1]) > 1e-3);  // a changing rate tells the two apart
}

TEST_CASE("LARS: biases and norm weights move exactly as under plain SGD") {
  Toy a, b;
  LARS lars(a.layer, {.lr = 0.3, .momentum = 0.9, .weight_decay = 0.1});
  SGD sgd(b.layer, {.lr = 0.3, .momentum = 0.9, .weight_decay = 0.1});
  for (int step = 0; step < 3; ++step) {
    for (Toy* toy : {&a, &b}) toy->backward(1 + step);
    lars.step();
    sgd.step();
  }
  CHECK(a.layer.bias.value().item() == b.layer.bias.value().item());
  CHECK(values_of(a.layer.weight.value()) != values_of(b.layer.weight.value()));
  CHECK(lars.groups()[0].adapt);
  CHECK_FALSE(lars.groups()[1].adapt);
}

TEST_CASE("LARS: where a norm is 0 the ratio is 1") {
  Toy toy;
  LARS lars(toy.layer, {.lr = 0.5, .momentum = 0});
  toy.backward(0);
  lars.step();
  check_values(toy.layer.weight.value(), {3, -4}, 0);
  toy.layer.weight.variable().assign_(Tensor::zeros({1, 2}, f64));
  toy.backward(1);
  lars.step();
  check_values(toy.layer.weight.value(), {-0.5, -1}, 1e-15);
}

TEST_CASE("LARS: options out of range are refused; the buffers are its state") {
  Toy toy;
  CHECK(mentions(error_of([&] { LARS(toy.layer, {.momentum = 1}); }), "momentum 1"));
  CHECK(mentions(error_of([&] { LARS(toy.layer, {.eta = 0}); }), "eta 0"));
  LARS lars(toy.layer, {});
  toy.backward(1);
  lars.step();
  const nn::StateDict state = lars.state();
  CHECK(state.size() == 3);
  CHECK(state.count("momentum_buffer.weight") == 1);
}

TEST_CASE("LARS: every backend makes the reference's steps") {
  add_toy_backend();
  const auto steps = [](const Device& device, DType dtype, bool adapt, bool inside) {
    const auto many = [&](uint64_t stream) {
      std::vector<Tensor> ts;
      for (const int64_t n : {1, 5, 33, 1024, 40001})  // the last one is cut into pieces
        ts.push_back(Tensor::normal({n}, 3, stream * 16 + static_cast<uint64_t>(n), f64, Device("reference"))
                         .to(dtype)
                         .to(device));
      return ts;
    };
    const auto views = [](const std::vector<Tensor>& ts) {
      std::vector<View> vs;
      for (const Tensor& t : ts) vs.push_back(t.view());
      return vs;
    };
    const std::vector<Tensor> params = many(1), buffers = many(2);
    for (int step = 1; step <= 3; ++step) {
      const std::vector<Tensor> grads = many(10 + static_cast<uint64_t>(step));
      const Tensor hyper = Tensor::from(std::vector<double>{2.0 / step}, {1}, device);
      const auto p = views(params), g = views(grads), m = views(buffers);
      device.backend().update(LarsArgs{p, g, m, hyper.view(), 0.9, 1e-2, 0.05, adapt, inside});
    }
    std::vector<Tensor> all;
    for (const auto* ts : {&params, &buffers})
      for (const Tensor& t : *ts) all.push_back(t.to(Device("reference")));
    return concatenate(all, 0);
  };
  for (const DType dtype : {f32, f64})
    for (const bool adapt : {true, false})
      for (const bool inside : {true, false}) {
        CAPTURE(dtype);
        CAPTURE(adapt);
        CAPTURE(inside);
        const Tensor expected = steps(Device("reference"), dtype, adapt, inside);
        CHECK(max_abs_difference(steps(default_device(), dtype, adapt, inside), expected) <
              (dtype == f32 ? 1e-5 : 1e-13));
        CHECK(max_abs_difference(steps(Device("toy"), dtype, adapt, inside), expected) == 0);
      }
  CHECK(default_device().backend().fallbacks() == 0);
}
