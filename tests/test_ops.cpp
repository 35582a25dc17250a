// The differentiable ops: values against numbers from PyTorch 2 in f64, gradients at ties and at the edges of domains,
// what batch norm and dropout remember, empty batches, and bad input. Gradients elsewhere: test_gradients.cpp.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "autograd/ops.h"

using namespace tacit;

namespace {

using Values = std::vector<double>;

Tensor tensor(const Values& values, const Shape& shape) { return Tensor::from(values, shape); }
Variable leaf(const Values& values) { return Variable::leaf(tensor(values, {static_cast<int64_t>(values.size())})); }
Values grad_of(const Variable& v) { return v.grad().to_vector<double>(); }

double error_against(const Variable& got, const Values& expected) {
  return max_abs_difference(got.value().flatten(), tensor(expected, {static_cast<int64_t>(expected.size())}));
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("cross-entropy's gradient does not lose the label's part beside large logits") {
  for (const Device& device : {default_device(), Device("reference")})
    for (const double s : {0.0, 100.0, 1e4}) {
      const Tensor logits = Tensor::from(std::vector<float>{float(s), float(s - 10), float(s - 12)}, {1, 3}, device);
      const Variable x = Variable::leaf(logits);
      cross_entropy(x, Tensor::zeros({1}, i64, device)).backward();
      const auto dx = x.grad().to_vector<float>();
      CHECK(dx[0] == doctest::Approx(-5.1541e-5).epsilon(1e-3));  // torch, f64
      CHECK(std::abs(dx[0] + dx[1] + dx[2]) < 1e-7);
    }
}

TEST_CASE("reductions, norms, softmax and losses have PyTorch's values") {
  const Tensor x = tensor({1, -2, 3, 0.5, 4, -1}, {2, 3});
  const Tensor gamma = tensor({1, 2, 0.5}, {3}), beta = tensor({0, 1, -1}, {3});
  CHECK(error_against(var(x, {1}), {4.22222222222222, 4.38888888888889}) < 1e-13);
  CHECK(error_against(layer_norm(x, gamma, beta, 0.5), {0.153392997769474, -1.45428796431159, -0.463124507806841,
                                                        -0.301511344577764, 3.56284642891099, -1.48995593493887}) <
        1e-13);
  CHECK(error_against(l2_normalize(x), {0.267261241912424, -0.534522483824849, 0.801783725737273, 0.120385853085769,
                                        0.963086824686154, -0.240771706171538}) < 1e-13);
  CHECK(error_against(softmax(x), {0.11849965453501, 0.00589975040190278, 0.875600595063088, 0.0291217615374784,
                                   0.96438029514686, 0.00649794331566194}) < 1e-13);
  CHECK(error_against(log_softmax(x), {-2.13284523372758, -5.13284523372758, -0.132845233727576, -3.53626956512478,
                                       -0.0362695651247791, -5.03626956512478}) < 1e-13);
  const Tensor labels = Tensor::from(std::vector<int64_t>{2, 0}, {2});
  CHECK(error_against(cross_entropy(x, labels), {1.83455739942618}) < 1e-13);
  CHECK(error_against(cross_entropy(x, labels, 0.1), {1.91789073275951}) < 1e-13);
  const RunningStats running{tensor({0.5, -0.5, 1}, {3}), tensor({2, 1, 0.5}, {3})};
  const Variable y = batch_norm(x, gamma, beta, running, false, 0.5);
  CHECK(error_against(y, {0.316227766016838, -1.44948974278318, 0, 0, 8.34846922834954, -2}) < 1e-13);
}

TEST_CASE("convolution and pooling have PyTorch's values") {
  const Tensor x = tensor({1, -2, 3, 4, 5, -6, 7, 8, 9, -10, 11, 12}, {1, 3, 4, 1});
  const Tensor w = tensor({1, 2, -1, 0.5}, {1, 2, 2, 1});
  CHECK(error_against(conv2d(x, w, {.stride = 2, .padding = 1}), {0.5, 3.5, -4, 14.5, 23.5, -4}) < 1e-13);
  CHECK(error_against(conv2d(x, w, {.dilation = 2}), {3.5, 22}) < 1e-13);
  const PoolOptions overlapping{.kernel = 3, .stride = 2, .padding = 1};
  CHECK(error_against(max_pool2d(x, overlapping), {5, 8, 9, 12}) == 0);
  CHECK(error_against(avg_pool2d(x, overlapping), {-2.0 / 9, 14.0 / 9, -2.0 / 9, 22.0 / 9}) < 1e-13);
  CHECK(error_against(adaptive_avg_pool2d(x, 2, 3), {-0.5, 0.5, 5.5, -0.5, 0.5, 9.5}) < 1e-13);
}

TEST_CASE("batch norm in training has PyTorch's values and running statistics") {
  const Tensor x = tensor({1, -2, 3, 0.5, 4, -1, 2, 7}, {4, 2});
  const RunningStats running{Tensor::zeros({2}, f64), Tensor::ones({2}, f64), 0.3};
  const Variable y = batch_norm(x, tensor({1, 2}, {2}), tensor({0, 1}, {2}), running, true, 0.5);
  CHECK(error_against(y, {-1.13389341902768, -0.747141394536531, 0.377964473009227, 0.650571721092694, 1.13389341902768,
                          -0.188056148284841, -0.377964473009227, 4.28462582172868}) < 1e-13);
  CHECK(error_against(running.mean, {0.75, 0.3375}) < 1e-13);
  CHECK(error_against(running.var, {1.2, 5.61875}) < 1e-13);  // the batch's variance enters unbiased
}

TEST_CASE("gradients at ties and at the edges of domains") {
  const Variable a = leaf({1, 2, 3}), b = leaf({1, 5, 0});
  sum(maximum(a, b) * 2.0).backward();
  CHECK(grad_of(a) == Values{1, 0, 2});
  CHECK(grad_of(b) == Values{1, 2, 0});
  const Variable tied = leaf({4, 1, 4, 4});
  amax(tied).backward();
  CHECK(grad_of(tied) == Values{1.0 / 3, 0, 1.0 / 3, 1.0 / 3});
  const Variable zero = leaf({0, 0, 0});
  sum(pow(zero, Tensor::from(Values{0, 1, 2}, {3}))).backward();
  CHECK(grad_of(zero) == Values{0, 1, 0});
  const Variable null_row = Variable::leaf(Tensor::zeros({1, 3}, f64));
  sum(l2_normalize(null_row, 0.5)).backward();
  CHECK(grad_of(null_row) == Values{2, 2, 2});
}

TEST_CASE("a training step between an evaluation's forward and backward passes does not change its gradient") {
  const Tensor x = tensor({1, 10, 2, 20, 6, 60}, {3, 2});
  const RunningStats running{Tensor::zeros({2}, f64), Tensor::ones({2}, f64)};
  const Variable gamma = Variable::leaf(Tensor::ones({2}, f64));
  const Variable y = batch_norm(x, gamma, {}, running, false, 0.5);
  CHECK(max_abs_difference(running.mean, Tensor::zeros({2}, f64)) == 0);
  batch_norm(x, gamma, {}, running, true);
  CHECK(max_abs_difference(running.mean, Tensor::zeros({2}, f64)) > 0);
  sum(y).backward();
  CHECK(grad_of(gamma)[0] == doctest::Approx(9 / std::sqrt(1.5)).epsilon(1e-12));
}

TEST_CASE("dropout drops by position and counter, the same elements in every dtype") {
  const Tensor ones = Tensor::ones({1000}, f64);
  const Values a = dropout(ones, 0.25, 1, 2, 3).value().to_vector<double>();
  CHECK(a == dropout(ones, 0.25, 1, 2, 3).value().to_vector<double>());
  CHECK(a != dropout(ones, 0.25, 1, 2, 4).value().to_vector<double>());
  CHECK(max_abs_difference(dropout(ones.to(f32), 0.25, 1, 2, 3).value(), Tensor::from(a, {1000})) < 1e-6);
  const double kept = std::accumulate(a.begin(), a.end(), 0.0) * 0.75;
  CHECK(kept > 690);
  CHECK(kept < 810);
  CHECK(max_abs_difference(dropout(ones, 0, 1, 2, 3).value(), ones) == 0);
  CHECK(error_of([&] { dropout(ones, 1, 1, 2, 3); }).find("[dropout]") == 0);
}

TEST_CASE("empty batches work or are refused") {
  const auto empty = [](const Shape& s) { return Variable::leaf(Tensor::zeros(s)); };
  const Variable w = empty({4, 5}), x = empty({0, 5}), b = empty({4});
  sum(linear(x, w, b)).backward();
  CHECK(x.grad().shape() == Shape{0, 5});
  CHECK(max_abs_difference(w.grad(), Tensor::zeros({4, 5})) == 0);
  CHECK(max_abs_difference(b.grad(), Tensor::zeros({4})) == 0);
  const Variable images = empty({0, 8, 8, 3}), kernel = empty({2, 3, 3, 3});
  sum(global_avg_pool(max_pool2d(relu(conv2d(images, kernel))))).backward();
  CHECK(kernel.grad().shape() == kernel.shape());
  const Variable gain = empty({5});
  sum(layer_norm(x, gain, {})).backward();
  CHECK(max_abs_difference(gain.grad(), Tensor::zeros({5})) == 0);
  sum(softmax(x)).backward();
  sum(l2_normalize(x)).backward();
  sum(batch_norm(x, gain, {}, {Tensor::zeros({5}), Tensor::ones({5})}, false)).backward();
  CHECK(error_of([&] { batch_norm(x, {}, {}, {}, true); }).find("more than one value per channel") !=
        std::string::npos);
  CHECK(error_of([&] { batch_norm(empty({1, 5}), {}, {}, {}, true); }).find("[batch_norm]") == 0);
  CHECK(error_of([&] { cross_entropy(x, Tensor::zeros({0}, i64)); }).find("[cross_entropy]") == 0);
  CHECK(error_of([&] { mean(x); }).find("no elements") != std::string::npos);
  CHECK(error_of([&] { amax(x); }).find("no elements") != std::string::npos);
}

TEST_CASE("wrong ranks, shapes, dtypes and devices are errors") {
  const Tensor x = Tensor::ones({2, 3}), images = Tensor::ones({1, 4, 4, 3});
  const Tensor elsewhere = Tensor::ones({2, 3}, f32, Device("reference"));
  const auto refused = [](const std::function<void()>& f) {
    const std::string text = error_of(f);
    CAPTURE(text);
    CHECK(text[0] == '[');
  };
  refused([&] { add(x, Tensor::ones({2, 3}, f64)); });
  refused([&] { mul(x, elsewhere); });
  refused([&] { add(x, Tensor::ones({4})); });
  refused([&] { add(x, Variable()); });
  refused([&] { exp(Variable()); });
  refused([&] { exp(Tensor::ones({2}, i64)); });
  refused([&] { matmul(x, x); });
  refused([&] { matmul(Tensor::ones({3}), x); });
  refused([&] { linear(x, Tensor::ones({4, 2})); });
  refused([&] { linear(x, Tensor::ones({4, 3}), Tensor::ones({3})); });
  refused([&] { sum(x, {2}); });
  refused([&] { permute(x, {0, 0}); });
  refused([&] { slice(x, 0, 1, 9); });
  refused([&] { select(x, 0, 2); });
  refused([&] { squeeze(x, 0); });
  refused([&] { reshape(x, {4, -1}); });
  refused([&] { broadcast_to(x, {2, 4}); });
  refused([&] { concatenate(std::vector<Variable>{}, 0); });
  refused([&] { concatenate(std::vector<Variable>{x, Tensor::ones({2, 3, 1})}, 0); });
  refused([&] { gather(x, 1, Tensor::full({2, 1}, 3, i64)); });
  refused([&] { gather(x, 1, Tensor::full({2, 1}, -1, i64)); });
  refused([&] { gather(x, 1, Tensor::zeros({2, 1}, i32)); });
  refused([&] { gather(x, 1, Tensor()); });
  refused([&] { index_select(x, 2, Tensor::zeros({1}, i64)); });
  refused([&] { conv2d(x, Tensor::ones({2, 3, 3, 3})); });
  refused([&] { conv2d(images, Tensor::ones({2, 3, 3, 4})); });
  refused([&] { conv2d(images, Tensor::ones({2, 3, 3, 3}), {.stride = 0}); });
  for (const int64_t huge : {std::numeric_limits<int64_t>::max(), int64_t{1} << 62, (int64_t{1} << 20) + 1}) {
    refused([&] { conv2d(images, Tensor::ones({2, 3, 3, 3}), {.stride = huge}); });
    refused([&] { conv2d(images, Tensor::ones({2, 3, 3, 3}), {.padding = huge}); });
    refused([&] { conv2d(images, Tensor::ones({2, 3, 3, 3}), {.dilation = huge}); });
  }
  refused([&] { conv2d(images, Tensor::ones({2, 3, 3, 3}, f64)); });
  const Tensor kernel = Tensor::ones({2, 3, 3, 3});
  const auto [window, y] = conv2d_geometry(images.shape(), kernel.shape(), {.padding = 1});
  for (const Tensor& dy : {Tensor::ones({y[0], y[1] + 1, y[2], y[3]}), Tensor::ones({y[0], y[1], y[2], 3}),
                           Tensor::ones(y, f64), Tensor::ones({y[1], y[2], y[3]})}) {
    refused([&, w = window] { conv2d_dx(images.shape(), dy, kernel, w); });
    refused([&, w = window] { conv2d_dw(kernel.shape(), images, dy, w); });
  }
  refused([&, shape = y, w = window] { conv2d_dw({2, 3, 3, 32}, images, Tensor::ones(shape), w); });
  refused([&, shape = y, w = window] {
    conv2d_dx(images.shape(), Tensor::ones(shape), Tensor::ones({2, 5, 5, 3}), w);
  });
  refused([&] { max_pool2d(x); });
  refused([&] { max_pool2d(images, {.kernel = 9}); });
  refused([&] { adaptive_avg_pool2d(images, 0, 1); });
  refused([&] { global_avg_pool(x); });
  refused([&] { batch_norm(x, Tensor::ones({2}), {}, {}, true); });
  refused([&] { batch_norm(x, {}, {}, {}, false); });
  refused([&] { batch_norm(x, {}, {}, {Tensor::ones({3}, f64), Tensor::ones({3}, f64)}, true); });
  refused([&] { batch_norm_relu(x, {}, {}, Tensor::ones({3}), {}, true); });
  refused([&] { layer_norm(x, Tensor::ones({2}), {}); });
  refused([&] { l2_normalize(Tensor::scalar(1)); });
  refused([&] { softmax(Tensor::scalar(1)); });
  refused([&] { cross_entropy(x, Tensor::full({2}, 3, i64)); });
  refused([&] { cross_entropy(x, Tensor::zeros({3}, i64)); });
  refused([&] { cross_entropy(x, Tensor::zeros({2}, i32)); });
  refused([&] { cross_entropy(x, Tensor::zeros({2}, i64), 1.5); });
  refused([&] { where(Tensor::ones({2, 3}), x, x); });
  CHECK(error_of([&] {
          gather(x, 1, Tensor::full({2, 1}, 7, i64));
        }).find("index 7 is out of range") != std::string::npos);
}
