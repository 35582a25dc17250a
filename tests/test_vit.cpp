// Vision Transformers: names and sizes as in timm, tokens left out, stages, position embeddings, drop path, mistakes.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "autograd/ops.h"
#include "nn/encoder.h"
#include "nn/position_embedding.h"
#include "nn/vit.h"
#include "optim/adamw.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::nn;
using namespace tacit::testing;

namespace {

ViTOptions small(Pool pool = Pool::Cls) {
  return {.dim = 16, .depth = 2, .heads = 2, .patch = 4, .image_h = 12, .image_w = 8, .channels = 1, .pool = pool};
}

Tensor images_for(const ViTOptions& o, int64_t n) {
  return Tensor::normal({n, o.image_h, o.image_w, o.channels}, 1, 2);
}

std::set<std::string> names_of(Module& m) {
  std::set<std::string> names;
  for (const auto& entry : state_dict(m)) names.insert(entry.first);
  return names;
}

}  // namespace

TEST_CASE("ViTs have timm's names, shapes and numbers of parameters") {
  ViT tiny;
  CHECK(tiny.parameter_count() == 5'524'416);
  CHECK(ViT({.dim = 384, .heads = 6}).parameter_count() == 21'665'664);
  {
    const DeferInit defer;  // its numbers are not looked at
    CHECK(ViT({.dim = 768, .heads = 12}).parameter_count() == 85'798'656);
  }
  const StateDict state = state_dict(tiny);
  CHECK(state.size() == 150);
  CHECK(state.at("cls_token").shape() == Shape{1, 1, 192});
  CHECK(state.at("pos_embed").shape() == Shape{1, 197, 192});
  CHECK(state.at("patch_embed.proj.weight").shape() == Shape{192, 3, 16, 16});
  CHECK(state.at("blocks.11.attn.qkv.weight").shape() == Shape{576, 192});
  CHECK(state.at("blocks.0.mlp.fc1.weight").shape() == Shape{768, 192});

  const std::set<std::string> block = {"norm1.weight",     "norm1.bias",     "attn.qkv.weight", "attn.qkv.bias",
                                       "attn.proj.weight", "attn.proj.bias", "norm2.weight",    "norm2.bias",
                                       "mlp.fc1.weight",   "mlp.fc1.bias",   "mlp.fc2.weight",  "mlp.fc2.bias"};
  std::set<std::string> expected = {"cls_token",   "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias",
                                    "norm.weight", "norm.bias"};
  for (const char* i : {"0", "1"})
    for (const std::string& name : block) expected.insert("blocks." + std::string(i) + "." + name);
  ViT cls(small()), mean(small(Pool::Mean));
  CHECK(names_of(cls) == expected);
  expected.erase("norm.weight"), expected.erase("norm.bias");
  expected.insert("fc_norm.weight"), expected.insert("fc_norm.bias");
  CHECK(names_of(mean) == expected);
}

TEST_CASE("fixed positions are a buffer of the same name") {
  ViTOptions o = small();
  o.position = Position::SinCos;
  ViT fixed(o), learned(small());
  CHECK(names_of(fixed) == names_of(learned));
  CHECK(fixed.named_parameters().size() + 1 == learned.named_parameters().size());
  REQUIRE(fixed.named_buffers().size() == 1);
  CHECK(max_abs_difference(fixed.named_buffers()[0].second->value(), sincos_position_embedding(16, 3, 2, true)) == 0);
}

TEST_CASE("sin-cos: zeros for the class token, the column in the first half, the row in the second") {
  const Tensor t = sincos_position_embedding(8, 2, 3, true);
  REQUIRE(t.shape() == Shape{1, 7, 8});
  check_values(t.slice(1, 0, 1), {0, 0, 0, 0, 0, 0, 0, 0});
  check_values(t.slice(1, 6, 7), {std::sin(2), std::sin(0.02), std::cos(2), std::cos(0.02),  // column 2
                                  std::sin(1), std::sin(0.01), std::cos(1), std::cos(0.01)});
  CHECK(max_abs_difference(sincos_position_embedding(8, 2, 3, false), t.slice(1, 1, 7)) == 0);
  CHECK_THROWS_WITH_AS(sincos_position_embedding(6, 2, 2, false), doctest::Contains("multiple of 4, got 6"), Error);
}

TEST_CASE("a subset of tokens is encoded as if the others did not exist") {
  for (const Pool pool : {Pool::Cls, Pool::Mean}) {
    ViT net(small(pool));
    CHECK(net.tokens() == 6);
    const Tensor x = images_for(net.options(), 3);
    const Variable tokens = net.patches(x);
    REQUIRE(tokens.shape() == Shape{3, 6, 16});
    const Variable all = net.encode_tokens(tokens);
    REQUIRE(all.shape() == Shape{3, 7, 16});
    CHECK(net.encode_tokens(slice(tokens, 1, 2, 4)).shape() == Shape{3, 3, 16});
    CHECK(net.encode_tokens(slice(tokens, 1, 0, 0)).shape() == Shape{3, 1, 16});
    // Attention knows no order: positions were added before, so a permutation of the tokens permutes the results.
    const Variable turned = concatenate(std::vector<Variable>{slice(tokens, 1, 2, 6), slice(tokens, 1, 0, 2)}, 1);
    const Tensor y = net.encode_tokens(turned).value();
    CHECK(max_abs_difference(y.slice(1, 0, 1), all.value().slice(1, 0, 1)) < 1e-5);
    CHECK(max_abs_difference(y.slice(1, 1, 5), all.value().slice(1, 3, 7)) < 1e-5);
    const Tensor pooled = pool == Pool::Cls ? all.value().select(1, 0) : Tensor();
    if (pooled.defined()) CHECK(max_abs_difference(net(x).value(), pooled) == 0);
  }
}

TEST_CASE("patches of chosen pixels are those of the whole image, with the same gradients") {
  for (const Position position : {Position::Learned, Position::SinCos}) {
    ViTOptions o = small();
    o.position = position;
    ViT vit(o);
    const Tensor images = images_for(o, 3);
    const Tensor index = Tensor::from(std::vector<int64_t>{5, 0, 2, 2, 4, 1}, {3, 2}), column = index.unsqueeze(2);
    // (N, 3, 4, 2, 4, 1) -> the six patches of 16 pixels
    const Tensor pixels = images.reshape({3, 3, 4, 2, 4, 1}).permute({0, 1, 3, 2, 4, 5}).reshape({3, 6, 16});
    const auto run = [&](bool whole) {
      vit.zero_grad();
      const Variable y = whole ? gather(vit.patches(images), 1, column) : vit.patches(gather(pixels, 1, column), index);
      y.backward(Tensor::normal(y.shape(), 7, 8));
      std::vector<Tensor> all{y.value()};
      for (const auto& [name, p] : vit.named_parameters())
        if (p->variable().grad().defined()) all.push_back(p->variable().grad());
      return all;
    };
    const auto some = run(false), whole = run(true);
    REQUIRE(some.size() == (position == Position::Learned ? 4 : 3));
    REQUIRE(whole.size() == some.size());
    for (size_t i = 0; i < some.size(); ++i) CHECK(max_abs_difference(some[i], whole[i]) < 1e-5);
  }
}

TEST_CASE("a block's last tokens alone are those of all, with the same gradients") {
  const auto run = [](bool cut) {
    Block block({.dim = 8, .heads = 2});
    initialize(block, 3);
    const Variable x = Variable::leaf(Tensor::normal({3, 5, 8}, 1, 2));
    const Variable y = cut ? block(x, 2) : slice(block(x), 1, 2, 5);
    y.backward(Tensor::normal({3, 3, 8}, 3, 4));
    std::vector<Tensor> all{y.value(), x.grad()};
    for (const auto& [name, p] : block.named_parameters()) all.push_back(p->variable().grad());
    return all;
  };
  const auto cut = run(true), whole = run(false);
  REQUIRE(cut.size() == 14);
  for (size_t i = 0; i < cut.size(); ++i) CHECK(max_abs_difference(cut[i], whole[i]) < 1e-5);
  MultiheadAttention attention(8, 2);
  CHECK_THROWS_WITH_AS(attention(Tensor::zeros({1, 5, 8}), 5), doctest::Contains("no token 5 of 5"), Error);
}

TEST_CASE("stages: the mean of the patch tokens after each block, the network's own features after the last") {
  Encoder encoder(ViT(small(Pool::Mean)));
  CHECK(encoder.stages() == std::vector<std::string>{"block1", "block2"});
  const Tensor x = images_for(small(), 2);
  CHECK(encoder.stage("block1", x).shape() == Shape{2, 16});
  CHECK(max_abs_difference(encoder.stage("block2", x).value(), encoder(x).value()) == 0);
  CHECK(max_abs_difference(encoder.stage("block1", x).value(), encoder(x).value()) > 0.01);
}

TEST_CASE("mean of normalised tokens: fc_norm false is timm's too") {
  ViTOptions o = small(Pool::Mean);
  o.fc_norm = false;
  ViT net(o), cls(small());
  CHECK(names_of(net) == names_of(cls));
  const Tensor x = images_for(o, 2);
  const Tensor tokens = net.encode_tokens(net.patches(x)).value();
  CHECK(max_abs_difference(net(x).value(), mean(tokens.slice(1, 1, 7), {1})) == 0);
}

TEST_CASE("initial values are MAE's") {
  ViT net({.dim = 64, .depth = 2, .heads = 4, .patch = 4, .image_h = 16, .image_w = 16, .seed = 3});
  const StateDict state = state_dict(net);
  const auto std_of = [](const Tensor& t) { return std::sqrt(mean(square(t)).item()); };
  const auto largest = [](const Tensor& t) { return amax(abs(t)).item(); };
  const Tensor qkv = state.at("blocks.1.attn.qkv.weight"), proj = state.at("patch_embed.proj.weight");
  CHECK(std::abs(std_of(qkv) / std::sqrt(2.0 / (64 + 192)) - 1) < 0.03);
  CHECK(largest(qkv) <= std::sqrt(6.0 / (64 + 192)));
  CHECK(std::abs(std_of(proj) / std::sqrt(2.0 / (48 + 64)) - 1) < 0.03);
  CHECK(largest(state.at("blocks.0.mlp.fc1.bias")) == 0);
  CHECK(largest(state.at("patch_embed.proj.bias")) > 0);
  CHECK(std::abs(std_of(state.at("cls_token")) / 0.02 - 1) < 0.3);
  CHECK(std::abs(std_of(state.at("pos_embed")) / 0.02 - 1) < 0.1);
}

TEST_CASE("every encoder called vit_*: sizes, default patches, one gradient for each parameter") {
  for (const auto& [image, patch] :
       std::map<int64_t, int64_t>{{8, 1}, {28, 4}, {32, 4}, {36, 4}, {48, 6}, {64, 8}, {96, 16}, {224, 16}})
    CHECK(default_patch_size(image) == patch);
  CHECK(make_encoder({.name = "vit_micro"}).features() == 128);
  CHECK(make_encoder({.name = "vit_tiny", .width = 64}).features() == 64);
  CHECK_THROWS_WITH_AS(make_encoder({.name = "vit_tiny", .width = 100}), doctest::Contains("multiple of"), Error);
  CHECK_THROWS_WITH_AS(make_encoder({.name = "vit_tiny", .pool = "max"}), doctest::Contains("known: cls, mean"), Error);
  CHECK_THROWS_WITH_AS(make_encoder({.name = "vit_tiny", .position = "none"}),
                       doctest::Contains("known: sincos, learned"), Error);
  for (const char* pool : {"cls", "mean"}) {
    Encoder e = make_encoder({.name = "vit_micro", .width = 32, .image_size = 28, .channels = 1, .pool = pool});
    CHECK(e.as<ViT>()->grid_h() == 7);
    mean(square(e(Tensor::normal({2, 28, 28, 1}, 5, 6)))).backward();
    for (const auto& p : e.named_parameters()) {
      CAPTURE(p.first);
      REQUIRE(p.second->variable().grad().defined());
      CHECK(sum(p.second->variable().grad()).item_is_finite());
    }
  }
}

TEST_CASE("patches and images that do not fit are named") {
  ViTOptions o = small();
  o.patch = 5;
  CHECK_THROWS_WITH_AS(ViT{o}, doctest::Contains("--patch-size 5 does not divide images of 12 x 8"), Error);
  CHECK_THROWS_WITH_AS(make_encoder({.name = "vit_micro", .image_size = 100}), doctest::Contains("--patch-size 16"),
                       Error);
  ViT net(small());
  CHECK_THROWS_WITH_AS(net(Tensor::zeros({2, 8, 12, 1})), doctest::Contains("made for images (N, 12, 8, 1)"), Error);
  CHECK_THROWS_WITH_AS(net.encode_tokens(Tensor::zeros({2, 6, 8})), doctest::Contains("(N, T, 16)"), Error);
  CHECK_THROWS_WITH_AS(MultiheadAttention(10, 3), doctest::Contains("not a multiple of 3 heads"), Error);
}

TEST_CASE("drop path: whole samples, a function of seed, path and step, off in evaluation") {
  ViTOptions o = small();
  o.drop_path = 0.5;
  ViT net(o);
  const Tensor x = images_for(o, 16);
  CHECK_THROWS_WITH_AS(net(x), doctest::Contains("set_dropout_step"), Error);
  set_dropout_step(net, 1, 0);
  const Tensor a = net(x).value();
  CHECK(max_abs_difference(net(x).value(), a) == 0);
  set_dropout_step(net, 1, 1);
  CHECK(max_abs_difference(net(x).value(), a) > 0);
  net.eval();
  ViT plain(small());
  CHECK(max_abs_difference(net(x).value(), plain(x).value()) == 0);

  const Tensor ones = Tensor::ones({1000, 3, 2});
  const std::vector<double> y = values_of(drop_path(ones, 0.25, 1, 2, 3).value());
  int dropped = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    CHECK((y[i] == 0 || y[i] == doctest::Approx(1 / 0.75)));
    CHECK(y[i] == y[i / 6 * 6]);
    dropped += y[i] == 0;
  }
  CHECK(dropped / 6000.0 == doctest::Approx(0.25).epsilon(0.15));
}

TEST_CASE("attention: large scores neither overflow nor lose the gradient; shapes that do not fit are named") {
  const Tensor q = Tensor::full({1, 1, 3, 4}, 1e4), k = Tensor::normal({1, 1, 700, 4}, 1, 1) * 1e4;
  const Variable v = Variable::leaf(Tensor::normal({1, 1, 700, 2}, 1, 2));
  const Variable y = attention(q, k, v);
  CHECK(sum(y.value()).item_is_finite());
  // The softmax is one-hot: each result is the value of the key with the largest score.
  const auto best = static_cast<int64_t>(argmax(sum(k.select(0, 0).select(0, 0), {1}), 0).item());
  CHECK(max_abs_difference(y.value().select(2, 0), v.value().select(2, best)) < 1e-6);
  sum(y).backward();
  CHECK(sum(v.grad()).item() == doctest::Approx(6));

  CHECK_THROWS_WITH_AS(attention(q, Tensor::zeros({1, 2, 3, 4}), v), doctest::Contains("do not fit"), Error);
  CHECK_THROWS_WITH_AS(attention(q, k.slice(2, 0, 0), v.value().slice(2, 0, 0)), doctest::Contains("at least 1"),
                       Error);
  CHECK_THROWS_WITH_AS(attention(q, k, v, -1), doctest::Contains("positive"), Error);
  CHECK_THROWS_WITH_AS(self_attention(Tensor::zeros({2, 3, 12}), 3), doctest::Contains("the 3 heads"), Error);
  const Variable none = Variable::leaf(Tensor::zeros({2, 0, 12}));
  const Variable empty = self_attention(none, 2);
  CHECK(empty.shape() == Shape{2, 0, 4});
}

TEST_CASE("attention's memory is linear in the tokens") {
  const int64_t tokens = 4096;  // scores would take 64 MiB
  const Variable qkv = Variable::leaf(Tensor::normal({1, tokens, 24}, 1, 3));
  CachingAllocator& allocator = default_device().allocator();
  const int64_t before = allocator.statistics().live_bytes;
  allocator.reset_peak();
  sum(self_attention(qkv, 1)).backward();
  CHECK(allocator.statistics().peak_bytes - before < 8 << 20);
}

TEST_CASE("a vit_micro learns to tell two classes of images apart") {
  Encoder net = make_encoder({.name = "vit_micro", .width = 32, .image_size = 8, .channels = 1, .patch_size = 4});
  Linear head(32, 2);
  optim::AdamW body_optimizer(net, {.lr = 3e-3}), head_optimizer(head, {.lr = 3e-3});
  Tensor x = Tensor::normal({16, 8, 8, 1}, 7, 8);
  std::vector<int64_t> labels(16);
  for (int64_t i = 0; i < 16; ++i) {
    labels[static_cast<size_t>(i)] = i % 2;
    x.select(0, i).slice(static_cast<int>(i % 2), 0, 4).add_(Tensor::ones({1}));  // the upper or the left half
  }
  const Tensor y = Tensor::from(labels, {16});
  double first = 0, last = 0;
  for (int step = 0; step < 40; ++step) {
    const Variable loss = cross_entropy(head(net(x)), y);
    body_optimizer.zero_grad(), head_optimizer.zero_grad();
    loss.backward();
    body_optimizer.step(), head_optimizer.step();
    (step == 0 ? first : last) = loss.item();
  }
  CHECK(first > 0.4);
  CHECK(last < 0.1);
}
