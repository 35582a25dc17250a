// Bugs that slow copies, their averages and queues are known for (MoCo, BYOL), each as a test that fails when it is put
// in.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "optim/sgd.h"
#include "ssl/train/method_entry.h"
#include "ssl/train/resolve.h"
#include "tests/known_bugs/models.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

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
  apply_recipe(config, "cifar10");
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
  // v3 does not shuffle: there split batch norm would put a query and its key into one group at every step.
  for (const std::string recipe : {"fashion-mnist-demo", "small-images", "folder", "cifar10", "imagenet"})
    for (const std::string variant : {"v1", "v2", "v3"}) {
      CAPTURE(recipe);
      CAPTURE(variant);
      ConfigLayers layers;
      layers.flags = {{"method", {"moco"}}, {"data", {"synthetic"}}, {"recipe", {recipe}}, {"variant", {variant}}};
      CHECK(resolve(layers, 32).bn_splits == (variant == "v3" ? 0 : 8));
      layers.flags.push_back({"bn-splits", {"4"}});
      if (variant == "v3")
        CHECK_THROWS_WITH_AS(resolve(layers, 32), doctest::Contains("--bn-splits is of --variant v1 and v2"),
                             UsageError);
      else
        CHECK(resolve(layers, 32).bn_splits == 4);
    }
}
