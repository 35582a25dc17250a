// ssl/train: which recipes there are, their published numbers, and settings whose default depends on others.
#include <doctest/doctest.h>

#include <cmath>

#include "process.h"
#include "ssl/train/build.h"
#include "ssl/train/resolve.h"
#include "train.h"

namespace {

using namespace tacit;
using namespace tacit::ssl;
using testing::contains;
using testing::usage_error;

}  // namespace

TEST_CASE("--stop-grad-conv1: of MoCo's ViTs, by default of v3's; written down where it was said") {
  const auto config = [](const Settings::Given& more) {
    ConfigLayers layers;
    layers.flags = {{"data", {"synthetic"}}, {"method", {"moco"}}, {"recipe", {"small-images"}}};
    layers.flags.insert(layers.flags.end(), more.begin(), more.end());
    return resolve(layers, 32);
  };
  const auto learned_by = [](TrainConfig c) {
    c.image_size = 32;
    c.channels = 3;
    c.encoder_width = 32;
    const std::unique_ptr<Method> method = make_method(c);
    const std::unique_ptr<optim::Optimizer> optimizer = make_optimizer(c, *method);
    int64_t found = 0;
    for (const optim::ParamGroup& group : optimizer->groups())
      for (const std::string& name : group.names) found += contains(name, "patch_embed.");
    return found;
  };
  const auto learned = [&](const Settings::Given& more) { return learned_by(config(more)); };
  const auto text = [](TrainConfig c) { return settings_of(c).toml(); };
  const std::pair<std::string, std::vector<std::string>> vit = {"encoder", {"vit_micro"}}, v3 = {"variant", {"v3"}};
  CHECK(learned({vit}) == 2);
  CHECK(learned({vit, v3}) == 0);
  CHECK(learned({vit, v3, {"stop-grad-conv1", {"false"}}}) == 2);
  CHECK(learned({vit, {"stop-grad-conv1", {"true"}}}) == 0);
  CHECK_NOTHROW(config({v3}));  // a ResNet has none, and nobody asked
  CHECK_NOTHROW(config({v3, {"stop-grad-conv1", {"false"}}}));
  CHECK(contains(usage_error([&] {
                   config({v3, {"encoder", {"resnet18"}}, {"stop-grad-conv1", {"true"}}});
                 }),
                 "--stop-grad-conv1 keeps a ViT's patch embedding as it is; --encoder resnet18 has none"));
  CHECK(contains(usage_error([&] { config({{"stop-grad-conv1", {"yes"}}}); }), "true or false"));
  CHECK(contains(text(config({vit, v3})), "stop-grad-conv1 = true"));  // a resume must not decide again
  CHECK_FALSE(contains(text(config({vit})), "stop-grad-conv1"));
  TrainConfig older = config({vit, v3});  // a run begun before there was the flag
  older.stop_grad_conv1.reset();
  CHECK(learned_by(older) == 2);
  TrainConfig read;
  settings_of(read).apply_toml(text(config({vit, v3, {"stop-grad-conv1", {"false"}}})), "x.toml");
  CHECK(read.stop_grad_conv1 == false);
  CHECK(contains(usage_error([&] { settings_of(read).apply_toml("stop-grad-conv1 = 1", "x.toml"); }), "true or false"));
}

TEST_CASE("recipes: every kind of data has one for every method; colorization none for gray images") {
  for (const MethodEntry& method : method_entries()) {
    CAPTURE(method.name);
    for (const std::string name : {"fashion-mnist-demo", "small-images", "folder", "cifar10", "stl10", "imagenet"}) {
      CAPTURE(name);
      TrainConfig c;
      c.method = method.name;
      const bool gray = name == "fashion-mnist-demo";
      if (gray && c.method == "colorization") {
        CHECK_FALSE(usage_error([&] { apply_recipe(c, name); }).empty());
        continue;
      }
      REQUIRE_NOTHROW(apply_recipe(c, name));
      if (gray) CHECK(c.channels == 1);
      if (name == "cifar10") CHECK(c.image_size == 32);
      if (name == "imagenet") CHECK(c.image_size >= 176);
      if (name != "stl10") continue;
      CHECK(c.image_size == 96);
      CHECK(c.split == "unlabeled");
      CHECK(c.channels == 3);
      // A whole step, in small.
      const bool vit = nn::is_vit(c.encoder);
      c.encoder_width = vit ? 64 : 4;
      c.batch_size = 16;
      c.data = {"stl10:nowhere"};
      validate(c);
      const std::unique_ptr<Method> model = make_method(c);
      const std::unique_ptr<optim::Optimizer> optimizer = make_optimizer(c, *model);
      std::vector<Tensor> views;
      for (size_t v = 0; v < views_of(c).size(); ++v) views.push_back(Tensor::uniform({16, 96, 96, 3}, 0, v));
      const Variable loss = model->loss(views, {0, 2});
      loss.backward();
      optimizer->step();
      CHECK(std::isfinite(loss.item()));
    }
  }
}

TEST_CASE("recipes: BYOL's cifar10 makes lightly's steps, whose loss is a quarter of the paper's") {
  TrainConfig c;
  c.method = "byol";
  apply_recipe(c, "cifar10");
  // momentum buffer m = 0.9 m + (gradient + decay p), p -= lr m: 4 x gradient with lr / 4 and 4 x decay is the same.
  const double batches = static_cast<double>(c.batch_size) / 128;
  CHECK(c.effective_lr() * 4 == doctest::Approx(0.06 * batches));
  CHECK(c.effective_lr() * c.weight_decay == doctest::Approx(0.06 * batches * 5e-4));
  CHECK(c.sgd_momentum == 0.9);
}

TEST_CASE("recipes: numbers as published") {
  TrainConfig c;
  apply_recipe(c, "imagenet");  // SimCLR
  CHECK(c.optimizer == "lars");
  CHECK(c.lars_variant == "simclr");
  CHECK(c.effective_lr() == doctest::Approx(4.8));
  CHECK(c.weight_decay == 1e-6);
  CHECK(c.temperature == 0.1);
  CHECK(c.projector == std::vector<int64_t>{2048, 128});
  CHECK(*c.warmup_epochs == 10);
  c = TrainConfig();
  c.method = "moco";
  apply_recipe(c, "imagenet-v3-vit");
  CHECK(c.encoder == "vit_base");
  CHECK(c.optimizer == "adamw");
  CHECK(c.effective_lr() == doctest::Approx(2.4e-3));
  CHECK(c.weight_decay == 0.1);
  CHECK(c.decay_all);
  CHECK(c.epochs == 300);
  CHECK(*c.warmup_epochs == 40);
  CHECK(c.temperature == 0.2);
  CHECK(c.momentum == 0.99);
  CHECK(c.projector == std::vector<int64_t>{4096, 4096, 256});
}
