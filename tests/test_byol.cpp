// BYOL: the loss and its gradient by hand, when and how the target moves, its own statistics, and the collapse that its
// two switches show.
#include <doctest/doctest.h>

#include "autograd/ops.h"
#include "optim/adamw.h"
#include "optim/ema.h"
#include "optim/sgd.h"
#include "ssl/methods/byol.h"
#include "tests/momentum.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

BYOLOptions tiny_options() { return {.target_momentum = 0.9, .projector = {16, 6}, .predictor = {12, 6}}; }

BYOL tiny_byol(const BYOLOptions& options) {
  BYOL model(tiny_encoder(), options);
  model.to(f64);
  disturb(model);
  return model;
}

Branch tiny_branch() { return {tiny_encoder(), {16, 6}, {.last_bias = false}}; }
nn::MLP tiny_predictor() { return {6, {12, 6}, {.last_bias = false}}; }

}  // namespace

TEST_CASE("BYOL: loss and gradient by hand, each view through batch norm by itself, the target a constant") {
  BYOL model = tiny_byol(tiny_options());
  const std::vector<Tensor> views = tiny_views();
  Branch online = rebuilt(model, "online", tiny_branch()), target = rebuilt(model, "target", tiny_branch());
  nn::MLP predictor = rebuilt(model, "predictor", tiny_predictor());
  const Variable loss = model.loss(views, {0, 1});
  const Tensor z1 = target(views[0]).value(), z2 = target(views[1]).value();
  const Variable p1 = predictor(online(views[0])), p2 = predictor(online(views[1]));
  const Variable expected = cosine_loss(p1, z2) + cosine_loss(p2, z1);
  CHECK(loss.item() == doctest::Approx(expected.item()).epsilon(1e-12));
  loss.backward();
  expected.backward();
  CHECK(gradient_difference(model, "online", online) < 1e-12);
  CHECK(gradient_difference(model, "predictor", predictor) < 1e-12);
  CHECK(model.chance(kImages).loss == 4);
}

TEST_CASE("BYOL: the target moves after the step, towards the new parameters, by the schedule's momentum") {
  for (const double base : {0.9, 0.0}) {
    BYOLOptions options = tiny_options();
    options.target_momentum = base;
    BYOL model = tiny_byol(options);
    optim::SGD sgd(model, {.lr = 0.1});
    for (int step = 0; step < 3; ++step) {
      const Progress progress{step, 3};
      const nn::StateDict before = nn::state_dict(model);
      model.loss(tiny_views(), progress).backward();
      sgd.step();
      CHECK(average_error(model, before, "target", 1, before) == 0);
      const nn::StateDict stepped = nn::state_dict(model);
      model.after_step(progress);
      const double momentum = base > 0 ? optim::cosine_momentum(step, 3, base) : 0;
      CHECK(average_error(model, before, "target", momentum, stepped) < 1e-14);
      sgd.zero_grad();
    }
  }
}

TEST_CASE("BYOL: the target's batch norm statistics are its own, of two views a step") {
  BYOL model = tiny_byol(tiny_options());
  Branch target = rebuilt(model, "target", tiny_branch());
  const std::vector<Tensor> views = tiny_views();
  model.loss(views, {0, 1});
  target(views[0]);
  target(views[1]);
  const nn::StateDict expected = nn::state_dict(target);
  CHECK(difference(part(model, "target"), expected) == 0);
  CHECK(state(model, "target.encoder.bn1.num_batches_tracked").item() == 2);
  model.after_step({0, 1});
  for (const std::string name : {"encoder.bn4.running_mean", "encoder.bn4.running_var", "projector.1.running_mean"}) {
    CHECK(max_abs_difference(state(model, "target." + name), expected.at(name)) == 0);
    CHECK(max_abs_difference(state(model, "online." + name), expected.at(name)) > 1e-6);
  }
}

TEST_CASE("BYOL: options that cannot be are refused, and the switches are spoken of") {
  CHECK(mentions(error_of([] { BYOL(tiny_encoder(), {.target_momentum = 2}); }), "momentum"));
  CHECK(mentions(error_of([] {
                   BYOL(tiny_encoder(), {.projector = {16, 6}, .predictor = {16, 5}});
                 }),
                 "must be the projector's, 6"));
  const auto lines = [](const BYOLOptions& options) {
    std::string all;
    for (const std::string& line : BYOL(tiny_encoder(), options).describe(100, 8)) all += line + "\n";
    return all;
  };
  BYOLOptions options = tiny_options();
  CHECK(lines(options).empty());
  options.use_predictor = options.stop_gradient = false;
  options.target_momentum = 0;
  CHECK(mentions(lines(options), "warning: --no-predictor"));
  CHECK(mentions(lines(options), "warning: --no-stop-gradient"));
  CHECK(mentions(lines(options), "SimSiam"));
}

namespace {

struct Spread {
  double projection, feature;
};

/// After some hundred steps on sixteen made-up images, whose views are mostly noise: one projection for all is the
/// easiest way to make two views agree.
Spread spread_after_training(const BYOLOptions& options, int64_t steps) {
  BYOL model(tiny_encoder(), options);
  optim::AdamW optimizer(model, {.lr = 1e-2});
  for (int64_t step = 0; step < steps; ++step) {
    const Tensor base = Tensor::normal({16, 16, 16, 3}, 0, 1);
    const auto view = [&](uint64_t which) {
      return base + Tensor::normal(base.shape(), static_cast<uint64_t>(step), which) * 2.0;
    };
    const Progress progress{step, steps};
    const Variable loss = model.loss({view(2), view(3)}, progress);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    model.after_step(progress);
  }
  const auto metrics = model.metrics();
  return {metrics.at("projection_std").item(), metrics.at("feature_std").item()};
}

}  // namespace

TEST_CASE("BYOL: without predictor or without stop-gradient every image gets one projection; with both it does not") {
  const auto after = [](bool use_predictor, bool stop_gradient) {
    BYOLOptions options = tiny_options();
    options.use_predictor = use_predictor;
    options.stop_gradient = stop_gradient;
    return spread_after_training(options, 200);
  };
  const Spread normal = after(true, true), no_predictor = after(false, true), no_stop = after(true, false);
  CHECK(normal.projection > 0.5);
  CHECK(no_predictor.projection < 0.05);
  CHECK(no_stop.projection < 0.05);
  // It is the head that collapses: batch norm and ReLU keep the features behind it apart for long.
  CHECK(no_predictor.feature > 0.5);
  CHECK(no_stop.feature > 0.5);
}
