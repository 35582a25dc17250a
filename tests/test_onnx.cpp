// Export to ONNX: each encoder's graph, computed node by node, gives its features; what the file says; what is refused.
#include <doctest/doctest.h>

#include "nn/eval_mode.h"
#include "nn/nin.h"
#include "nn/resnet.h"
#include "nn/sequential.h"
#include "nn/simple.h"
#include "nn/vit.h"
#include "ssl/train/export_onnx.h"
#include "tests/onnx_reader.h"
#include "tests/process.h"
#include "tests/train.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

/// Nothing is left at a value that hides it: norms that do nothing, tokens and biases of 0.
void stir(nn::Module& module) {
  uint64_t stream = 0;
  for (const auto& [name, parameter] : module.named_parameters())
    Tensor(parameter->value()).add_(Tensor::normal(parameter->shape(), 5, ++stream) * 0.1);
  for (const auto& [name, buffer] : module.named_buffers())
    if (is_floating(buffer->value().dtype()))
      buffer->value().add_(Tensor::uniform(buffer->value().shape(), 5, ++stream) * 0.3);
}

constexpr float kMean = 0.5f, kStd = 0.25f;

PlainViews views_of(int64_t image_size, int64_t channels) {
  PlainViews views;
  views.image_size = image_size;
  views.channels = channels;
  views.normalisation.mean.assign(static_cast<size_t>(channels), kMean);
  views.normalisation.std.assign(static_cast<size_t>(channels), kStd);
  return views;
}

/// Through a file and back.
onnx::Model written(const onnx::Model& model) {
  const TemporaryDirectory dir;
  onnx::write_model(dir / "x.onnx", model);
  return read_onnx(read_file(dir / "x.onnx")).model;
}

/// Of the features and those of its graph, without and with the normalisation in it, relative to the largest feature.
double difference(nn::Encoder& encoder, const PlainViews& views, int64_t batch) {
  const Tensor images = Tensor::normal({batch, views.image_size, views.image_size, views.channels}, 1, 2);
  const nn::EvalMode evaluation(encoder);
  const Tensor expected = encoder(images).value();
  const double largest = amax(abs(expected)).item();
  if (batch > 1)  // the features say something of the image
    REQUIRE(max_abs_difference(expected.select(0, 0), expected.select(0, 1)) > 1e-2 * largest);
  double worst = 0;
  for (const bool include_normalisation : {false, true}) {
    const onnx::Model model = written(onnx_model(encoder, views, include_normalisation));
    const Tensor input = include_normalisation ? images * kStd + kMean : images;
    const Tensor features = run_onnx(model, input.permute({0, 3, 1, 2}));
    REQUIRE(features.shape() == Shape({batch, encoder.features()}));
    worst = std::max(worst, max_abs_difference(features, expected) / largest);
  }
  return worst;
}

nn::Encoder with_classifier() { return nn::Encoder(nn::ResNet({.width = 4, .classes = 3})); }

/// An encoder of a user's own.
struct Pixels : nn::Stateless {
  Variable operator()(const Variable& images) const { return global_avg_pool(images); }
  int64_t features() const { return 3; }
};

onnx::Model tiny_model() {
  onnx::Model model;
  model.name = "tiny";
  model.input = {"x", {2}};
  model.output = {"y", {2}};
  model.weights["w"] = Tensor::from(std::vector<float>{2, 3}, {2});
  model.nodes = {{"double", "Mul", {"x", "w"}, {"y"}, {}}};
  return model;
}

}  // namespace

TEST_CASE("every encoder: its graph gives its features") {
  for (const std::string& name : nn::encoder_names()) {
    const bool vit = nn::is_vit(name), resnet = nn::is_resnet(name);
    for (const char* stem : {"cifar", "imagenet"}) {
      if (!resnet && stem == std::string("imagenet")) continue;
      for (const char* pool : {"cls", "mean", "mean-after-norm"}) {
        if (!vit && pool != std::string("cls")) continue;
        CAPTURE(name);
        CAPTURE(stem);
        CAPTURE(pool);
        nn::Encoder encoder = nn::make_encoder({.name = name,
                                                .width = name == "vit_micro" ? 64
                                                         : vit               ? 16
                                                                             : 8,  // two heads; one
                                                .stem = stem,
                                                .image_size = 16,
                                                .pool = pool,
                                                .position = pool == std::string("cls") ? "sincos" : "learned"});
        stir(encoder);
        CHECK(difference(encoder, views_of(16, 3), 1) < 1e-5);
        CHECK(difference(encoder, views_of(16, 3), 3) < 1e-5);
      }
    }
  }
}

TEST_CASE("gray images, drop path, nin's other depths") {
  nn::Encoder cnn = nn::make_encoder({.name = "small_cnn", .width = 4, .image_size = 28, .channels = 1});
  nn::Encoder vit = nn::make_encoder({.name = "vit_micro",
                                      .width = 32,
                                      .image_size = 28,
                                      .channels = 1,
                                      .checkpoint_activations = true,
                                      .drop_path = 0.5});
  for (nn::Encoder* const encoder : {&cnn, &vit}) {
    stir(*encoder);
    CHECK(difference(*encoder, views_of(28, 1), 2) < 1e-5);
  }
  for (const int blocks : {3, 4, 5})
    for (const bool pool_third : {false, true}) {
      nn::Encoder nin(nn::Nin({.blocks = blocks, .width = 6, .pool_third = pool_third}));
      stir(nin);
      CHECK(difference(nin, views_of(16, 3), 2) < 1e-5);
    }
}

TEST_CASE("included normalisation: pixels in, the same features out") {
  nn::Encoder encoder = nn::make_encoder({.name = "small_cnn", .width = 4});
  stir(encoder);
  const nn::EvalMode evaluation(encoder);
  PlainViews views = views_of(32, 3);
  views.normalisation.mean = {0.2f, 0.5f, 0.7f};
  views.normalisation.std = {0.1f, 0.3f, 0.5f};
  const Tensor pixels = Tensor::uniform({2, 32, 32, 3}, 1, 2);
  const Tensor images =
      (pixels - Tensor::from(views.normalisation.mean, {3})) / Tensor::from(views.normalisation.std, {3});
  const Tensor expected = encoder(images).value();
  const onnx::Model with = written(onnx_model(encoder, views, true)),
                    without = written(onnx_model(encoder, views, false));
  CHECK(max_abs_difference(run_onnx(with, pixels.permute({0, 3, 1, 2})), expected) < 1e-5 * amax(abs(expected)).item());
  CHECK(max_abs_difference(run_onnx(without, images.permute({0, 3, 1, 2})), expected) <
        1e-5 * amax(abs(expected)).item());
  CHECK(with.nodes.size() == without.nodes.size() + 2);
  // Pixels of a run without normalisation are its input.
  views.normalisation.mean.clear();
  CHECK(onnx_model(encoder, views, true).nodes.size() == without.nodes.size());
}

TEST_CASE(
    "the file: versions, names and shapes at the border, metadata; weights by their names, as torch lays them out") {
  const TemporaryDirectory dir;
  nn::Encoder encoder = nn::make_encoder({.name = "resnet18", .width = 4, .image_size = 24, .channels = 1});
  onnx::Model model = onnx_model(encoder, views_of(24, 1), false);
  model.version = "1.2.3";
  model.metadata = {{"mean", "[0.5]"}, {"ünïcode", "\"…\""}};
  onnx::write_model(dir / "x.onnx", model);
  const OnnxFile file = read_onnx(read_file(dir / "x.onnx"));
  CHECK(file.ir_version == 8);
  CHECK(file.operator_set == 17);
  CHECK(file.producer == "tacit");
  CHECK(file.model.version == "1.2.3");
  CHECK_FALSE(file.model.name.empty());  // ONNX demands one
  CHECK(file.model.metadata == model.metadata);
  CHECK(file.model.input.name == "image");
  CHECK(file.model.input.sizes == std::vector<int64_t>{1, 24, 24});
  CHECK(file.model.output.name == "features");
  CHECK(file.model.output.sizes == std::vector<int64_t>{32});

  size_t found = 0;
  for (const auto& entry : nn::state_dict(encoder)) {
    const std::string& name = entry.first;
    const Tensor& tensor = entry.second;
    CAPTURE(name);
    if (name.ends_with("num_batches_tracked")) continue;
    REQUIRE(file.model.weights.count(name) == 1);
    REQUIRE(file.model.weights.at(name).shape() == tensor.shape());
    CHECK(max_abs_difference(file.model.weights.at(name), tensor) == 0);
    ++found;
  }
  CHECK(found == file.model.weights.size());
  int norms = 0;
  for (const onnx::Node& node : file.model.nodes) {
    if (node.op != "BatchNormalization") continue;
    ++norms;
    CHECK(std::get<float>(node.attributes.at("epsilon")) == 1e-5f);
  }
  CHECK(norms == 20);

  nn::Encoder vit = nn::make_encoder({.name = "vit_micro", .width = 32});
  const onnx::Model graph = written(onnx_model(vit, views_of(32, 3), false));
  const Tensor qkv = nn::state_dict(vit).at("blocks.1.attn.qkv.weight");
  CHECK(max_abs_difference(graph.weights.at("blocks.1.attn.qkv.weight.T"), qkv.t()) == 0);
  CHECK(graph.weights.count("blocks.1.attn.qkv.bias") == 1);
  const auto norm =
      std::find_if(graph.nodes.begin(), graph.nodes.end(), [](const auto& n) { return n.name == "norm"; });
  REQUIRE(norm != graph.nodes.end());
  CHECK(std::get<float>(norm->attributes.at("epsilon")) == 1e-6f);
}

TEST_CASE("what has no graph is refused, with the reason") {
  nn::Encoder classifier = with_classifier(), pixels{Pixels()};
  CHECK_THROWS_WITH_AS(onnx_model(classifier, views_of(32, 3), false), doctest::Contains("fc.bias has no place"),
                       Error);
  CHECK_THROWS_WITH_AS(onnx_model(pixels, views_of(32, 3), false), doctest::Contains("known: ResNets"), Error);
  nn::Encoder cnn = nn::make_encoder({.name = "small_cnn", .width = 4, .channels = 1});
  PlainViews lightness = views_of(32, 1);
  lightness.normalisation.lightness = true;
  CHECK(contains(usage_error([&] { onnx_model(cnn, lightness, true); }), "--include-normalisation: "));
  CHECK(usage_error([&] { onnx_model(cnn, lightness, false); }).empty());
  nn::Encoder vit = nn::make_encoder({.name = "vit_micro", .width = 32, .image_size = 32});
  CHECK_THROWS_WITH_AS(onnx_model(vit, views_of(28, 3), false), doctest::Contains("made for images (N, 32, 32, 3)"),
                       Error);
}

TEST_CASE("writing: the model is checked before the file is touched") {
  const TemporaryDirectory dir;
  const std::string path = dir / "x.onnx";
  write_file(path, "before");
  const auto refused = [&](const std::string& part, const std::function<void(onnx::Model&)>& change) {
    onnx::Model model = tiny_model();
    change(model);
    const std::string message = error_of([&] { onnx::write_model(path, model); });
    CAPTURE(message);
    CHECK(contains(message, part));
    CHECK(read_file(path) == "before");
  };
  refused("node double reads v, which nothing before it makes", [](auto& m) { m.nodes[0].inputs[1] = "v"; });
  refused("node early reads y", [](auto& m) {
    m.nodes.insert(m.nodes.begin(), onnx::Node{"early", "Relu", {"y"}, {"z"}, {}});
  });
  refused("two values are called w", [](auto& m) { m.nodes[0].outputs = {"w"}; });
  refused("two values are called x", [](auto& m) { m.weights["x"] = m.weights["w"]; });
  refused("nothing makes the output z", [](auto& m) { m.output.name = "z"; });
  refused("weight w is of bf16", [](auto& m) { m.weights["w"] = m.weights["w"].to(bf16); });
  // 2 GiB of weights, of one number's memory.
  refused("more than the 2147483647 of an ONNX file", [](auto& m) {
    m.weights["w"] = Tensor::zeros({1, 1}).broadcast_to({1 << 15, 1 << 14});
  });
  CHECK(contains(error_of([&] { onnx::write_model(dir / "none/x.onnx", tiny_model()); }), "none/x.onnx"));

  onnx::write_model(path, tiny_model());
  const onnx::Model model = read_onnx(read_file(path)).model;
  CHECK(run_onnx(model, Tensor::from(std::vector<float>{1, 10}, {1, 2})).to_vector<float>() ==
        std::vector<float>{2, 30});
}
