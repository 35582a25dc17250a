// Bugs that contrastive and momentum methods are known for, each as a test that fails when it is put in.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "optim/ema.h"
#include "optim/sgd.h"
#include "ssl/methods/byol.h"
#include "ssl/methods/moco.h"
#include "ssl/methods/row_cross_entropy.h"
#include "ssl/methods/simclr.h"
#include "ssl/train/method_entry.h"
#include "tests/momentum.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

MoCoOptions moco_options(const std::string& variant = "v2") {
  return {.variant = variant,
          .temperature = 0.2,
          .queue_size = 2 * kImages,
          .momentum = 0.9,
          .projector = {16, 6},
          .predictor = {12, 6}};
}
BYOLOptions byol_options() { return {.target_momentum = 0.9, .projector = {16, 6}, .predictor = {12, 6}}; }

/// A method in f64 whose slow branch, where it has one, is behind the online one.
template <class M, class Options>
M ready(const Options& options) {
  M model(tiny_encoder(), options);
  model.to(f64);
  disturb(model);
  return model;
}

Branch moco_branch(bool v3) { return {tiny_encoder(), {16, 6}, {.batch_norm = v3, .last_batch_norm = v3}}; }
Branch byol_branch() { return {tiny_encoder(), {16, 6}, {.last_bias = false}}; }

Tensor unit_rows(int64_t rows, int64_t d, DType dtype = f64) {
  return l2_normalize(Tensor::normal({rows, d}, 3, 4, dtype));
}

/// Multiplies the last layer of each head below `prefix` (its weight and, if it has one, its bias).
void scale_last_layer(nn::Module& model, const std::string& prefix, double factor) {
  int found = 0;
  for (const auto& named : model.named_parameters())
    if (named.first == prefix + ".weight" || named.first == prefix + ".bias") {
      named.second->variable().assign_(named.second->value() * factor);
      ++found;
    }
  REQUIRE(found > 0);
}

}  // namespace

// ---- loss and targets

TEST_CASE("bug 1: the softmax of similarities is by log-sum-exp: finite at temperature 0.01 in f32") {
  const Variable equal = Variable::leaf(l2_normalize(Tensor::ones({8, 4})));
  const Variable loss = nt_xent(equal, 0.01);
  CHECK(loss.item() == doctest::Approx(std::log(7.0)));
  loss.backward();
  CHECK(std::isfinite(sum(equal.grad()).item()));
  const Variable q = Variable::leaf(l2_normalize(Tensor::ones({8, 4})));
  const Variable against_queue = info_nce(q, q.value(), q.value(), std::vector<int64_t>(8, 0), 0.01);
  CHECK(against_queue.item() == doctest::Approx(std::log(9.0)));
  against_queue.backward();
  CHECK(std::isfinite(sum(q.grad()).item()));
}

TEST_CASE("bug 2: a view is not its own negative, and its partner counts once") {
  // Two images in two views, by hand; unit vectors in the plane at 0, 90, 30 and 200 degrees.
  const double degrees[4] = {0, 90, 30, 200}, rad = std::acos(-1.0) / 180;
  std::vector<double> rows;
  for (const double a : degrees) rows.insert(rows.end(), {std::cos(a * rad), std::sin(a * rad)});
  double expected = 0;
  for (int i = 0; i < 4; ++i) {
    double others = 0;
    for (int j = 0; j < 4; ++j)
      if (j != i) others += std::exp(std::cos((degrees[i] - degrees[j]) * rad) / 0.5);
    expected += (std::log(others) - std::cos((degrees[i] - degrees[(i + 2) % 4]) * rad) / 0.5) / 4;
  }
  CHECK(nt_xent(Tensor::from(rows, {4, 2}), 0.5).item() == doctest::Approx(expected).epsilon(1e-12));
  // Unrelated directions: one chance among the 2N - 1 others.
  CHECK(std::abs(nt_xent(unit_rows(1024, 512), 1).item() - std::log(1023.0)) < 0.01);
}

TEST_CASE("bug 3: labels follow the batch that is there, not the one that was configured") {
  for (const int64_t images : {6, 3, 5}) {
    const Tensor half = unit_rows(images, 16);
    Tensor top1;
    nt_xent(concatenate(std::vector<Tensor>{half, half}, 0), 0.1, &top1);
    CHECK(top1.item() == doctest::Approx(1));
  }
  MoCo model = ready<MoCo>(moco_options("v3"));
  for (const int64_t images : {8, 5}) {
    const std::vector<Tensor> views = tiny_views(0, images);
    Branch online = rebuilt(model, "online", moco_branch(true));
    nn::MLP predictor = rebuilt(model, "predictor", nn::MLP(6, {12, 6}, {.last_bias = false}));
    const double loss = model.loss(views, {0, 1}).item();
    Branch key = rebuilt(model, "key", moco_branch(true));
    double expected = 0;
    for (size_t v = 0; v < 2; ++v)
      expected +=
          batch_loss(l2_normalize(predictor(online(views[v]))), l2_normalize(key(views[1 - v])).value(), 0.2).item();
    CHECK(loss == doctest::Approx(expected).epsilon(1e-12));
  }
}

TEST_CASE("bug 4: embeddings are normalised, each row by its own norm, with nothing added to it") {
  const std::vector<Tensor> views = tiny_views();
  SUBCASE("no loss changes when a head's output is scaled") {
    for (const double factor : {1e3, 1e-4}) {  // the second: an eps inside the root would show
      SimCLR simclr(tiny_encoder(), {.temperature = 0.2, .projector = {16, 6}});
      simclr.to(f64);
      SimCLR scaled = simclr;
      scale_last_layer(scaled, "projector.3", factor);
      CHECK(scaled.loss(views, {}).item() == doctest::Approx(simclr.loss(views, {}).item()).epsilon(1e-9));
      MoCo moco = ready<MoCo>(moco_options()), moco_scaled = moco;
      scale_last_layer(moco_scaled, "online.projector.2", factor);
      scale_last_layer(moco_scaled, "key.projector.2", factor);
      CHECK(moco_scaled.loss(views, {}).item() == doctest::Approx(moco.loss(views, {}).item()).epsilon(1e-9));
      BYOL byol = ready<BYOL>(byol_options()), byol_scaled = byol;
      scale_last_layer(byol_scaled, "predictor.3", factor);
      scale_last_layer(byol_scaled, "target.projector.3", factor);
      CHECK(byol_scaled.loss(views, {}).item() == doctest::Approx(byol.loss(views, {}).item()).epsilon(1e-9));
    }
  }
  SUBCASE("the losses are those of rows divided by their norms") {
    const auto by_rows = [](const Variable& x) { return x / sqrt(sum(x * x, {1}, true)); };
    SimCLR simclr(tiny_encoder(), {.temperature = 0.2, .projector = {16, 6}});
    simclr.to(f64);
    const double simclr_loss = simclr.loss(views, {}).item();
    const Variable z = simclr.project(simclr.encoder()(concatenate(views, 0)));
    CHECK(simclr_loss == doctest::Approx(nt_xent(by_rows(z), 0.2).item()).epsilon(1e-12));
    MoCo moco = ready<MoCo>(moco_options());
    Branch online = rebuilt(moco, "online", moco_branch(false));
    const Tensor queue = state(moco, "queue");
    const double moco_loss = moco.loss(views, {0, 1}).item();
    Branch key = rebuilt(moco, "key", moco_branch(false));
    const Tensor k = by_rows(key(views[1])).value();
    CHECK(moco_loss == doctest::Approx(queue_loss(by_rows(online(views[0])), k, queue, 0.2).item()).epsilon(1e-12));
    CHECK(max_abs_difference(state(moco, "queue").slice(0, 0, kImages), k) < 1e-12);
    BYOL byol = ready<BYOL>(byol_options());
    Branch byol_online = rebuilt(byol, "online", byol_branch()), target = rebuilt(byol, "target", byol_branch());
    nn::MLP predictor = rebuilt(byol, "predictor", nn::MLP(6, {12, 6}, {.last_bias = false}));
    double expected = 0;
    for (size_t v = 0; v < 2; ++v) {
      const Variable p = by_rows(predictor(byol_online(views[v]))), t = by_rows(target(views[1 - v]));
      expected += 2 - 2 * mean(sum(p * t, {1})).item();
    }
    CHECK(byol.loss(views, {0, 1}).item() == doctest::Approx(expected).epsilon(1e-12));
  }
}

TEST_CASE("bug 5: each loss has its paper's scale") {
  const std::vector<Tensor> views = tiny_views();
  // A head of zeros but for its bias gives every view one projection: the losses are then the chance levels.
  const auto without_features = [](nn::Module& model, const std::string& layer) {
    for (const auto& named : model.named_parameters()) {
      if (named.first == layer + ".weight") named.second->variable().assign_(named.second->value() * 0.0);
      if (named.first == layer + ".bias") named.second->variable().assign_(named.second->value() * 0.0 + 1.0);
    }
  };
  SimCLR simclr(tiny_encoder(), {.temperature = 0.2, .projector = {16, 6}});
  simclr.to(f64);
  without_features(simclr, "projector.3");
  CHECK(simclr.loss(views, {}).item() == doctest::Approx(std::log(2.0 * kImages - 1)));  // the mean over 2N rows
  CHECK(simclr.chance(kImages).loss == doctest::Approx(std::log(2.0 * kImages - 1)));
  // v3: 2 T times the sum of both directions.
  const Variable q = Variable::leaf(l2_normalize(Tensor::ones({4, 3}, f64)));
  CHECK(info_nce(q, q.value(), {}, {0, 1, 2, 3}, 0.2).item() == doctest::Approx(std::log(4.0)));
  MoCoOptions v3 = moco_options("v3");
  v3.temperature = 1e6;  // every similarity is 0: CE = log B
  CHECK(ready<MoCo>(v3).loss(views, {}).item() / (2e6 * 2) == doctest::Approx(std::log(8.0)).epsilon(1e-5));
  MoCoOptions symmetric = moco_options();
  symmetric.symmetric = true;
  symmetric.temperature = 1e6;
  CHECK(ready<MoCo>(symmetric).loss(views, {}).item() == doctest::Approx(2 * std::log(17.0)).epsilon(1e-5));
  // BYOL: the sum of both directions, each 2 - 2 cos: 8 where both are opposite.
  BYOL byol = ready<BYOL>(byol_options()), opposite = byol;
  scale_last_layer(opposite, "predictor.3", -1);
  CHECK(byol.loss(views, {}).item() + opposite.loss(views, {}).item() == doctest::Approx(8).epsilon(1e-12));
}

TEST_CASE("bug 6: symmetric losses look both ways: exchanging the views changes nothing") {
  const std::vector<Tensor> views = tiny_views(), swapped = {views[1], views[0]};
  const auto changed = [&](auto model) {
    auto other = model;
    return std::abs(model.loss(views, {0, 1}).item() - other.loss(swapped, {0, 1}).item());
  };
  SimCLR simclr(tiny_encoder(), {.temperature = 0.2, .projector = {16, 6}});
  simclr.to(f64);
  CHECK(changed(simclr) < 1e-10);
  CHECK(changed(ready<BYOL>(byol_options())) < 1e-10);
  CHECK(changed(ready<MoCo>(moco_options("v3"))) < 1e-10);
  MoCoOptions symmetric = moco_options();
  symmetric.symmetric = true;
  CHECK(changed(ready<MoCo>(symmetric)) < 1e-10);
  CHECK(changed(ready<MoCo>(moco_options())) > 1e-3);  // this one looks one way, and says so
}

// ---- stop-gradient, averages, queue

TEST_CASE("bug 10: targets are constants: no gradient of their own, and the online one is that of a constant") {
  const std::vector<Tensor> views = tiny_views();
  const auto no_gradient = [](nn::Module& model, const std::string& slow) {
    int checked = 0;
    for (const auto& named : model.named_parameters())
      if (named.first.rfind(slow + ".", 0) == 0) {
        CHECK_FALSE(named.second->variable().requires_grad());
        ++checked;
      }
    CHECK(checked > 5);
  };
  BYOL byol = ready<BYOL>(byol_options());
  Branch online = rebuilt(byol, "online", byol_branch()), target = rebuilt(byol, "target", byol_branch());
  nn::MLP predictor = rebuilt(byol, "predictor", nn::MLP(6, {12, 6}, {.last_bias = false}));
  const std::vector<Tensor> z = {target(views[0]).value(), target(views[1]).value()};
  byol.loss(views, {0, 1}).backward();
  (cosine_loss(predictor(online(views[0])), z[1]) + cosine_loss(predictor(online(views[1])), z[0])).backward();
  CHECK(gradient_difference(byol, "online", online) < 1e-12);
  no_gradient(byol, "target");
  for (const std::string variant : {"v2", "v3"}) {
    MoCo moco = ready<MoCo>(moco_options(variant));
    moco.loss(views, {0, 1}).backward();
    no_gradient(moco, "key");
  }
}

TEST_CASE("bug 11: MoCo averages before its keys with the old parameters, BYOL after the step with the new ones") {
  const std::vector<Tensor> views = tiny_views();
  for (const std::string variant : {"v2", "v3"}) {
    MoCo moco = ready<MoCo>(moco_options(variant));
    optim::SGD sgd(moco, {.lr = 0.1});
    const nn::StateDict before = nn::state_dict(moco);
    moco.loss(views, {0, 10}).backward();
    CHECK(average_error(moco, before, "key", 0.9, before) < 1e-14);
    if (variant == "v2") {  // the keys are those of the averaged encoder
      Branch key = rebuilt(moco, "key", moco_branch(false));
      const Tensor k = l2_normalize(key(views[1])).value();
      CHECK(max_abs_difference(state(moco, "queue").slice(0, 0, kImages), k) < 1e-12);
    }
    sgd.step();
    moco.after_step({0, 10});
    CHECK(average_error(moco, before, "key", 0.9, before) < 1e-14);
  }
  BYOL byol = ready<BYOL>(byol_options());
  optim::SGD sgd(byol, {.lr = 0.1});
  const nn::StateDict before = nn::state_dict(byol);
  byol.loss(views, {2, 10}).backward();
  sgd.step();
  CHECK(average_error(byol, before, "target", 1, before) == 0);
  const nn::StateDict stepped = nn::state_dict(byol);
  byol.after_step({2, 10});
  const double tau = 1 - 0.1 * (std::cos(std::acos(-1.0) * 2 / 10) + 1) / 2;
  CHECK(average_error(byol, before, "target", tau, stepped) < 1e-14);
}

TEST_CASE("bug 12: batch norm statistics are not averaged; the slow encoder keeps its own, and exports them") {
  const std::vector<Tensor> views = tiny_views();
  const auto check = [&](Method& model, const std::string& slow) {
    model.loss(views, {0, 1});
    const nn::StateDict own = part(model, slow);
    const std::string mean = "encoder.bn4.running_mean";
    CHECK(own.at("encoder.bn4.num_batches_tracked").item() >= 1);
    CHECK(max_abs_difference(own.at(mean), state(model, "online." + mean)) > 1e-6);
    model.after_step({0, 1});
    CHECK(max_abs_difference(part(model, slow).at(mean), own.at(mean)) == 0);
    REQUIRE(model.teacher() != nullptr);
    CHECK(max_abs_difference(nn::state_dict(*model.teacher()).at("bn4.running_mean"), own.at(mean)) == 0);
  };
  MoCo moco = ready<MoCo>(moco_options());
  check(moco, "key");
  BYOL byol = ready<BYOL>(byol_options());
  check(byol, "target");
}

TEST_CASE("bug 13: the slow branch is a copy: no tensor is shared, not even after loading weights") {
  const auto check = [](Method& model, const std::string& slow) {
    std::map<std::string, Tensor> tensors;
    for (const auto& named : model.named_parameters()) tensors[named.first] = named.second->value();
    for (const auto& named : model.named_buffers()) tensors[named.first] = named.second->value();
    int pairs = 0;
    for (const auto& [name, t] : tensors) {
      if (name.rfind("online.", 0) != 0) continue;
      const Tensor& copy = tensors.at(slow + name.substr(6));
      CHECK_FALSE(copy.shares_memory_with(t));
      CHECK(max_abs_difference(copy, t) == 0);
      ++pairs;
    }
    CHECK(pairs > 20);
  };
  // As they are made: a change of dtype would give each its own tensors.
  MoCo moco(tiny_encoder(), moco_options()), another = moco;
  BYOL byol(tiny_encoder(), byol_options());
  check(another, "key");
  for (int i = 0; i < 2; ++i) {
    check(moco, "key");
    check(byol, "target");
    moco.encoder_replaced();
    byol.encoder_replaced();
  }
  const nn::StateDict target = part(byol, "target");
  disturb(byol);
  CHECK(difference(part(byol, "target"), target) == 0);
}

TEST_CASE("bug 14: logits before enqueue, one enqueue for both directions, unit rows, a pointer that is saved") {
  const std::vector<Tensor> views = tiny_views();
  for (const bool symmetric : {false, true}) {
    MoCoOptions options = moco_options();
    options.symmetric = symmetric;
    MoCo model = ready<MoCo>(options);
    const Tensor queue = state(model, "queue");
    CHECK(max_abs_difference(sum(queue * queue, {1}), Tensor::ones({queue.size(0)}, f64)) < 1e-6);
    Branch online = rebuilt(model, "online", moco_branch(false));
    const Variable loss = model.loss(views, {0, 1});
    CHECK(max_abs_difference(state(model, "queue"), queue) > 0.01);  // enqueued already, before backward()
    Branch key = rebuilt(model, "key", moco_branch(false));
    const auto direction = [&](size_t from, size_t to) {
      return queue_loss(l2_normalize(online(views[from])), l2_normalize(key(views[to])).value(), queue, 0.2);
    };
    const Variable expected = symmetric ? direction(0, 1) + direction(1, 0) : direction(0, 1);
    CHECK(loss.item() == doctest::Approx(expected.item()).epsilon(1e-12));
    loss.backward();  // by the queue of before, whatever has been written since
    expected.backward();
    CHECK(gradient_difference(model, "online", online) < 1e-12);
    const nn::StateDict saved = nn::state_dict(model);
    REQUIRE(saved.count("queue") == 1);
    REQUIRE(saved.count("queue_ptr") == 1);
    CHECK(saved.at("queue_ptr").item() == (symmetric ? 0 : kImages));
  }
  MoCo model = ready<MoCo>(moco_options());
  CHECK(mentions(error_of([&] { model.loss(tiny_views(0, 5), {}); }), "not a multiple of the 5 keys"));
  TrainConfig config;
  config.method = "moco";
  apply_recipe(config, "small-images");
  config.data = {"synthetic"};
  config.queue_size = 1000;
  const std::string message = error_of([&] { validate(config); });
  CHECK(mentions(message, "--queue-size 1000"));
  CHECK(mentions(message, "--batch-size 256"));
}

TEST_CASE("bug 15: a queue near the data's size is warned of; the CIFAR recipe has 4096 keys and momentum .99") {
  MoCoOptions options = moco_options();
  options.queue_size = 1024;
  const MoCo model(tiny_encoder(), options);
  CHECK(model.describe(60000, 8).empty());
  REQUIRE(model.describe(1500, 8).size() == 1);
  CHECK(mentions(model.describe(1500, 8)[0], "warning: --queue-size 1024"));
  CHECK(mentions(model.describe(1500, 8)[0], "1500 images"));
  CHECK(model.describe(500, 8).size() == 1);
  TrainConfig config;
  config.method = "moco";
  apply_recipe(config, "moco-cifar10-demo");
  CHECK(config.queue_size == 4096);
  CHECK(config.momentum == 0.99);
}

TEST_CASE("bug 16: no batch norm, in the encoder or the head, shows a key which query it belongs to") {
  MoCoOptions options = moco_options();
  options.projector_batch_norm = true;
  options.bn_splits = 2;
  const auto keys_of = [&](const std::vector<Tensor>& views, int64_t step) {
    MoCo model(tiny_encoder(2), options);
    model.to(f64);
    model.loss(views, {step, 4});
    return state(model, "queue").slice(0, 0, kImages);
  };
  const std::vector<Tensor> views = tiny_views();
  std::vector<Tensor> changed = {views[0], views[1].clone()};
  changed[1].slice(0, 0, 1).mul_(-3);
  bool left_its_half = false;
  for (int64_t step = 0; step < 4; ++step) {
    const Tensor before = keys_of(views, step), after = keys_of(changed, step);
    int64_t touched = 0;
    for (int64_t i = 0; i < kImages; ++i) {
      const bool moved = max_abs_difference(before.select(0, i), after.select(0, i)) > 1e-9;
      touched += moved;
      left_its_half |= moved && i >= kImages / 2;
    }
    CHECK(touched == kImages / 2);  // image 0's group, and nobody else, saw it
  }
  CHECK(left_its_half);  // the keys' groups are not the queries'
  TrainConfig config;
  config.method = "moco";
  for (const std::string recipe : {"fashion-mnist-demo", "small-images", "folder", "moco-cifar10-demo", "imagenet"}) {
    apply_recipe(config, recipe);
    CHECK(config.bn_splits == 8);
  }
}

TEST_CASE("bug 21: a batch in chunks has all of its negatives: the loss and gradient of the whole") {
  const std::vector<Tensor> views = tiny_views();
  const auto make = [](int64_t chunk) {
    SimCLR model(tiny_encoder(), {.temperature = 1e6, .projector = {16, 6}, .chunk_size = chunk});
    model.to(f64);
    return model;
  };
  // Every similarity is 0, so the loss counts the candidates; accumulated steps of 2 images would give log 3.
  CHECK(make(2).loss(views, {}).item() == doctest::Approx(std::log(2.0 * kImages - 1)).epsilon(1e-5));
  // In evaluation mode batch norm does not couple images, and chunks are invisible: the gradient is neither summed over
  // chunks nor averaged.
  SimCLR whole(tiny_encoder(), {.temperature = 0.2, .projector = {16, 6}}),
      chunked(tiny_encoder(), {.temperature = 0.2, .projector = {16, 6}, .chunk_size = 2});
  for (SimCLR* model : {&whole, &chunked}) {
    model->to(f64);
    model->eval();
    model->loss(views, {}).backward();
  }
  const auto ours = chunked.named_parameters(), theirs = whole.named_parameters();
  for (size_t i = 0; i < ours.size(); ++i)
    CHECK(max_abs_difference(ours[i].second->variable().grad(), theirs[i].second->variable().grad()) < 1e-12);
}
