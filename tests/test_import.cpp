// --init: weights behind prefixes, of other dtypes and sizes, and every file that must be refused, with its remedy.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "nn/encoder.h"
#include "process.h"
#include "ssl/train/build.h"
#include "ssl/train/checkpoint.h"
#include "ssl/train/export.h"
#include "ssl/train/import.h"
#include "ssl/train/resize_positions.h"
#include "tensor/ops.h"
#include "tensor/safetensors.h"
#include "train.h"

namespace {

using namespace tacit;
using namespace tacit::ssl;
using testing::contains;
using testing::error_of;
using testing::TemporaryDirectory;
using testing::tiny_config;
using testing::values_of;
using Names = std::vector<std::string>;

nn::StateDict prefixed(const std::string& prefix, const nn::StateDict& state) {
  nn::StateDict all;
  for (const auto& [name, tensor] : state) all[prefix + name] = tensor;
  return all;
}

TrainConfig config_of(const std::string& encoder) {
  TrainConfig c = tiny_config();
  c.encoder = encoder;
  return c;
}

TrainConfig vit_config(const std::string& method = "simclr") {
  TrainConfig c = config_of("vit_micro");
  c.method = method;
  c.encoder_width = 32;
  c.patch_size = 4;
  c.decoder_dim = 8;
  c.decoder_depth = 1;
  c.decoder_heads = 2;
  return c;
}

/// The state of an encoder that the config would make, but for its seed.
nn::StateDict weights(TrainConfig config) {
  config.seed = 7;
  nn::Encoder encoder = nn::make_encoder(config.encoder_options());
  nn::StateDict state = nn::state_dict(encoder);
  for (auto& [name, tensor] : state)  // statistics as after training
    if (contains(name, "running_var")) tensor = tensor * 3.0;
  return state;
}

/// A file of tensors and a config that begins with it.
class Init {
 public:
  explicit Init(TrainConfig c) : config(std::move(c)) { config.init = dir_ / "init.safetensors"; }

  ImportReport operator()(const nn::StateDict& tensors, const std::map<std::string, std::string>& metadata = {}) {
    write_safetensors(config.init, {tensors, metadata});
    method = make_method(config);
    return load_initial_weights(*method, config);
  }
  std::string error(const nn::StateDict& tensors) {
    return error_of([&] { (*this)(tensors); });
  }
  nn::StateDict loaded() { return nn::state_dict(method->encoder()); }

  TrainConfig config;
  std::unique_ptr<Method> method;

 private:
  TemporaryDirectory dir_;
};

void check_same(const nn::StateDict& a, const nn::StateDict& b) {
  REQUIRE(a.size() == b.size());
  for (const auto& tensor : a) {
    CAPTURE(tensor.first);
    REQUIRE(b.count(tensor.first) == 1);
    CHECK(bytes_of(tensor.second) == bytes_of(b.at(tensor.first)));
  }
}

}  // namespace

TEST_CASE("--init: bits behind a prefix, heads and all; a momentum encoder follows") {
  Init init(config_of("small_cnn"));
  init.config.method = "byol";
  init.config.predictor = {8, 4};
  const nn::StateDict state = weights(init.config);
  nn::StateDict file = prefixed("module.encoder_q.", state);
  file["module.encoder_q.fc.weight"] = Tensor::zeros({3, 2});
  file["module.queue"] = Tensor::full({2, 2}, std::numeric_limits<double>::quiet_NaN());  // no business of the encoder
  const ImportReport report = init(file);
  CHECK(report.names.prefix == "module.encoder_q.");
  CHECK(report.names.matched.size() == state.size());
  CHECK(report.notes.empty());
  check_same(init.loaded(), state);
  check_same(nn::state_dict(*init.method->teacher()), state);
}

TEST_CASE("--init: other dtypes become f32, bookkeeping may lack or be of another dtype") {
  Init init(config_of("resnet18"));
  const nn::StateDict state = weights(init.config);
  for (const DType dtype : {f64, bf16}) {
    nn::StateDict file, expected;
    for (const auto& [name, tensor] : state) {
      file[name] = tensor.to(dtype);
      expected[name] = file[name].to(tensor.dtype());
    }
    const ImportReport report = init(file);
    check_same(init.loaded(), expected);
    CHECK(report.notes == Names{dtype == f64 ? "F64 converted to F32" : "BF16 converted to F32"});
  }
  nn::StateDict file = state;
  std::erase_if(file, [](const auto& entry) { return contains(entry.first, "num_batches_tracked"); });
  file["layer1.0.conv1.total_ops"] = Tensor::zeros({1}, f64);
  const ImportReport report = init(file);
  CHECK(report.names.missing.size() == 20);
  CHECK(contains(report.names.text(), "100 matched, 20 missing (bn1.num_batches_tracked, "));
  check_same(init.loaded(), state);

  file = state;
  file["conv1.weight"] = state.at("conv1.weight").to(i32);
  CHECK(contains(init.error(file), "conv1.weight is i32, no floating-point numbers; are the weights quantised?"));
}

TEST_CASE("--init: a file of another encoder is refused, with the flags that fit") {
  Init init(config_of("resnet18"));
  const auto fits = [&](const std::string& encoder, auto&& change) {
    TrainConfig other = config_of(encoder);
    change(other);
    const std::string error = init.error(prefixed("module.", weights(other)));
    CAPTURE(error);
    CHECK(error.rfind("--init: " + init.config.init, 0) == 0);
    const size_t at = error.find("; it fits with ");
    return at == std::string::npos ? error : error.substr(at + 15);
  };
  const auto as_it_is = [](TrainConfig&) {};
  CHECK(fits("resnet34", as_it_is) == "--encoder resnet34");  // deeper: it has all of resnet18's names
  CHECK(fits("resnet50", [](TrainConfig& c) { c.stem = "imagenet"; }) == "--encoder resnet50 --stem imagenet");
  CHECK(fits("resnet18", [](TrainConfig& c) { c.stem = "imagenet"; }) == "--stem imagenet");
  CHECK(fits("resnet18", [](TrainConfig& c) { c.encoder_width = 8; }) == "--encoder-width 8");
  CHECK(fits("resnet18", [](TrainConfig& c) { c.channels = 1; }) == "--channels 1");
  CHECK(fits("small_cnn", as_it_is) == "--encoder small_cnn");
  CHECK(fits("nin", as_it_is) == "--encoder nin");  // no name in common
  init.config.image_size = 96;
  CHECK(fits("resnet18", [](TrainConfig& c) { c.stem = "cifar"; }) == "--stem cifar");
  init.config.image_size = 16;
  init.config.encoder = "resnet34";
  const nn::StateDict shallow = weights(config_of("resnet18"));
  CHECK(contains(init.error(shallow), " lacks 80 of resnet34's tensors: layer1.2.conv1.weight, "));
  CHECK(contains(init.error(shallow), " and 75 more; it fits with --encoder resnet18"));

  init.config = [&] {
    TrainConfig c = vit_config();
    c.init = init.config.init;
    return c;
  }();
  const auto vit_fits = [&](auto&& change) {
    return fits("vit_micro", [&](TrainConfig& c) {
      c = vit_config();
      change(c);
    });
  };
  CHECK(vit_fits([](TrainConfig& c) { c.pool = "mean"; }) == "--pool mean");
  CHECK(vit_fits([](TrainConfig& c) { c.patch_size = 2; }) == "--patch-size 2");
  CHECK(vit_fits([](TrainConfig& c) {
          c.image_size = 24;
          c.patch_size = 3;
        }) == "--image-size 24 --patch-size 3");
  CHECK(vit_fits([](TrainConfig& c) { c.encoder_width = 64; }) == "--encoder-width 64");
}

TEST_CASE("--init: what fits no encoder, in whole or in part, is refused by name") {
  Init init(config_of("resnet18"));
  nn::StateDict state = weights(init.config);
  CHECK(
      init.error(prefixed("unknown.", state)) ==
      "--init: " + init.config.init +
          ": none of its 120 names is of resnet18; the file's begin with unknown.bn1.bias, "
          "unknown.bn1.num_batches_tracked, unknown.bn1.running_mean, unknown.bn1.running_var, unknown.bn1.weight and "
          "115 more, the encoder's with conv1.weight, bn1.weight, bn1.bias, bn1.running_mean, bn1.running_var and 115 "
          "more");
  CHECK(contains(init.error({}), "none of its 0 names"));
  // A part that changes the features may not be lost silently, wherever it stands.
  for (const char* part : {"conv1.bias", "layer1.0.se.fc1.weight", "norm_pre.weight", "register_tokens"}) {
    nn::StateDict more = state;
    more[part] = Tensor::zeros({4});
    CHECK(contains(init.error(more), std::string("is of another network than resnet18, which lacks ") + part +
                                         "; no --encoder of this version has just the file's"));
  }
  state["bn1.weight"] = Tensor::full({4}, std::numeric_limits<double>::infinity());
  CHECK(contains(init.error(state), "bn1.weight (inf)"));
  state["bn1.weight"] = Tensor::full({4}, 1e300, f64);
  CHECK(contains(init.error(state), "bn1.weight (inf)"));
  state.erase("bn1.weight");
  CHECK(contains(init.error(state), "lacks 1 of resnet18's tensors: bn1.weight; no --encoder"));

  init.config.method = "colorization";
  TrainConfig gray = config_of("resnet18");
  CHECK(contains(init.error(weights(gray)), "colorization shows its encoder one channel"));
  gray.channels = 1;
  check_same((init(weights(gray)), init.loaded()), weights(gray));
}

TEST_CASE("positions of another size are resized as PyTorch's antialiased bicubic does") {
  const Tensor grid = testing::tensor_of({9, 0, 2, 4, 1, 3, 0, 2, 4, 1, 3, 0, 2, 4, 1, 3, 0}, {1, 17, 1});
  // F.interpolate(x, size=(n, n), mode="bicubic", antialias=True), torch 2.15.
  testing::check_values(resized_positions(grid, 2), {9, 1.408715, 2.47145, 2.149477, 1.408715}, 1e-5);
  testing::check_values(resized_positions(grid, 3),
                        {9, 0.843252, 2.556058, 2.422644, 1.915103, 1.061603, 2.556058, 2.751468, 1.915103, 0.843252},
                        1e-5);
  const std::vector<double> larger = values_of(resized_positions(grid, 6));
  CHECK(larger[1] == doctest::Approx(-0.350588).epsilon(1e-5));
  CHECK(larger[8] == doctest::Approx(1.089965).epsilon(1e-5));
  CHECK(larger[31] == doctest::Approx(4.416378).epsilon(1e-5));
  CHECK(position_grid({1, 197, 768}) == 14);
  for (const Shape& shape : {Shape{1, 198, 768}, Shape{2, 197, 768}, Shape{1, 1, 768}, Shape{197, 768}})
    CHECK(position_grid(shape) == 0);
  CHECK(contains(error_of([&] { resized_positions(Tensor::zeros({1, 18, 2}), 3); }), "[resized_positions]"));

  Init init(vit_config());
  TrainConfig large = vit_config();
  large.image_size = 32;
  const nn::StateDict state = weights(large);
  const ImportReport report = init(state);
  CHECK(report.notes == Names{"pos_embed resized from 8 x 8 to 4 x 4 patches"});
  nn::StateDict expected = state;
  expected["pos_embed"] = resized_positions(state.at("pos_embed"), 4);
  check_same(init.loaded(), expected);
  expected["pos_embed"] = Tensor::zeros({1, 16, 32});  // without a class token
  CHECK(contains(init.error(expected), "pos_embed is (1, 16, 32), that of vit_micro here is (1, 17, 32)"));
}

TEST_CASE("MAE's decoder comes with its encoder where it fits, and is said to be left out where not") {
  Init init(vit_config("mae"));
  init.config.augmentation = "mae";
  TrainConfig other = init.config;
  other.seed = 9;
  const std::unique_ptr<Method> trained = make_method(other);
  nn::StateDict file = nn::state_dict(trained->encoder());
  for (const auto& [name, tensor] : nn::state_dict(*trained))
    if (const std::string official = mae_decoder_name(name); !official.empty()) file[official] = tensor;
  ImportReport report = init(prefixed("model.", file));
  CHECK(report.names.text() ==
        std::to_string(file.size()) + " matched, 0 missing, 0 unexpected, prefix \"model.\" stripped");
  check_same(nn::state_dict(*init.method), nn::state_dict(*trained));

  init.config.decoder_dim = 16;
  init.config.decoder_depth = 2;
  const nn::StateDict fresh = nn::state_dict(*make_method(init.config));
  report = init(file);
  REQUIRE(report.notes.size() == 1);
  CHECK(contains(report.notes[0], "its decoder is left out: "));
  CHECK(contains(report.notes[0], "; it fits with --decoder-dim 8 --decoder-depth 1"));
  check_same(init.loaded(), nn::state_dict(trained->encoder()));
  CHECK(bytes_of(nn::state_dict(*init.method).at("decoder_pred.weight")) == bytes_of(fresh.at("decoder_pred.weight")));
  // Other methods have no decoder, and timm's file none for MAE.
  init.config = vit_config();
  init.config.init = other.init;
  CHECK(init(file).names.unexpected.count("mask_token") == 1);
  init.config = other;
  CHECK(init(nn::state_dict(trained->encoder())).notes.empty());
}

TEST_CASE("--init: a checkpoint gives encoder and MAE's decoder; other statistics of the images are a warning") {
  const TemporaryDirectory dir;
  Init init(vit_config("mae"));
  init.config.augmentation = "mae";
  Checkpoint checkpoint;
  checkpoint.info.config = init.config;
  checkpoint.info.config.seed = 9;
  checkpoint.info.steps_per_epoch = 1;
  const ViewPolicy policy = views_of(init.config)[0];
  checkpoint.info.mean = policy.mean;
  checkpoint.info.std = policy.std;
  const std::unique_ptr<Method> trained = make_method(checkpoint.info.config);
  checkpoint.model = nn::state_dict(*trained);
  checkpoint.optimizer = {{"m.encoder.cls_token", Tensor::zeros({1})}};
  save_checkpoint(init.config.init, checkpoint);
  check_initial_weights(init.config.init);
  init.method = make_method(init.config);
  CHECK(load_initial_weights(*init.method, init.config).notes.empty());
  check_same(nn::state_dict(*init.method), checkpoint.model);

  checkpoint.info.mean[0] += 0.25F;
  save_checkpoint(init.config.init, checkpoint);
  const Names notes = load_initial_weights(*init.method, init.config).notes;
  REQUIRE(notes.size() == 1);
  CHECK(contains(notes[0], "warning: " + init.config.init + " was trained on images of mean [0.73"));
  CHECK(contains(notes[0], "--augmentation mae normalises otherwise"));
}
