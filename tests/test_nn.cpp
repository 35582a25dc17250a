// Modules: names and sizes as in torchvision, values that copy deeply, states that load all or nothing.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "autograd/ops.h"
#include "nn/dropout.h"
#include "nn/encoder.h"
#include "nn/eval_mode.h"
#include "nn/mlp.h"
#include "nn/nin.h"
#include "nn/resnet.h"
#include "nn/staged.h"
#include "tensor/ops.h"

using namespace tacit;
using namespace tacit::nn;

namespace {

Tensor images(int64_t n, int64_t size, int64_t channels) { return Tensor::normal({n, size, size, channels}, 1, 2); }

std::vector<float> flat(const Tensor& t) { return t.contiguous_copy_if_needed().to_vector<float>(); }

}  // namespace

TEST_CASE("ResNets have torchvision's names, shapes and numbers of parameters") {
  ResNet r18({.classes = 1000});
  CHECK(r18.parameter_count() == 11'689'512);
  CHECK(ResNet({.depth = 34, .classes = 1000}).parameter_count() == 21'797'672);
  CHECK(ResNet({.depth = 50, .classes = 1000}).parameter_count() == 25'557'032);
  const StateDict state = state_dict(r18);
  CHECK(state.size() == 122);
  CHECK(state.at("conv1.weight").shape() == Shape{64, 3, 7, 7});
  CHECK(state.at("layer1.0.bn2.running_var").shape() == Shape{64});
  CHECK(state.at("layer2.0.downsample.0.weight").shape() == Shape{128, 64, 1, 1});
  CHECK(state.at("layer4.1.conv2.weight").shape() == Shape{512, 512, 3, 3});
  CHECK(state.at("bn1.num_batches_tracked").dtype() == i64);
  CHECK(state.at("fc.weight").shape() == Shape{1000, 512});
  ResNet r50({.depth = 50, .width = 8});
  CHECK(state_dict(r50).at("layer3.5.conv3.weight").shape() == Shape{128, 32, 1, 1});
  CHECK(make_encoder({.name = "small_cnn", .channels = 1}).parameter_count() == 388'320);
  CHECK_THROWS_WITH_AS(make_encoder({.name = "resnet19"}), doctest::Contains("known: resnet18"), Error);
}

TEST_CASE("RotNet's network-in-network: sizes of its maps, numbers of its parameters") {
  Encoder nin = make_encoder({.name = "nin"});
  // 5x5, 1x1, 1x1 with 192, 160, 96 channels; 5x5, 1x1, 1x1 with 192; two blocks of 3x3, 1x1, 1x1; a gain and bias
  // each.
  const int64_t convs = 25 * 3 * 192 + 192 * 160 + 160 * 96 + 25 * 96 * 192 + 2 * 192 * 192 + 2 * 11 * 192 * 192;
  CHECK(nin.parameter_count() == convs + 2 * (192 + 160 + 96 + 9 * 192));
  CHECK(state_dict(nin).at("block1.conv3.weight").shape() == Shape{96, 160, 1, 1});
  Encoder narrow = make_encoder({.name = "nin", .width = 24, .channels = 1, .seed = 3});
  CHECK(state_dict(narrow).at("block1.conv2.weight").shape() == Shape{20, 24, 1, 1});
  CHECK(narrow.stages() == std::vector<std::string>{"block1", "block2", "block3", "block4"});
  const auto maps = [](Nin net) {
    std::vector<Shape> shapes;
    for (int i = 1; i <= net.stages().second; ++i) shapes.push_back(net.stage_map(images(2, 32, 3), i).shape());
    return shapes;
  };
  const Shape half{2, 16, 16, 6}, quarter{2, 8, 8, 12}, eighth{2, 4, 4, 12};
  CHECK(maps(Nin({.blocks = 4, .width = 12})) == std::vector<Shape>{half, quarter, quarter, quarter});
  CHECK(maps(Nin({.blocks = 3, .width = 12, .pool_third = true})) == std::vector<Shape>{half, quarter, quarter});
  CHECK(maps(Nin({.blocks = 5, .width = 12, .pool_third = true})) ==
        std::vector<Shape>{half, quarter, eighth, eighth, eighth});
  CHECK_THROWS_WITH_AS(Nin({.blocks = 2}), doctest::Contains("3 to 5 blocks, not 2"), Error);
  // N(0, 2 / (25 * 24)) in the first convolution
  double squares = 0;
  const std::vector<float> first = flat(state_dict(narrow).at("block1.conv1.weight"));
  for (const float w : first) squares += static_cast<double>(w) * w;
  CHECK(std::sqrt(squares / static_cast<double>(first.size())) ==
        doctest::Approx(std::sqrt(2.0 / (25 * 24))).epsilon(0.1));
}

TEST_CASE("every parameter that lives is visited") {
  const int64_t before = Parameter::live_count();
  for (const std::string& name : encoder_names()) {
    Encoder encoder = make_encoder({.name = name, .width = 8});
    CHECK(Parameter::live_count() - before == static_cast<int64_t>(encoder.named_parameters().size()));
    Encoder copy = encoder;
    CHECK(Parameter::live_count() - before == 2 * static_cast<int64_t>(encoder.named_parameters().size()));
  }
  CHECK(Parameter::live_count() == before);
}

TEST_CASE("a copy shares nothing; assignment writes into the leaves that are there") {
  Encoder a = make_encoder({.name = "small_cnn", .width = 4, .seed = 1});
  Encoder b = a;
  const Variable leaf = b.named_parameters()[0].second->variable();
  const std::vector<float> before = flat(leaf.value());
  CHECK_FALSE(a.named_parameters()[0].second->value().shares_memory_with(leaf.value()));
  mean(square(a(images(4, 16, 3)))).backward();
  CHECK_FALSE(leaf.grad().defined());
  CHECK(flat(b.named_buffers()[0].second->value()) != flat(a.named_buffers()[0].second->value()));
  Encoder c = make_encoder({.name = "small_cnn", .width = 4, .seed = 2});
  b = c;
  CHECK(flat(leaf.value()) == flat(c.named_parameters()[0].second->value()));
  CHECK(flat(leaf.value()) != before);
}

TEST_CASE("a frozen copy is constant and keeps its own mode and statistics") {
  Encoder online = make_encoder({.name = "resnet18", .width = 4});
  Frozen<Encoder> target(online);
  for (const auto& p : target.named_parameters()) CHECK_FALSE(p.second->variable().requires_grad());
  target.eval();
  CHECK(online.training());
  const std::vector<float> before = flat(target.named_buffers()[0].second->value());
  online(images(2, 16, 3));
  CHECK(flat(target.named_buffers()[0].second->value()) == before);
  const Tensor y = target(images(2, 16, 3));
  CHECK(y.shape() == Shape{2, 32});
}

TEST_CASE("the last map of an encoder: its average is the features; a stage's map is its features before that") {
  for (const std::string name : {"resnet18", "resnet50", "small_cnn", "nin"}) {
    CAPTURE(name);
    Encoder encoder = make_encoder({.name = name, .width = 8, .seed = 1});
    encoder.eval();
    const Tensor x = images(2, 32, 3);
    const Variable map = encoder.map(x);
    REQUIRE(map.rank() == 4);
    CHECK(map.size(1) > 1);
    CHECK(map.size(3) == encoder.features());
    CHECK(max_abs_difference(mean(map, {1, 2}).value(), encoder(x).value()) < 1e-6);
    const Variable first = encoder.as<Staged>()->stage_map(x, 1);
    CHECK(first.size(1) > map.size(1));
    CHECK(max_abs_difference(mean(first, {1, 2}).value(), encoder.stage(encoder.stages()[0], x).value()) < 1e-6);
  }
  struct Rows : Linear {
    Rows() : Linear(4, 2) {}
    int64_t features() const { return 2; }
  };
  CHECK_THROWS_WITH_AS(Encoder(Rows()).map(images(1, 4, 4)), doctest::Contains("no stages"), Error);
  struct Tokens : Rows, Staged {
    std::pair<std::string, int> stages() const override { return {"block", 1}; }
  };
  CHECK_THROWS_WITH_AS(Encoder(Tokens()).map(images(1, 4, 4)), doctest::Contains("no spatial map"), Error);
}

TEST_CASE("checkpointed encoders: the same bits of features, gradients and running statistics, in less memory") {
  for (const std::string name : {"resnet18", "resnet50", "vit_micro"}) {
    CAPTURE(name);
    EncoderOptions options{.name = name, .width = 16, .image_size = 32};
    options.drop_path = name == "vit_micro" ? 0.3 : 0;
    const auto step = [&](bool checkpointed, int64_t* kept) {
      options.checkpoint_activations = checkpointed;
      Encoder encoder = make_encoder(options);
      set_dropout_step(encoder, 1, 5);
      const Tensor x = images(6, 32, 3);
      CachingAllocator& allocator = default_device().allocator();
      const int64_t before = allocator.statistics().live_bytes;
      const Variable h = encoder(x);
      *kept = allocator.statistics().live_bytes - before;
      mean(square(h) * h).backward();
      std::map<std::string, std::vector<float>> result = {{"features", flat(h.value())}};
      for (const auto& [key, p] : encoder.named_parameters()) result["d" + key] = flat(p->variable().grad());
      for (const auto& [key, t] : state_dict(encoder))
        if (t.dtype() == f32) result[key] = flat(t);
      return result;
    };
    int64_t plain = 0, less = 0;
    const auto expected = step(false, &plain), got = step(true, &less);
    CHECK(got == expected);
    CHECK(less * 2 < plain);
  }
}

TEST_CASE("initial values depend on seed, path and shape alone") {
  Encoder a = make_encoder({.name = "resnet18", .width = 8, .seed = 3}),
          b = make_encoder({.name = "resnet18", .width = 8, .seed = 3});
  CHECK(flat(state_dict(a).at("layer3.0.conv1.weight")) == flat(state_dict(b).at("layer3.0.conv1.weight")));
  CHECK(flat(state_dict(a).at("layer3.1.conv1.weight")) != flat(state_dict(a).at("layer3.1.conv2.weight")));
  Encoder other = make_encoder({.name = "resnet18", .width = 8, .seed = 4});
  CHECK(flat(state_dict(a).at("conv1.weight")) != flat(state_dict(other).at("conv1.weight")));

  const Tensor w = Init::kaiming_normal(Fan::Out).draw({64, 3, 3, 32}, Layout::ConvOHWI, 0, "w");
  double sum = 0, squares = 0;
  for (const float v : flat(w)) {
    sum += v;
    squares += static_cast<double>(v) * v;
  }
  const auto n = static_cast<double>(w.numel());
  CHECK(std::abs(sum / n) < 0.002);
  CHECK(std::sqrt(squares / n) == doctest::Approx(std::sqrt(2.0 / (9 * 64))).epsilon(0.02));
  // 64 outputs of 36 inputs: He's and Glorot's bounds and deviations.
  const auto largest = [](const Init& init) {
    float most = 0;
    for (const float v : flat(init.draw({64, 36}, Layout::Plain, 0, "w"))) most = std::max(most, std::abs(v));
    return most;
  };
  CHECK(largest(Init::kaiming_uniform()) == doctest::Approx(std::sqrt(6.0 / 36)).epsilon(0.01));
  CHECK(largest(Init::kaiming_uniform(Fan::Out, 1)) == doctest::Approx(std::sqrt(3.0 / 64)).epsilon(0.01));
  CHECK(largest(Init::xavier_uniform()) == doctest::Approx(std::sqrt(6.0 / 100)).epsilon(0.01));
  double square = 0;
  const std::vector<float> xavier = flat(Init::xavier_normal(2).draw({64, 36}, Layout::Plain, 0, "w"));
  for (const float v : xavier) square += double{v} * v / static_cast<double>(xavier.size());
  CHECK(std::sqrt(square) == doctest::Approx(2 * std::sqrt(2.0 / 100)).epsilon(0.05));
  for (const float v : flat(Init::torch_default().draw({10, 25}, Layout::Plain, 0, "w"))) CHECK(std::abs(v) <= 0.2f);
  for (const float v : flat(Init::truncated_normal(1, -1, 1).draw({100, 10}, Layout::Plain, 0, "w")))
    CHECK(std::abs(v) <= 1);
}

TEST_CASE("states: a round trip, and nothing is written unless everything fits") {
  Encoder a = make_encoder({.name = "small_cnn", .width = 4, .seed = 1}),
          b = make_encoder({.name = "small_cnn", .width = 4, .seed = 2});
  StateDict state = state_dict(a);
  load_state(b, state);
  CHECK(flat(b(images(2, 16, 3)).value()) == flat(a(images(2, 16, 3)).value()));
  Encoder c = make_encoder({.name = "small_cnn", .width = 4, .seed = 5});
  const std::vector<float> before = flat(state_dict(c).at("conv1.weight"));
  StateDict missing = state, extra = state, wrong = state;
  missing.erase("bn4.bias");
  extra["fc.weight"] = Tensor::ones({2});
  wrong["conv4.weight"] = Tensor::ones({2, 2, 3, 3});
  CHECK_THROWS_WITH_AS(load_state(c, missing), doctest::Contains("missing: bn4.bias"), Error);
  CHECK_THROWS_WITH_AS(load_state(c, extra), doctest::Contains("unexpected: fc.weight"), Error);
  CHECK_THROWS_WITH_AS(load_state(c, wrong), doctest::Contains("conv4.weight has shape"), Error);
  CHECK(flat(state_dict(c).at("conv1.weight")) == before);
  CHECK(load_state(c, extra, false).unexpected == std::vector<std::string>{"fc.weight"});
}

TEST_CASE("an MLP head is torch's Sequential; modes reach every part") {
  MLP head(8, {16, 4});
  std::set<std::string> names;
  for (const auto& p : head.named_parameters()) names.insert(p.first);
  CHECK(names == std::set<std::string>{"0.weight", "1.weight", "1.bias", "3.weight", "3.bias"});
  head.eval();
  const Tensor x = Tensor::normal({3, 8}, 0, 1);
  const std::vector<float> once = flat(head(x).value());
  CHECK(flat(head(x).value()) == once);
  head.train();
  CHECK(flat(head(x).value()) != once);
}

TEST_CASE("EvalMode gives every part its own mode back") {
  struct Inner : Module {
    void visit(Visitor&) override {}
  };
  struct Outer : Module {
    Inner frozen, live;
    void visit(Visitor& v) override {
      v("frozen", frozen);
      v("live", live);
    }
  } outer;
  outer.frozen.eval();
  {
    EvalMode mode(outer);
    CHECK_FALSE(outer.training());
    CHECK_FALSE(outer.live.training());
  }
  CHECK(outer.training());
  CHECK(outer.live.training());
  CHECK_FALSE(outer.frozen.training());
}

TEST_CASE("Dropout: zeros at its rate, the rest made larger, one mask a step, nothing in evaluation") {
  Dropout dropout(0.25);
  const Variable x(Tensor::ones({100, 100}));
  CHECK_THROWS_WITH_AS(dropout(x), doctest::Contains("set_dropout_step"), Error);
  set_dropout_step(dropout, 3, 0);
  const std::vector<float> first = flat(dropout(x).value());
  int64_t zeros = 0;
  for (const float v : first) {
    zeros += v == 0;
    CHECK((v == 0 || v == doctest::Approx(1 / 0.75)));
  }
  CHECK(zeros > 2300);
  CHECK(zeros < 2700);
  CHECK(flat(dropout(x).value()) == first);
  set_dropout_step(dropout, 3, 1);
  CHECK(flat(dropout(x).value()) != first);
  dropout.eval();
  CHECK(flat(dropout(x).value()) == flat(x.value()));
}
