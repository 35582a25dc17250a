// tacit against PyTorch: LARS, moving averages, SplitBatchNorm and RotNet's network-in-network, in f64 and f32.
// What PyTorch computed is in fixtures/results_layers.json; fixtures/layers.py has the same names in the same order.
#include <doctest/doctest.h>

#include "autograd/ops.h"
#include "nn/linear.h"
#include "nn/nin.h"
#include "nn/norm.h"
#include "optim/ema.h"
#include "optim/lars.h"
#include "tests/fixtures.h"

using namespace tacit;
using namespace tacit::testing;

TEST_CASE("PyTorch: LARS in both orders, ten steps under a changing learning rate") {
  in_both(1e-12, 1e-5, [](DType t, double tolerance) {
    for (const bool inside : {false, true}) {
      const std::string name = inside ? "lars lr in buffer" : "lars";
      nn::Linear layer(6, 5);
      draw_weights(layer, t);
      optim::LARS lars(layer, {.weight_decay = 0.02, .eta = 0.1, .lr_in_buffer = inside});
      for (int step = 0; step < 10; ++step) {
        lars.set_lr(lr_at(step));
        lars.zero_grad();
        const Variable y = layer(draw("lars x " + std::to_string(step), {4, 6}, t));
        mean(y * y).backward();
        lars.step();
      }
      check_fixture(name + " weight", layer.weight.value(), tolerance);
      check_fixture(name + " bias", layer.bias.value(), tolerance);
    }
  });
}

TEST_CASE("PyTorch: three moving averages under BYOL's momentum") {
  in_both(1e-14, 1e-6, [](DType t, double tolerance) {
    nn::Linear online(6, 5);
    draw_weights(online, t);
    nn::Frozen<nn::Linear> target(online);
    for (int k = 0; k < 3; ++k) {
      for (const auto& named : online.named_parameters())
        named.second->variable().assign_(
            draw("ema online " + std::to_string(k) + " " + named.first, named.second->shape(), t));
      optim::ema_update_(target, online, optim::cosine_momentum(k, 3, 0.9));
    }
    check_fixture("ema weight", target.module().weight.value(), tolerance);
    check_fixture("ema bias", target.module().bias.value(), tolerance);
  });
}

TEST_CASE("PyTorch: SplitBatchNorm, gradients and running statistics") {
  in_both(1e-12, 1e-5, [](DType t, double tolerance) {
    for (const bool strided : {false, true})
      for (const bool rows : {false, true}) {
        const std::string name = std::string("split norm") + (strided ? " strided" : "") + (rows ? " rows" : " relu");
        const Shape shape = rows ? Shape{12, 6} : Shape{8, 5, 3, 6};
        nn::BatchNorm bn(6, {.splits = 4, .strided = strided});
        draw_weights(bn, t);
        for (const std::string step : {" 0", " 1"}) {
          bn.zero_grad();
          const Variable x = leaf(name + step + " x", shape, t);
          const Variable residual = rows ? Variable() : leaf(name + step + " residual", shape, t);
          const Variable y = rows ? bn(x) : bn.relu(x, residual);
          std::map<std::string, Variable> leaves = {{"gamma", bn.weight}, {"beta", bn.bias}};
          if (!rows) leaves["x"] = x, leaves["residual"] = residual;
          check_backward(name + step, y, leaves, tolerance);
          if (rows) check_fixture(name + step + " dx", x.grad().reshape({12, 1, 1, 6}), tolerance);
        }
        check_fixture(name + " running mean", bn.running_mean.value(), tolerance);
        check_fixture(name + " running var", bn.running_var.value(), tolerance);
        bn.eval();
        const Tensor last = draw(name + " eval x", shape, t);
        check_fixture(name + " eval", bn(rows ? last.reshape({12, 1, 1, 6}) : last).value(), tolerance);
      }
  });
}

TEST_CASE("PyTorch: network-in-network, forward, every gradient, running statistics, evaluation, block 2") {
  in_both(1e-10, 2e-4, [](DType t, double tolerance) {
    nn::Nin net({.width = 12});
    draw_weights(net, t);
    const Tensor x = draw("nin x", {3, 16, 16, 3}, t);
    check_backward("nin", net(x), {}, tolerance);
    check_gradients("nin", net, tolerance);
    const nn::StateDict state = nn::state_dict(net);
    for (const std::string bn : {"block1.bn3", "block4.bn1"}) {
      check_fixture("nin " + bn + " running mean", state.at(bn + ".running_mean"), tolerance);
      check_fixture("nin " + bn + " running var", state.at(bn + ".running_var"), tolerance);
    }
    net.eval();
    check_fixture("nin eval", net(x).value(), tolerance);
    check_fixture("nin block 2", net.stage_map(x, 2).value(), tolerance);
  });
}
