// Optimisers: steps by hand, groups, clipping, states, the schedule.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/linear.h"
#include "optim/adamw.h"
#include "optim/schedule.h"
#include "optim/sgd.h"

using namespace tacit;
using namespace tacit::optim;

namespace {

/// One parameter w = {1, -2} of rank 2 and a bias {0.5}, in f64; gradient of the loss: {0.5, 1} and {2}.
struct Toy {
  Toy() : layer(2, 1) {
    layer.to(f64);
    layer.weight.variable().assign_(Tensor::from(std::vector<double>{1, -2}, {1, 2}));
    layer.bias.variable().assign_(Tensor::from(std::vector<double>{0.5}, {1}));
  }
  void backward() {
    layer.zero_grad();
    const Tensor g = Tensor::from(std::vector<double>{0.5, 1}, {1, 2});
    (sum(layer.weight.variable() * g) + sum(layer.bias.variable() * 2.0)).backward();
  }
  std::vector<double> weight() const { return layer.weight.value().to_vector<double>(); }
  double bias() const { return layer.bias.value().item(); }
  nn::Linear layer;
};

}  // namespace

TEST_CASE("SGD: momentum, weight decay on matrices alone, nesterov, by hand") {
  for (const bool nesterov : {false, true}) {
    Toy toy;
    SGD sgd(toy.layer, {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = nesterov});
    double w = 1, b = 0.5, mw = 0, mb = 0;
    for (int step = 0; step < 3; ++step) {
      toy.backward();
      sgd.set_lr(0.1 / (step + 1));
      sgd.step();
      const double gw = 0.5 + 0.01 * w;
      mw = 0.9 * mw + gw;
      mb = 0.9 * mb + 2;
      w -= sgd.lr() * (nesterov ? gw + 0.9 * mw : mw);
      b -= sgd.lr() * (nesterov ? 2 + 0.9 * mb : mb);
      CHECK(toy.weight()[0] == doctest::Approx(w).epsilon(1e-14));
      CHECK(toy.bias() == doctest::Approx(b).epsilon(1e-14));
    }
  }
}

TEST_CASE("AdamW: decoupled decay and corrected moments, by hand") {
  Toy toy;
  AdamW adam(toy.layer, {.lr = 0.1, .weight_decay = 0.05});
  double w = -2, m = 0, v = 0;
  for (int t = 1; t <= 3; ++t) {
    toy.backward();
    adam.step();
    w *= 1 - 0.1 * 0.05;
    m = 0.9 * m + 0.1;
    v = 0.999 * v + 0.001;
    w -= 0.1 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
    CHECK(toy.weight()[1] == doctest::Approx(w).epsilon(1e-12));
  }
  CHECK(adam.steps() == 3);
}

TEST_CASE("groups: vectors without decay by default; describe names them") {
  Toy toy;
  const auto groups = default_groups(toy.layer, 0.3);
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].names == std::vector<std::string>{"weight"});
  CHECK(groups[0].weight_decay == 0.3);
  CHECK(groups[1].names == std::vector<std::string>{"bias"});
  CHECK(groups[1].weight_decay == 0);
  CHECK(single_group(toy.layer, 0.3)[0].names.size() == 2);
  SGD sgd(toy.layer, {.lr = 1, .weight_decay = 0.3});
  CHECK(sgd.describe().find("decay: 1 tensor, 2 values, weight decay 0.3") != std::string::npos);
  nn::Linear frozen(2, 2);
  frozen.freeze();
  CHECK_THROWS_WITH_AS(SGD(frozen, {}), doctest::Contains("no parameters"), Error);
}

TEST_CASE("clipping scales all gradients together") {
  Toy toy;
  SGD sgd(toy.layer, {.lr = 1});
  CHECK_THROWS_WITH_AS(sgd.step(), doctest::Contains("backward()"), Error);
  toy.backward();
  const double norm = std::sqrt(0.25 + 1 + 4);
  CHECK(sgd.clip_grad_norm(0).item() == doctest::Approx(norm));
  CHECK(sgd.clip_grad_norm(10).item() == doctest::Approx(norm));
  CHECK(toy.layer.bias.variable().grad().item() == 2);
  CHECK(sgd.clip_grad_norm(1).item() == doctest::Approx(norm));
  CHECK(sgd.clip_grad_norm(0).item() == doctest::Approx(1).epsilon(1e-5));
}

TEST_CASE("states: going on from a saved one gives the same bits; foreign ones are refused whole") {
  Toy a, b;
  AdamW first(a.layer, {.lr = 0.1}), second(b.layer, {.lr = 0.1});
  for (int i = 0; i < 2; ++i) {
    a.backward();
    first.step();
  }
  b.layer = a.layer;
  second.load_state(first.state());
  CHECK(second.steps() == 2);
  for (Toy* toy : {&a, &b}) toy->backward();
  first.step();
  second.step();
  CHECK(a.weight() == b.weight());
  nn::StateDict state = first.state();
  CHECK(state.size() == 5);
  state.erase("exp_avg.weight");
  CHECK_THROWS_WITH_AS(second.load_state(state), doctest::Contains("lacks exp_avg.weight"), Error);
  SGD other(b.layer, {.lr = 0.1, .momentum = 0.9});
  CHECK_THROWS_WITH_AS(other.load_state(first.state()), doctest::Contains("momentum_buffer"), Error);
}

TEST_CASE("warm-up and cosine") {
  CHECK(warmup_cosine(0, 4, 20, 2) == 0.5);
  CHECK(warmup_cosine(3, 4, 20, 2) == 2);
  CHECK(warmup_cosine(4, 4, 20, 2) == 2);
  CHECK(warmup_cosine(12, 4, 20, 2) == doctest::Approx(1));
  CHECK(warmup_cosine(20, 4, 20, 2) == 0);
  CHECK(warmup_cosine(0, 0, 20, 2) == 2);
  CHECK_THROWS_AS(warmup_cosine(0, 5, 4, 1), Error);
}

namespace {

/// A ViT's names: what stands before the blocks, one block, and a head.
class Names : public nn::Module {
 public:
  Names() : block(2, 2), head(2, 1) {
    cls_token = nn::Parameter(Tensor::ones({1, 1, 2}));
    mask_token = nn::Parameter(Tensor::ones({1, 1, 2}));
  }
  void visit(nn::Visitor& v) override {
    v("encoder.cls_token", cls_token);
    v("mask_token", mask_token);
    v("blocks.0", block);
    v("head", head);
  }
  nn::Parameter cls_token, mask_token;
  nn::Linear block, head;
};

using Strings = std::vector<std::string>;

}  // namespace

TEST_CASE("groups: tokens are decayed by their rank, unless they are named") {
  Names model;
  CHECK(default_groups(model, 0.1)[0].names ==
        Strings{"encoder.cls_token", "mask_token", "blocks.0.weight", "head.weight"});
  const auto groups = default_groups(model, 0.1, {"cls_token", "ask_token", "pos_embed"});
  CHECK(groups[0].names == Strings{"mask_token", "blocks.0.weight", "head.weight"});
  CHECK(groups[1].names == Strings{"encoder.cls_token", "blocks.0.bias", "head.bias"});
  CHECK(groups[0].weight_decay == 0.1);
  CHECK(groups[0].adapt);
  CHECK(groups[1].weight_decay == 0);
  CHECK_FALSE(groups[1].adapt);
}

TEST_CASE("layer-wise decay: scales by layer, decay by rank and name, as BEiT and MAE have it") {
  Names model;
  const auto layer_of = [](const std::string& name) {
    return name.starts_with("blocks.") ? 1 : name.starts_with("head.") ? 2 : 0;
  };
  const auto groups = layer_decay_groups(model, 0.05, 0.75, layer_of, {"cls_token"});
  REQUIRE(groups.size() == 6);
  const Strings names = {"layer_0_decay",    "layer_0_no_decay", "layer_1_decay",
                         "layer_1_no_decay", "layer_2_decay",    "layer_2_no_decay"};
  for (size_t i = 0; i < groups.size(); ++i) {
    CHECK(groups[i].name == names[i]);
    CHECK(groups[i].lr_scale == doctest::Approx(std::pow(0.75, 2 - static_cast<double>(i / 2))));
    CHECK(groups[i].weight_decay == (i % 2 == 0 ? 0.05 : 0));
  }
  CHECK(groups[0].names == Strings{"mask_token"});
  CHECK(groups[1].names == Strings{"encoder.cls_token"});
  CHECK(groups[5].names == Strings{"head.bias"});
  SGD sgd(groups, {.lr = 1});
  CHECK(sgd.describe().find("layer_0_decay: 1 tensor, 2 values, weight decay 0.05, lr x 0.5625\n") == 0);
  sum(model.block.bias.variable() + model.head.bias.variable()).backward();
  const double block = model.block.bias.value().to_vector<float>()[0], head = model.head.bias.value().item();
  sgd.step();
  CHECK(model.block.bias.value().to_vector<float>()[0] == doctest::Approx(block - 0.75));
  CHECK(model.head.bias.value().item() == doctest::Approx(head - 2));
  CHECK_THROWS_AS(layer_decay_groups(model, 0.05, 0, layer_of), Error);
  CHECK_THROWS_WITH_AS(layer_decay_groups(model, 0.05, 0.75, [](const std::string&) { return -1; }),
                       doctest::Contains("layer -1"), Error);
}

TEST_CASE("AdamW: MAE's betas") {
  Toy toy;
  AdamW adam(toy.layer, {.lr = 0.1, .weight_decay = 0, .beta1 = 0.9, .beta2 = 0.95});
  double w = -2, m = 0, v = 0;
  for (int t = 1; t <= 3; ++t) {
    toy.backward();
    adam.set_lr(0.1 / t);
    adam.step();
    m = 0.9 * m + 0.1;
    v = 0.95 * v + 0.05;
    w -= 0.1 / t * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.95, t))) + 1e-8);
    CHECK(toy.weight()[1] == doctest::Approx(w).epsilon(1e-12));
  }
}
