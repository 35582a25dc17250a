// Bugs that optimisers and schedules of self-supervised learning are known for, each as a test that fails when it is
// put in.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "optim/lars.h"
#include "optim/sgd.h"
#include "ssl/train/build.h"
#include "ssl/train/method_entry.h"
#include "ssl/train/resolve.h"
#include "ssl/train/trainer.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

/// Hidden layer, batch norm, ReLU, output with bias: "0.weight", "1.weight", "1.bias", "3.weight", "3.bias".
nn::MLP small_model() {
  nn::MLP model(4, {6, 3}, {.seed = 1});
  model.to(f64);
  return model;
}

void some_gradient(nn::MLP& model, uint64_t step) {
  const Variable y = model(Tensor::normal({8, 4}, step, 1, f64));
  mean(y * y).backward();
}

}  // namespace

TEST_CASE("bug 17: biases and norm weights have no weight decay and no trust ratio: they move as under plain SGD") {
  for (const bool adaptive : {true, false}) {
    nn::MLP model = small_model(), plain = model;
    // One step: the gradients are the same, so whatever differs is the rule.
    some_gradient(model, 0);
    some_gradient(plain, 0);
    if (adaptive)
      optim::LARS(model, {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.5, .eta = 0.02}).step();
    else
      optim::SGD(model, {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.5}).step();
    optim::SGD(plain, {.lr = 0.1}).step();
    const nn::StateDict ours = nn::state_dict(model), theirs = nn::state_dict(plain);
    for (const std::string name : {"1.weight", "1.bias", "3.bias"}) {
      CAPTURE(name);
      CHECK(max_abs_difference(ours.at(name), theirs.at(name)) == 0);
    }
    for (const std::string name : {"0.weight", "3.weight"})
      CHECK(max_abs_difference(ours.at(name), theirs.at(name)) > 1e-4);
  }
}

TEST_CASE("bug 18: cls_token, pos_embed and mask_token are told by name, not by their number of dimensions") {
  class Tokens : public nn::Module {
   public:
    Tokens() : head(2, 1) {
      cls_token = nn::Parameter(Tensor::ones({1, 1, 2}));
      pos_embed = nn::Parameter(Tensor::ones({1, 3, 2}));
      mask_token = nn::Parameter(Tensor::ones({1, 1, 2}));
    }
    void visit(nn::Visitor& v) override {
      v("encoder.cls_token", cls_token);
      v("encoder.pos_embed", pos_embed);
      v("mask_token", mask_token);
      v("head", head);
    }
    nn::Parameter cls_token, pos_embed, mask_token;
    nn::Linear head;
  };
  Tokens model;
  using Names = std::vector<std::string>;
  // MAE's pre-training decays them; its fine-tuning and DeiT exclude them by name.
  CHECK(optim::default_groups(model, 0.1)[0].names ==
        Names{"encoder.cls_token", "encoder.pos_embed", "mask_token", "head.weight"});
  const auto named = optim::default_groups(model, 0.1, {"cls_token", "pos_embed"});
  CHECK(named[0].names == Names{"mask_token", "head.weight"});
  CHECK(named[1].names == Names{"encoder.cls_token", "encoder.pos_embed", "head.bias"});
  CHECK(named[1].weight_decay == 0);
}

TEST_CASE("bug 19: the learning rate is base-lr x batch / 256, once: images, not views, and not a factor of itself") {
  for (const MethodEntry& method : method_entries())
    for (const char* batch : {"512", "64"}) {
      CAPTURE(method.name);
      ConfigLayers layers;
      layers.flags = {{"method", {method.name}}, {"data", {"synthetic"}},   {"optimizer", {"sgd"}},
                      {"base-lr", {"0.6"}},      {"batch-size", {batch}},   {"sgd-momentum", {"0"}},
                      {"weight-decay", {"0"}},   {"warmup-fraction", {"0"}}};
      const TrainConfig config = resolve(layers, 32);
      const double expected = 0.6 * std::stod(batch) / 256;
      CHECK(config.effective_lr() == doctest::Approx(expected).epsilon(1e-12));
      const auto schedule = make_schedule(config, config.epochs * 10);
      CHECK(schedule(0) == doctest::Approx(expected).epsilon(1e-12));
      nn::Linear layer(1, 1);
      layer.to(f64);
      const auto optimizer = make_optimizer(config, layer);
      const double before = layer.weight.value().item();
      sum(layer.weight.variable()).backward();
      optimizer->set_lr(schedule(0));
      optimizer->step();
      CHECK(before - layer.weight.value().item() == doctest::Approx(expected).epsilon(1e-12));
    }
}

TEST_CASE("bug 20: warm-up begins above 0 and reaches the peak, the cosine moves every step, a resume goes on") {
  TrainConfig config;
  apply_recipe(config, "small-images");
  config.epochs = 4;
  config.lr = 2.0;
  config.base_lr.reset();
  config.warmup_fraction.reset();
  config.warmup_epochs = 1;
  constexpr int64_t kSteps = 40;  // ten an epoch
  const auto schedule = make_schedule(config, kSteps);
  CHECK(schedule(0) == doctest::Approx(0.2));
  for (int64_t step = 1; step < 10; ++step) CHECK(schedule(step) - schedule(step - 1) == doctest::Approx(0.2));
  CHECK(schedule(9) == doctest::Approx(2));
  CHECK(schedule(10) == doctest::Approx(2));
  for (int64_t step = 11; step < kSteps; ++step) {
    CHECK(schedule(step) < schedule(step - 1));
    CHECK(schedule(step) ==
          doctest::Approx(1 + std::cos(std::acos(-1.0) * static_cast<double>(step - 10) / 30)).epsilon(1e-9));
  }
  // The loop asks for the rate of the step that is made: from 25 on after 25 steps.
  nn::MLP model = small_model();
  optim::SGD sgd(model, {.lr = 1});
  Training training;
  training.next = [] { return Batch(); };
  training.loss = [&](const Batch&, const Progress&) { return mean(square(model(Tensor::ones({4, 4}, f64)))); };
  training.lr = schedule;
  training.optimizer = &sgd;
  training.done = 25;
  training.last = 28;
  training.steps = kSteps;
  training.steps_per_epoch = 10;
  std::vector<double> rates;
  training.on_step = [&](StepRecord& record) { rates.push_back(record.lr); };
  train(training);
  CHECK(rates == std::vector<double>{schedule(25), schedule(26), schedule(27)});
}
