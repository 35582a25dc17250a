// The reference backend against small cases computed by hand: convolution, pooling, normalisation, softmax and losses,
// updates of many tensors.
#include <limits>

#include "tensor/ops.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Tensor counting(const Shape& shape) { return Tensor::arange(shape.numel(), f64).reshape(shape); }

double dot(const Tensor& a, const Tensor& b) { return sum(a * b).item(); }

}  // namespace

TEST_CASE_FIXTURE(OnReference, "conv2d: cross-correlation over (N, H, W, C)") {
  const Tensor x = counting({1, 3, 3, 1}), w = tensor_of({1, 2, 3, 4}, {1, 2, 2, 1}, f64);
  // Top left: 0 * 1 + 1 * 2 + 3 * 3 + 4 * 4.
  check_values(conv2d(x, w), {27, 37, 57, 67});
  check_values(conv2d(x, w, {.stride = 2, .padding = 1}), {0, 11, 30, 67});
  check_values(conv2d(x, w, {.dilation = 2}), {0 * 1 + 2 * 2 + 6 * 3 + 8 * 4});
  check_values(conv2d(x, w, {.padding = 1}).slice(1, 0, 1), {0, 4, 11, 6});
}

TEST_CASE_FIXTURE(OnReference, "conv2d: channels and groups") {
  // Two pixels of four channels; two groups of two, each with one output channel.
  const Tensor x = tensor_of({1, 2, 3, 4, 5, 6, 7, 8}, {1, 1, 2, 4});
  const Tensor w = tensor_of({1, 10, 100, 1000}, {2, 1, 1, 2});
  check_values(conv2d(x, w, {.groups = 2}), {21, 4300, 65, 8700});
  const Tensor full = tensor_of({1, 1, 1, 1, 1, 0, 0, -1}, {2, 1, 1, 4});
  check_values(conv2d(x, full), {10, -3, 26, -3});
  const Tensor depthwise = tensor_of({1, 2, 3, 4}, {4, 1, 1, 1});
  check_values(conv2d(x, depthwise, {.groups = 4}), {1, 4, 9, 16, 5, 12, 21, 32});
}

TEST_CASE_FIXTURE(OnReference, "conv2d gradients: by hand, and as transposes of the bilinear form") {
  const Tensor x = counting({1, 2, 3, 1}), w = tensor_of({1, 2}, {1, 1, 2, 1}, f64);
  const Window window = conv2d_geometry(x.shape(), w.shape(), {}).first;
  const Tensor dy = tensor_of({1, 10, 100, 1000}, {1, 2, 2, 1}, f64);
  check_values(conv2d_dx(x.shape(), dy, w, window), {1, 12, 20, 100, 1200, 2000});
  check_values(conv2d_dw(w.shape(), x, dy, window), {0 + 10 + 300 + 4000, 1 + 20 + 400 + 5000});

  // sum(dy * conv(x, w)) = sum(dx * x) = sum(dw * w) for every geometry.
  for (const Conv2dOptions& o :
       {Conv2dOptions{}, Conv2dOptions{.stride = 2, .padding = 1},
        Conv2dOptions{.stride = 3, .padding = 2, .dilation = 2}, Conv2dOptions{.padding = 1, .groups = 2}}) {
    const Tensor image = Tensor::normal({2, 7, 6, 4}, 1, 2, f64);
    const Tensor weight = Tensor::normal({6, 3, 2, 4 / o.groups}, 1, 3, f64);
    const Tensor y = conv2d(image, weight, o), cotangent = Tensor::normal(y.shape(), 1, 4, f64);
    const Window geometry = conv2d_geometry(image.shape(), weight.shape(), o).first;
    const double expected = dot(cotangent, y);
    CHECK(std::abs(expected) > 1e-3);
    CHECK(dot(conv2d_dx(image.shape(), cotangent, weight, geometry), image) ==
          doctest::Approx(expected).epsilon(1e-10));
    CHECK(dot(conv2d_dw(weight.shape(), image, cotangent, geometry), weight) ==
          doctest::Approx(expected).epsilon(1e-10));
  }
}

TEST_CASE_FIXTURE(OnReference, "max pool: values, pixel numbers, padding never chosen, first of equals, NaN") {
  const Tensor x = tensor_of({1, 5, 2, 0, 5, 4, 3, 1, -1}, {1, 3, 3, 1});
  const auto geometry = pool_geometry("pool", x.shape(), {.kernel = 2, .stride = 1});
  const auto [y, index] = pool(PoolOp::Max, x, geometry.first, geometry.second);
  check_values(y, {5, 5, 5, 5});
  check_values(index, {1, 1, 4, 4});
  const Tensor dy = tensor_of({1, 10, 100, 1000}, {1, 2, 2, 1});
  check_values(pool_grad(PoolOp::Max, x.shape(), dy, index, geometry.first), {0, 11, 0, 0, 1100, 0, 0, 0, 0});

  const Tensor negative = Tensor::full({1, 2, 2, 1}, -3);
  check_values(max_pool2d(negative, {.kernel = 2, .stride = 2, .padding = 1}), {-3, -3, -3, -3});
  check_values(max_pool2d(tensor_of({1, kNaN, 2, 3}, {1, 2, 2, 1})), {kNaN});
  check_values(max_pool2d(tensor_of({1, 8, 2, 7, 3, 6, 4, 5}, {1, 2, 2, 2})), {4, 8});  // two channels
}

TEST_CASE_FIXTURE(OnReference, "average pool: padding counts; overlapping gradients add up; adaptive windows") {
  const Tensor x = counting({1, 3, 3, 1});
  check_values(avg_pool2d(x, {.kernel = 2, .stride = 1}), {2, 3, 5, 6});
  check_values(avg_pool2d(x, {.kernel = 2, .stride = 2, .padding = 1}), {0, 0.75, 2.25, 6});
  const auto window = pool_geometry("pool", x.shape(), {.kernel = 2, .stride = 1}).first;
  check_values(pool_grad(PoolOp::Average, x.shape(), Tensor::full({1, 2, 2, 1}, 4, f64), {}, window),
               {1, 2, 1, 2, 4, 2, 1, 2, 1});

  // 3 -> 2: windows [0, 2) and [1, 3); 3 -> 1: everything; 2 -> 3: [0, 1), [0, 2), [1, 2).
  check_values(adaptive_avg_pool2d(x, 2, 2), {2, 3, 5, 6});
  check_values(adaptive_avg_pool2d(x, 1, 1), {4});
  check_values(adaptive_avg_pool2d(tensor_of({1, 3}, {1, 2, 1, 1}), 3, 1), {1, 2, 3});
  const auto adaptive = adaptive_pool_geometry("pool", x.shape(), 1, 2).first;
  check_values(pool_grad(PoolOp::Average, x.shape(), tensor_of({6, 12}, {1, 1, 2, 1}, f64), {}, adaptive),
               {1, 3, 2, 1, 3, 2, 1, 3, 2});
}

TEST_CASE_FIXTURE(OnReference, "moments: mean and biased variance of each channel") {
  const auto [mean, var] = moments(tensor_of({1, 10, 3, 10, 5, 10, 7, 10}, {2, 2, 2}));
  check_values(mean, {4, 10});
  check_values(var, {5, 0});
}

TEST_CASE_FIXTURE(OnReference, "batch norm: value, relu, residual") {
  const Tensor x = tensor_of({0, 0, 2, 2}, {4, 1}), one = Tensor::ones({1}), y = Tensor::empty({4, 1});
  const Tensor gamma = tensor_of({3}, {1}), beta = tensor_of({1}, {1}), residual = tensor_of({0, 5, -9, 1}, {4, 1});
  BatchNormArgs args{.y = y.view(),
                     .x = x.view(),
                     .mean = one.view(),
                     .rstd = one.view(),
                     .gamma = gamma.view(),
                     .beta = beta.view(),
                     .residual = {},
                     .relu = false};
  backend.batch_norm(args);
  check_values(y, {-2, -2, 4, 4});
  args.relu = true;
  backend.batch_norm(args);
  check_values(y, {0, 0, 4, 4});
  args.residual = residual.view();
  backend.batch_norm(args);
  check_values(y, {0, 3, 0, 5});
  args.relu = false;
  backend.batch_norm(args);
  check_values(y, {-2, 3, -5, 5});
}

TEST_CASE_FIXTURE(OnReference, "batch norm gradients: training and not, relu's mask, outputs that are not wanted") {
  // xhat = {-1, -1, 1, 1}; sum g = 10, sum g xhat = 4.
  const Tensor x = tensor_of({0, 0, 2, 2}, {4, 1}, f64), one = Tensor::ones({1}, f64), gamma = one * 3.0;
  const Tensor dy = tensor_of({1, 2, 3, 4}, {4, 1}, f64), y = tensor_of({1, 0, 2, 0}, {4, 1}, f64);
  const Tensor dx = Tensor::empty({4, 1}, f64), dresidual = dx.clone(), dgamma = Tensor::empty({1}, f64);
  const Tensor dbeta = dgamma.clone();
  BatchNormGradArgs args{.dx = dx.view(),
                         .dgamma = dgamma.view(),
                         .dbeta = dbeta.view(),
                         .dresidual = dresidual.view(),
                         .dy = dy.view(),
                         .x = x.view(),
                         .y = {},
                         .mean = one.view(),
                         .rstd = one.view(),
                         .gamma = gamma.view(),
                         .beta = {},
                         .relu = false,
                         .training = true};
  backend.batch_norm_grad(args);
  check_values(dx, {-1.5, 1.5, -1.5, 1.5});
  check_values(dgamma, {4});
  check_values(dbeta, {10});
  check_values(dresidual, {1, 2, 3, 4});
  args.training = false;
  backend.batch_norm_grad(args);
  check_values(dx, {3, 6, 9, 12});

  args.y = y.view();
  args.relu = args.training = true;  // g = {1, 0, 3, 0}: sum 4, with xhat 2
  backend.batch_norm_grad(args);
  check_values(dresidual, {1, 0, 3, 0});
  check_values(dgamma, {2});
  check_values(dbeta, {4});
  check_values(dx, {3 * (1 - 1 + 0.5), 3 * (0 - 1 + 0.5), 3 * (3 - 1 - 0.5), 3 * (0 - 1 - 0.5)});

  const Tensor beta = tensor_of({0}, {1}, f64);  // no y: relu lets through what has xhat > 0
  args.y = {}, args.beta = beta.view();
  backend.batch_norm_grad(args);
  check_values(dresidual, {0, 0, 3, 4});
  check_values(dbeta, {7});
  args.y = y.view();
  backend.batch_norm_grad(args);

  dgamma.view().ptr<double>()[0] = 77;
  args.dx = args.dgamma = args.dresidual = {};
  backend.batch_norm_grad(args);
  check_values(dgamma, {77});
  check_values(dbeta, {4});
}

TEST_CASE_FIXTURE(OnReference, "layer norm: value, statistics, gradients") {
  const Tensor x = tensor_of({0, 0, 2, 2, 1, 3, 1, 3}, {2, 4}, f64), y = Tensor::empty({2, 4}, f64), dx = y.clone();
  const Tensor mean = Tensor::empty({2}, f64), rstd = mean.clone();
  const Tensor gamma = tensor_of({1, 2, 3, 4}, {4}, f64), beta = tensor_of({0, 0, 0, 10}, {4}, f64);
  backend.layer_norm({.y = y.view(),
                      .mean = mean.view(),
                      .rstd = rstd.view(),
                      .x = x.view(),
                      .gamma = gamma.view(),
                      .beta = beta.view(),
                      .eps = 0});
  check_values(y, {-1, -2, 3, 14, -1, 2, -3, 14});
  check_values(mean, {1, 2});
  check_values(rstd, {1, 1});

  const Tensor dy = tensor_of({1, 1, 1, 1, 0, 0, 0, 1}, {2, 4}, f64), dgamma = Tensor::empty({4}, f64);
  const Tensor dbeta = dgamma.clone();
  LayerNormGradArgs args{.dx = dx.view(),
                         .dgamma = dgamma.view(),
                         .dbeta = dbeta.view(),
                         .dy = dy.view(),
                         .x = x.view(),
                         .mean = mean.view(),
                         .rstd = rstd.view(),
                         .gamma = gamma.view()};
  backend.layer_norm_grad(args);
  // Row 0: g = {1, 2, 3, 4}, means 2.5 and 1. Row 1: g = {0, 0, 0, 4}, xhat = {-1, 1, -1, 1}, means 1 and 1.
  check_values(dx, {-0.5, 0.5, -0.5, 0.5, 0, -2, 0, 2});
  check_values(dgamma, {-1, -1, 1, 2});
  check_values(dbeta, {1, 1, 1, 2});
  args.dx = args.dgamma = {};
  backend.layer_norm_grad(args);
  check_values(dbeta, {1, 1, 1, 2});

  backend.layer_norm({.y = y.view(),
                      .mean = mean.view(),
                      .rstd = rstd.view(),
                      .x = x.view(),
                      .gamma = gamma.view(),
                      .beta = beta.view(),
                      .eps = 3});
  check_values(rstd, {0.5, 0.5});  // 1 / sqrt(1 + 3)
}

TEST_CASE_FIXTURE(OnReference, "softmax and log-softmax: large values, -inf, rows without any mass") {
  const double ln2 = std::log(2.0), ln5 = std::log(5.0), ln8 = std::log(8.0);
  const Tensor x = tensor_of({0, ln2, ln5, 1000, 1000 + ln2, 1000 + ln5}, {2, 3}, f64);
  check_values(softmax(x), {0.125, 0.25, 0.625, 0.125, 0.25, 0.625});
  check_values(log_softmax(x), {-ln8, ln2 - ln8, ln5 - ln8, -ln8, ln2 - ln8, ln5 - ln8});
  check_values(softmax(tensor_of({1, -kInfinity, 1}, {3})), {0.5, 0, 0.5});
  check_values(log_softmax(tensor_of({1, -kInfinity, 1}, {3})), {-ln2, -kInfinity, -ln2});
  const Tensor none = Tensor::full({1, 2}, -kInfinity);
  check_values(softmax(none), {kNaN, kNaN});
  check_values(log_softmax(none), {kNaN, kNaN});
  check_values(softmax(tensor_of({kNaN, 1}, {2})), {kNaN, kNaN});

  const Tensor p = tensor_of({0.125, 0.25, 0.625}, {1, 3}, f64), dy = tensor_of({8, 0, 0}, {1, 3}, f64);
  const Tensor dx = Tensor::empty({1, 3}, f64), logp = log(p);
  backend.softmax_grad(dx.view(), dy.view(), p.view(), false);
  check_values(dx, {0.875, -0.25, -0.625});
  backend.softmax_grad(dx.view(), dy.view(), logp.view(), true);
  check_values(dx, {7, -2, -5});
}

TEST_CASE_FIXTURE(OnReference, "cross-entropy: loss, smoothing, gradient, masked logits") {
  const double ln2 = std::log(2.0), ln5 = std::log(5.0), ln8 = std::log(8.0);
  const Tensor x = tensor_of({0, ln2, ln5}, {1, 3}, f64), label = tensor_of({2}, {1}, i64);
  const Tensor loss = Tensor::empty({1}, f64), log_sum = loss.clone(), dx = Tensor::empty({1, 3}, f64);
  const Tensor dloss = tensor_of({8}, {1}, f64);
  backend.cross_entropy(loss.view(), log_sum.view(), x.view(), label.view(), 0);
  check_values(loss, {ln8 - ln5});
  check_values(log_sum, {ln8 - ln5});  // of logits minus the largest
  backend.cross_entropy_grad(dx.view(), dloss.view(), x.view(), log_sum.view(), label.view(), 0);
  check_values(dx, {1, 2, -3});
  backend.cross_entropy(loss.view(), log_sum.view(), x.view(), label.view(), 0.3);
  check_values(loss, {ln8 - 0.7 * ln5 - 0.1 * (ln2 + ln5)});
  backend.cross_entropy_grad(dx.view(), dloss.view(), x.view(), log_sum.view(), label.view(), 0.3);
  check_values(dx, {1 - 0.8, 2 - 0.8, 5 - 5.6 - 0.8});

  const Tensor masked = tensor_of({0, -kInfinity, ln5}, {1, 3}, f64);
  backend.cross_entropy(loss.view(), log_sum.view(), masked.view(), label.view(), 0);
  check_values(loss, {std::log(6.0) - ln5});
  backend.cross_entropy_grad(dx.view(), dloss.view(), masked.view(), log_sum.view(), label.view(), 0);
  check_values(dx, {8.0 / 6, 0, 40.0 / 6 - 8});
}

TEST_CASE_FIXTURE(OnReference, "sum of squares and lerp over many tensors") {
  const Tensor a = tensor_of({3, 4}, {2}), b = tensor_of({1, 2, 2}, {3});
  const std::vector<Tensor> both = {a, b};
  CHECK(sum_squares(both).item() == 34);
  CHECK(sum_squares(both).dtype() == f64);
  const std::vector<Tensor> sources = {tensor_of({5, 0}, {2}), Tensor::zeros({3})};
  lerp_(both, sources, Tensor::full({1}, 0.25, f64));
  check_values(a, {3.5, 3});
  check_values(b, {0.75, 1.5, 1.5});
}

TEST_CASE_FIXTURE(OnReference, "SGD: weight decay, momentum, nesterov") {
  const Tensor hyper = tensor_of({0.1}, {1}, f64), grad = tensor_of({0.5}, {1}, f64);
  const View grads[] = {grad.view()};
  const auto step = [&](double momentum, bool nesterov) {
    const Tensor p = Tensor::ones({1}, f64), buffer = p * 2.0;
    const View params[] = {p.view()}, buffers[] = {buffer.view()};
    backend.update(SgdArgs{.params = params,
                           .grads = grads,
                           .momentum_buffers = buffers,
                           .hyper = hyper.view(),
                           .momentum = momentum,
                           .weight_decay = 0.1,
                           .nesterov = nesterov});
    return std::vector<double>{p.item(), buffer.item()};
  };
  check_values(tensor_of(step(0, false), {2}, f64), {0.94, 2}, 1e-14);      // g = 0.5 + 0.1
  check_values(tensor_of(step(0.9, false), {2}, f64), {0.76, 2.4}, 1e-14);  // b = 1.8 + 0.6
  check_values(tensor_of(step(0.9, true), {2}, f64), {0.724, 2.4}, 1e-14);  // g = 0.6 + 2.16
}

TEST_CASE_FIXTURE(OnReference, "AdamW: two steps under a changing learning rate") {
  const Tensor p = Tensor::ones({1}, f64), m = Tensor::zeros({1}, f64), v = m.clone();
  const View params[] = {p.view()}, averages[] = {m.view()}, squares[] = {v.view()};
  const auto step = [&](double lr, double g, double t) {
    const Tensor grad = Tensor::full({1}, g, f64);
    const Tensor hyper = tensor_of({lr, 1 - std::pow(0.9, t), 1 - std::pow(0.999, t)}, {3}, f64);
    const View grads[] = {grad.view()};
    backend.update(AdamWArgs{.params = params,
                             .grads = grads,
                             .exp_avg = averages,
                             .exp_avg_sq = squares,
                             .hyper = hyper.view(),
                             .beta1 = 0.9,
                             .beta2 = 0.999,
                             .eps = 1e-8,
                             .weight_decay = 0.1});
  };
  step(0.1, 0.5, 1);
  // 1 * (1 - 0.01), then a step of lr * 0.5 / (0.5 + eps).
  check_values(p, {0.99 - 0.1 * 0.5 / (0.5 + 1e-8)}, 1e-14);
  check_values(m, {0.05}, 1e-14);
  check_values(v, {0.00025}, 1e-14);
  const double before = p.item();
  step(0.2, -1, 2);
  check_values(m, {-0.055}, 1e-14);
  check_values(v, {0.00124975}, 1e-14);
  const double root = std::sqrt(0.00124975 / 0.001999);
  check_values(p, {before * 0.98 + 0.2 * (0.055 / 0.19) / (root + 1e-8)}, 1e-13);
}
