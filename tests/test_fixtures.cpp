// tacit against PyTorch: ops, layers, losses, optimisers and five whole training steps, in f64 and f32.
// What PyTorch computed is in fixtures/results_core.json; fixtures/core.py has the same names in the same order.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "autograd/ops.h"
#include "nn/linear.h"
#include "nn/resnet.h"
#include "nn/small_cnn.h"
#include "optim/adamw.h"
#include "optim/sgd.h"
#include "ssl/methods/simclr.h"
#include "tests/five_steps.h"
#include "tests/fixtures.h"

using namespace tacit;
using namespace tacit::testing;

TEST_CASE("PyTorch: conv2d, its dx and dw") {
  in_both(1e-12, 1e-5, [](DType t, double tolerance) {
    struct Case {
      const char* name;
      int64_t in, out, kernel, stride, padding, dilation, groups;
    };
    for (const Case& c :
         {Case{"conv 3x3", 4, 6, 3, 1, 1, 1, 1}, Case{"conv 3x3 stride 2", 4, 6, 3, 2, 1, 1, 1},
          Case{"conv 1x1 stride 2", 4, 6, 1, 2, 0, 1, 1}, Case{"conv 7x7 stride 2", 3, 8, 7, 2, 3, 1, 1},
          Case{"conv dilated, groups", 4, 6, 3, 1, 2, 2, 2}}) {
      const std::string name = c.name;
      const Variable x = leaf(name + " x", {3, 9, 8, c.in}, t);
      const Variable w = Variable::leaf(to_nhwc(draw(name + " w", {c.out, c.in / c.groups, c.kernel, c.kernel}, t)));
      check_backward(name, conv2d(x, w, {c.stride, c.padding, c.dilation, c.groups}), {{"x", x}}, tolerance);
      check_fixture(name + " dw", to_nchw(w.grad()), tolerance);
    }
  });
}

TEST_CASE("PyTorch: batch norm in training and evaluation, gradients and running statistics") {
  in_both(1e-12, 1e-5, [](DType t, double tolerance) {
    for (const bool training : {true, false}) {
      const std::string name = std::string("batch norm ") + (training ? "train" : "eval");
      const Variable x = leaf(name + " x", {4, 5, 3, 6}, t), gamma = leaf(name + " gamma", {6}, t),
                     beta = leaf(name + " beta", {6}, t);
      const Tensor mean = draw(name + " mean", {6}, t), n = draw(name + " var", {6}, t), var = n * n + 1.0;
      const Variable y = batch_norm(x, gamma, beta, {mean, var, 0.1}, training, 1e-5);
      check_backward(name, y, {{"x", x}, {"gamma", gamma}, {"beta", beta}}, tolerance);
      check_fixture(name + " running mean", mean, tolerance);
      check_fixture(name + " running var", var, tolerance);
    }
  });
}

TEST_CASE("PyTorch: layer norm, linear, pooling, log-softmax, GELU, L2-normalise") {
  in_both(1e-12, 1e-5, [](DType t, double tolerance) {
    {
      const Variable x = leaf("layer norm x", {7, 10}, t), gamma = leaf("layer norm gamma", {10}, t),
                     beta = leaf("layer norm beta", {10}, t);
      check_backward("layer norm", layer_norm(x, gamma, beta, 1e-6), {{"x", x}, {"gamma", gamma}, {"beta", beta}},
                     tolerance);
    }
    {
      const Variable x = leaf("linear x", {5, 7}, t), w = leaf("linear w", {4, 7}, t), b = leaf("linear b", {4}, t);
      check_backward("linear", linear(x, w, b), {{"x", x}, {"w", w}, {"b", b}}, tolerance);
    }
    const auto unary = [&](const std::string& name, const Shape& shape,
                           const std::function<Variable(const Variable&)>& f) {
      const Variable x = leaf(name + " x", shape, t);
      check_backward(name, f(x), {{"x", x}}, tolerance);
    };
    const Shape image{2, 9, 8, 3};
    const PoolOptions pool{.kernel = 3, .stride = 2, .padding = 1};
    unary("max pool", image, [&](const Variable& x) { return max_pool2d(x, pool); });
    unary("average pool", image, [&](const Variable& x) { return avg_pool2d(x, pool); });
    unary("adaptive pool", image, [](const Variable& x) { return adaptive_avg_pool2d(x, 4, 3); });
    unary("log softmax", {5, 9}, [](const Variable& x) { return log_softmax(x); });
    unary("gelu", {100}, [](const Variable& x) { return gelu(x); });
    unary("l2 normalize", {6, 8}, [](const Variable& x) { return l2_normalize(x); });
  });
}

TEST_CASE("PyTorch: cross-entropy; lightly: NT-Xent") {
  in_both(1e-12, 1e-5, [](DType t, double tolerance) {
    std::vector<int64_t> labels(12);
    for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int64_t>(i * 5 % 7);
    for (const double smoothing : {0.0, 0.1}) {
      const std::string name = smoothing > 0 ? "cross-entropy smoothed" : "cross-entropy";
      const Variable x = leaf(name + " x", {12, 7}, t);
      check_backward(name, cross_entropy(x * 3, Tensor::from(labels, {12}), smoothing), {{"x", x}}, tolerance);
    }
    for (const std::string temperature : {"0.1", "0.5"}) {
      const std::string name = "nt-xent " + temperature;
      const Variable z = leaf(name + " z", {16, 10}, t);
      check_backward(name, nt_xent(l2_normalize(z), std::stod(temperature)), {{"z", z}}, tolerance);
    }
  });
}

TEST_CASE("torchvision: ResNet-18 of both stems, forward, every gradient, running statistics, evaluation") {
  in_both(1e-10, 2e-4, [](DType t, double tolerance) {
    for (const bool cifar : {true, false}) {
      const std::string name = cifar ? "resnet18 cifar" : "resnet18 imagenet";
      nn::ResNet net({.depth = 18, .width = 8, .stem = cifar ? nn::Stem::Cifar : nn::Stem::ImageNet});
      draw_weights(net, t);
      const int64_t size = cifar ? 16 : 40;
      const Tensor x = draw(name + " x", {6, size, size, 3}, t);
      const Variable y = net(x);
      check_backward(name, y, {}, tolerance);
      check_gradients(name, net, tolerance);
      const nn::StateDict state = nn::state_dict(net);
      for (const std::string bn : {"bn1", "layer2.0.downsample.1", "layer4.1.bn2"}) {
        check_fixture(name + " " + bn + " running mean", state.at(bn + ".running_mean"), tolerance);
        check_fixture(name + " " + bn + " running var", state.at(bn + ".running_var"), tolerance);
      }
      net.eval();
      check_fixture(name + " eval", net(x).value(), tolerance);
    }
  });
}

TEST_CASE("PyTorch: SGD and AdamW, ten steps under a changing learning rate") {
  using Make = std::function<std::unique_ptr<optim::Optimizer>(nn::Module&)>;
  const std::map<std::string, Make> makers = {
      {"sgd",
       [](nn::Module& m) {
         return std::make_unique<optim::SGD>(m, optim::SGDOptions{.momentum = 0.9, .weight_decay = 0.02});
       }},
      {"sgd nesterov",
       [](nn::Module& m) {
         return std::make_unique<optim::SGD>(
             m, optim::SGDOptions{.momentum = 0.9, .weight_decay = 0.02, .nesterov = true});
       }},
      {"adamw", [](nn::Module& m) {
         return std::make_unique<optim::AdamW>(m, optim::AdamWOptions{.weight_decay = 0.05, .beta2 = 0.95});
       }}};
  in_both(1e-12, 1e-5, [&](DType t, double tolerance) {
    for (const auto& [name, make] : makers) {
      nn::Linear layer(6, 5);
      draw_weights(layer, t);
      const auto optimizer = make(layer);
      for (int step = 0; step < 10; ++step) {
        optimizer->set_lr(lr_at(step));
        optimizer->zero_grad();
        const Variable y = layer(draw("optimizer x " + std::to_string(step), {4, 6}, t));
        mean(y * y).backward();
        optimizer->step();
      }
      check_fixture(name + " weight", layer.weight.value(), tolerance);
      check_fixture(name + " bias", layer.bias.value(), tolerance);
    }
  });
}

TEST_CASE("PyTorch: five whole steps of SimCLR") {
  const auto train = [](const std::string& name, nn::Encoder encoder, int64_t size, double temperature, double lr_scale,
                        DType t, const std::function<std::unique_ptr<optim::Optimizer>(nn::Module&)>& make) {
    ssl::SimCLR model(std::move(encoder), {.temperature = temperature, .projector = {0, 16}});
    draw_weights(model, t);
    const auto optimizer = make(model);
    five_steps(name, model, t, *optimizer, lr_scale, [&](int step) {
      const std::string view = name + " " + std::to_string(step) + " view ";
      const Shape shape{16, size, size, 3};
      return std::vector<Tensor>{draw(view + "0", shape, t), draw(view + "1", shape, t)};
    });
  };
  for (const DType t : {f64, f32}) {
    train("simclr resnet18 24", nn::make_encoder({.name = "resnet18", .width = 8}), 8, 0.5, 0.06, t, [](nn::Module& m) {
      return std::make_unique<optim::SGD>(m, optim::SGDOptions{.momentum = 0.9, .weight_decay = 5e-4});
    });
    train("simclr small_cnn adamw", nn::make_encoder({.name = "small_cnn", .width = 8}), 16, 0.1, 0.02, t,
          [](nn::Module& m) { return std::make_unique<optim::AdamW>(m, optim::AdamWOptions{.weight_decay = 1e-2}); });
  }
}
