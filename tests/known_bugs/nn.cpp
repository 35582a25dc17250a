// Bugs that models of self-supervised learning are known for, each as a test that fails when it is put in.
#include <doctest/doctest.h>

#include "autograd/ops.h"
#include "nn/encoder.h"
#include "nn/norm.h"
#include "nn/staged.h"
#include "ssl/methods/byol.h"
#include "ssl/methods/moco.h"
#include "ssl/methods/simclr.h"
#include "ssl/train/build.h"
#include "ssl/train/import.h"
#include "ssl/train/method_entry.h"
#include "tensor/safetensors.h"
#include "tests/process.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

TEST_CASE("bug 25: small images meet a 3x3 stem of stride 1, padding 1 and no pooling") {
  for (const std::string name : {"resnet18", "resnet50"}) {
    nn::Encoder small = nn::make_encoder({.name = name, .width = 4, .image_size = 32}),
                large = nn::make_encoder({.name = name, .width = 4, .image_size = 224});
    CHECK(nn::state_dict(small).at("conv1.weight").shape() == Shape{4, 3, 3, 3});
    CHECK(nn::state_dict(large).at("conv1.weight").shape() == Shape{4, 3, 7, 7});
    const Tensor x = Tensor::normal({1, 32, 32, 3}, 1, 2);
    const Variable map = small.as<nn::Staged>()->stage_map(x, 1);
    CHECK(map.size(1) == 32);  // padding 2 would give 34, pooling 16
    CHECK(map.size(2) == 32);
    CHECK(large.as<nn::Staged>()->stage_map(x, 1).size(1) == 8);
    CHECK(small.map(x).size(1) == 4);
  }
  // The recipes for small images leave the stem to the size.
  for (const MethodEntry& method : method_entries())
    for (const Recipe& recipe : method.recipes) {
      TrainConfig config;
      config.method = method.name;
      apply_recipe(config, recipe.name);
      CHECK(config.stem == "auto");
    }
}

TEST_CASE("bug 22: ResNets start their residual branches as nothing where the official code does") {
  for (const bool zero : {false, true}) {
    nn::Encoder encoder = nn::make_encoder({.name = "resnet50", .width = 4, .zero_init_residual = zero});
    const nn::StateDict weights = nn::state_dict(encoder);
    for (const auto& [name, w] : weights) {
      if (name.find("bn3.weight") == std::string::npos) continue;
      CHECK(max_abs_difference(w, Tensor::full(w.shape(), zero ? 0 : 1)) == 0);
    }
    CHECK(max_abs_difference(weights.at("layer1.0.bn2.weight"), Tensor::ones({4})) == 0);
  }
  struct Expected {
    const char *method, *recipe;
    bool zero;
  };
  for (const Expected& e : {Expected{"simclr", "imagenet", true},
                            {"byol", "imagenet", true},
                            {"moco", "imagenet-v3", true},
                            {"moco", "imagenet-v3-vit", false},
                            {"moco", "imagenet", false},
                            {"rotation", "imagenet", false}}) {
    CAPTURE(e.method);
    CAPTURE(e.recipe);
    TrainConfig config;
    config.method = e.method;
    apply_recipe(config, e.recipe);
    CHECK(config.encoder_options().zero_init_residual == e.zero);
  }
}

TEST_CASE("bug 26: momentum .1 is new = .9 old + .1 batch; the batch is normalised by the biased variance") {
  nn::BatchNorm norm(1, {.momentum = 0.1});
  norm.to(f64);
  norm.running_mean.value().fill_(5);
  norm.running_var.value().fill_(7);
  const std::vector<double> x = {1, 2, 4, 9};  // mean 4, variance 9.5, unbiased 38/3
  std::vector<double> expected;
  for (const double v : x) expected.push_back((v - 4) / std::sqrt(9.5 + 1e-5));
  check_values(norm(tensor_of(x, {4, 1}, f64)).value(), expected, 1e-12);
  check_values(norm.running_mean.value(), {0.9 * 5 + 0.1 * 4}, 1e-12);
  check_values(norm.running_var.value(), {0.9 * 7 + 0.1 * 38 / 3}, 1e-12);
  norm.eval();
  check_values(norm(tensor_of({1}, {1, 1}, f64)).value(), {(1 - 4.9) / std::sqrt(0.9 * 7 + 0.1 * 38 / 3 + 1e-5)},
               1e-12);
}

TEST_CASE("bug 27: no bias before a batch norm; each method's head ends as its paper says") {
  const auto names = [](nn::Module& model, const std::string& prefix) {
    std::vector<std::string> found;
    for (const auto& named : model.named_parameters())
      if (named.first.rfind(prefix + ".", 0) == 0) found.push_back(named.first.substr(prefix.size() + 1));
    return found;
  };
  using Names = std::vector<std::string>;
  const auto buffers = [](nn::Module& model, const std::string& name) {
    return nn::state_dict(model).count(name + ".running_mean");
  };
  for (const std::string& name : {std::string("resnet18"), std::string("small_cnn"), std::string("nin")}) {
    nn::Encoder encoder = nn::make_encoder({.name = name, .width = 6});
    for (const auto& parameter : encoder.named_parameters())
      CHECK(parameter.first.find("conv1.bias") == std::string::npos);
  }
  const auto encoder = [] { return nn::make_encoder({.name = "small_cnn", .width = 4}); };
  const Names with_norm = {"0.weight", "1.weight", "1.bias", "3.weight", "3.bias"};
  const Names no_last_bias = {"0.weight", "1.weight", "1.bias", "3.weight"};
  SimCLR simclr(encoder(), {.projector = {8, 4}});
  CHECK(names(simclr, "projector") == with_norm);
  MoCo v2(encoder(), {.queue_size = 8, .projector = {8, 4}});  // linear, ReLU, linear, with biases
  CHECK(names(v2, "online.projector") == Names{"0.weight", "0.bias", "2.weight", "2.bias"});
  for (const bool vit : {false, true}) {  // v3: a last norm without weight and bias; the predictor of a ViT too
    MoCo v3(encoder(), {.variant = "v3", .projector = {8, 4}, .predictor = {8, 4}, .predictor_last_batch_norm = vit});
    CHECK(names(v3, "online.projector") == no_last_bias);
    CHECK(names(v3, "predictor") == no_last_bias);
    CHECK(buffers(v3, "online.projector.4") == 1);
    CHECK(buffers(v3, "predictor.4") == (vit ? 1 : 0));
  }
  BYOL byol(encoder(), {.projector = {8, 4}, .predictor = {8, 4}});  // no norm at the end, no last bias
  CHECK(names(byol, "online.projector") == no_last_bias);
  CHECK(names(byol, "predictor") == no_last_bias);
  CHECK(buffers(byol, "online.projector.4") == 0);
}

TEST_CASE("bug 30: weights under other names are refused, not skipped; matched, missing and unexpected are reported") {
  nn::Encoder encoder = nn::make_encoder({.name = "small_cnn", .width = 4, .seed = 1}),
              other = nn::make_encoder({.name = "small_cnn", .width = 4, .seed = 2});
  const nn::StateDict good = nn::state_dict(other);
  nn::StateDict prefixed, partly = good;
  for (const auto& [name, t] : good) prefixed["unknown." + name] = t;
  CHECK(error_of([&] { nn::load_state(encoder, prefixed, false); }) != "");
  partly.erase("bn4.bias");
  partly["fc.weight"] = Tensor::ones({2});
  const nn::LoadReport report = nn::load_state(encoder, partly, false);
  CHECK(report.matched.size() == good.size() - 1);
  CHECK(report.missing == std::vector<std::string>{"bn4.bias"});
  CHECK(report.unexpected == std::vector<std::string>{"fc.weight"});
  CHECK(mentions(error_of([&] { nn::load_state(encoder, partly); }), "bn4.bias"));
  // --init: a file that lacks one of the encoder's tensors is an error as well.
  TrainConfig config;
  apply_recipe(config, "small-images");
  config.image_size = 16;
  config.channels = 3;
  config.encoder_width = 4;
  config.projector = {8, 4};
  const std::unique_ptr<Method> method = make_method(config);
  const TemporaryDirectory dir;
  write_safetensors(dir / "partly.safetensors", {partly, {}});
  write_safetensors(dir / "prefixed.safetensors", {prefixed, {}});
  config.init = dir / "partly.safetensors";
  CHECK(mentions(error_of([&] { load_initial_weights(*method, config); }), "bn4.bias"));
  config.init = dir / "prefixed.safetensors";
  CHECK(mentions(error_of([&] { load_initial_weights(*method, config); }), "--init: " + config.init + ": none of its"));
}
