// Bugs that masked autoencoders are known for, each as a test that fails when it is put in.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "autograd/ops.h"
#include "nn/encoder.h"
#include "nn/position_embedding.h"
#include "ssl/methods/mae.h"
#include "tensor/random.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

constexpr int64_t kHeight = 8, kWidth = 12, kChannels = 2, kPatch = 4, kPatches = 6;

MAE small_mae(bool norm_pixels = true) {
  return MAE(
      nn::Encoder(nn::ViT({.dim = 16,
                           .depth = 1,
                           .heads = 2,
                           .patch = kPatch,
                           .image_h = kHeight,
                           .image_w = kWidth,
                           .channels = kChannels,
                           .position = nn::Position::SinCos,
                           .seed = 2})),
      {.mask_ratio = 0.5, .decoder = {.dim = 16, .depth = 1, .heads = 2}, .norm_pixels = norm_pixels, .seed = 2});
}

Tensor images_of(int64_t n) { return Tensor::normal({n, kHeight, kWidth, kChannels}, 8, 9) * 0.7 + 0.2; }

/// The masks that loss() draws at step 0.
Masking masks_of_step_0(int64_t n) {
  return random_masking(n, kPatches, 0.5, 2, random_stream("MAE mask", 0), default_device());
}

/// What the decoder predicts does not depend on the images when its last layer has no weight: its bias, everywhere.
void predict_constant(MAE& model, double value) {
  nn::StateDict state = nn::state_dict(model);
  state.at("decoder_pred.weight").fill_(0);
  state.at("decoder_pred.bias").fill_(value);
  nn::load_state(model, state);
}

/// The same pixels, with each patch of one kind (hidden or visible at step 0) replaced by other ones.
Tensor with_other_patches(const Tensor& x, bool hidden) {
  const Tensor chosen = masks_of_step_0(x.size(0)).mask.unsqueeze(2), patches = patchify(x, kPatch);
  const Tensor where = hidden ? chosen : 1.0 - chosen;
  return unpatchify(patches + where * Tensor::normal(patches.shape(), 5, 6), kPatch, kHeight, kWidth);
}

}  // namespace

TEST_CASE("bug 7: the loss is over the hidden patches only") {
  MAE model = small_mae(false);
  predict_constant(model, 0.3);
  const Tensor x = images_of(4);
  const double loss = model.loss({x}, {}).item();
  // By hand: the mean over the hidden patches, and nothing of the visible ones.
  const Tensor mask = masks_of_step_0(4).mask;
  const Tensor error = mean(square(patchify(x, kPatch) - 0.3), {2});
  CHECK(loss == doctest::Approx(sum(error * mask).item() / 12));
  CHECK(model.loss({with_other_patches(x, false)}, {}).item() == loss);
  CHECK(model.loss({with_other_patches(x, true)}, {}).item() != doctest::Approx(loss));
}

TEST_CASE("bug 7: the target is of the normalised view, with the unbiased variance of each patch") {
  MAE model = small_mae();
  predict_constant(model, 0);
  const Tensor x = images_of(4);
  // Predicting each patch's mean: the mean square of n numbers of unbiased variance 1 is 1 - 1/n, the chance level.
  CHECK(model.loss({x}, {}).item() == doctest::Approx(1 - 1.0 / 32).epsilon(1e-4));
  CHECK(model.chance(4).loss == 1 - 1.0 / 32);
  // 1e-6 stands inside the root: a patch of deviation 1e-3 has n - 1 : n of half of that.
  const Tensor faint = x - mean(x);
  const Tensor patches = patchify(faint, kPatch) * 1e-3;
  const Tensor variance = var(patches, {2}, true) * (32.0 / 31);
  CHECK(max_abs_difference(normalize_patches(patches), (patches - mean(patches, {2}, true)) / sqrt(variance + 1e-6)) <
        1e-5);
  CHECK(amax(normalize_patches(patches)).item() < amax(normalize_patches(patches * 1e3)).item() * 0.9);
}

TEST_CASE("bug 7: patchify and unpatchify agree, and pictures undo the normalisation of each patch") {
  const Tensor x = images_of(3);
  CHECK(max_abs_difference(unpatchify(patchify(x, kPatch), kPatch, kHeight, kWidth), x) == 0);
  MAE model = small_mae();
  predict_constant(model, 0);  // "the mean of the patch", in the units of the target
  const Tensor made = patchify(model.reconstruct(x, 4)[2].images, kPatch), patches = patchify(x, kPatch);
  const Tensor hidden =
      equal(sum(square(patchify(model.reconstruct(x, 4)[1].images, kPatch)), {2}, true), Tensor::zeros({1})).to(f32);
  CHECK(sum(hidden).item() == 9);
  const Tensor means = mean(patches, {2}, true), deviations = sqrt(var(patches, {2}, true) * (32.0 / 31));
  CHECK(max_abs_difference(made * hidden, Tensor::ones(patches.shape()) * means * hidden) < 1e-6);
  predict_constant(model, 1);  // one deviation above it
  const Tensor above = patchify(model.reconstruct(x, 4)[2].images, kPatch);
  CHECK(max_abs_difference(above - made, Tensor::ones(patches.shape()) * deviations * hidden) < 1e-5);
}

TEST_CASE("bug 28: grids need not be square: the column moves fastest, in patches and positions alike") {
  // A token's position is found again from the patch that the network was given at that place.
  nn::ViT vit({.dim = 16,
               .depth = 1,
               .heads = 2,
               .patch = kPatch,
               .image_h = kHeight,
               .image_w = kWidth,
               .channels = kChannels,
               .position = nn::Position::SinCos});
  CHECK(vit.grid_h() == 2);
  CHECK(vit.grid_w() == 3);
  const Tensor blank = vit.patches(Tensor::zeros({1, kHeight, kWidth, kChannels})).value();
  const Tensor patches = Tensor::zeros({1, kPatches, kPatch * kPatch * kChannels});
  patches.slice(1, 4, 5).copy_(Tensor::ones({1}));  // row 1, column 1
  const Tensor one = vit.patches(unpatchify(patches, kPatch, kHeight, kWidth)).value();
  const std::vector<double> change = values_of(sum(square(one - blank), {2}));
  for (size_t l = 0; l < change.size(); ++l) CHECK((change[l] > 0) == (l == 4));
  // The lowest frequencies of a token's position: sin(column) first, sin(row) in the middle. The first patch has
  // neither.
  const std::vector<double> place = values_of(blank - blank.slice(1, 0, 1));
  for (size_t l = 0; l < kPatches; ++l) {
    CHECK(place[l * 16] == doctest::Approx(std::sin(static_cast<double>(l % 3))).epsilon(1e-5));
    CHECK(place[l * 16 + 8] == doctest::Approx(std::sin(static_cast<double>(l / 3))).epsilon(1e-5));
  }
  // The class token's row is zeros.
  CHECK(sum(square(nn::sincos_position_embedding(16, 2, 3, true).slice(1, 0, 1))).item() == 0);
}

TEST_CASE("bug 28: layer norms have eps 1e-6, GELU is exact, in the decoder too") {
  // Weights that leave of the decoder only what is to be seen. Norm: a faint token, variance 1e-6, is halved by eps.
  MAEDecoder decoder(4, 1, 2, 4, {.dim = 4, .depth = 1, .heads = 1}, 0);
  nn::StateDict state = nn::state_dict(decoder);
  for (auto& entry : state)
    if (entry.first.find("norm") == std::string::npos) entry.second.fill_(0);
  for (int64_t i = 0; i < 4; ++i) state.at("decoder_pred.weight").select(0, i).slice(0, i, i + 1).fill_(1);
  state.at("mask_token").copy_(Tensor::from(std::vector<float>{1e-3f, -1e-3f, 1e-3f, -1e-3f}, {4}));
  nn::load_state(decoder, state);
  const Tensor latent = Tensor::zeros({1, 2, 4});
  const Masking second_hidden{.keep = Tensor::from(std::vector<int64_t>{0}, {1, 1}),
                              .hidden = Tensor::from(std::vector<int64_t>{1}, {1, 1}),
                              .restore = {},
                              .mask = {}};
  CHECK(values_of(decoder(latent, second_hidden).value())[0] == doctest::Approx(1 / std::sqrt(2.0)).epsilon(1e-4));
  // GELU: the mlp's first bias is 1, its second layer sends one hidden unit to the first number of a token.
  state.at("decoder_blocks.0.mlp.fc1.bias").fill_(1);
  state.at("decoder_blocks.0.mlp.fc2.weight").slice(0, 0, 1).slice(1, 0, 1).fill_(1);
  state.at("decoder_norm.weight").fill_(0);
  state.at("decoder_norm.bias").fill_(0);
  nn::load_state(decoder, state);
  nn::Block block({.dim = 4, .heads = 1});
  nn::StateDict inner;
  for (const auto& [name, value] : state)
    if (name.rfind("decoder_blocks.0.", 0) == 0) inner[name.substr(17)] = value;
  nn::load_state(block, inner);
  CHECK(values_of(block(Tensor::zeros({1, 1, 4})).value())[0] == doctest::Approx(0.8413447461).epsilon(1e-6));
}

TEST_CASE("bug 29: every image of a batch has its own order, every step another") {
  const Masking first = masks_of_step_0(16);
  const std::vector<int64_t> restore = first.restore.to_vector<int64_t>();
  std::set<std::vector<int64_t>> orders;
  for (int64_t i = 0; i < 16; ++i)
    orders.insert({restore.begin() + i * kPatches, restore.begin() + (i + 1) * kPatches});
  CHECK(orders.size() >= 15);
  // As the loss sees it: one image sixteen times over is hidden in different ways.
  MAE model = small_mae(false);
  predict_constant(model, 0);
  const Tensor x = images_of(1), repeated = broadcast_to(Variable(x), {16, kHeight, kWidth, kChannels}).value();
  const Tensor error = mean(square(patchify(repeated, kPatch)), {2});
  CHECK(model.loss({repeated}, {}).item() == doctest::Approx(sum(error * first.mask).item() / 48));
  CHECK(model.loss({repeated}, {1, 2}).item() != model.loss({repeated}, {}).item());
}

TEST_CASE("bug 29: mask 1 is hidden: the encoder reads the patches of mask 0 and no others") {
  MAE model = small_mae(false);
  predict_constant(model, 0);
  const Tensor x = images_of(4);
  model.loss({x}, {});
  const double features = model.metrics().at("feature_std").item();
  model.loss({with_other_patches(x, true)}, {});
  CHECK(model.metrics().at("feature_std").item() == features);
  model.loss({with_other_patches(x, false)}, {});
  CHECK(model.metrics().at("feature_std").item() != doctest::Approx(features).epsilon(1e-4));
}

TEST_CASE("bug 29: each token has its own place: the official decoder, in the image's order, predicts the same") {
  constexpr int64_t n = 3, dim = 8, visible = 2, patches = 6;
  MAEDecoder decoder(5, 2, 3, 7, {.dim = dim, .depth = 2, .heads = 2}, 0);
  nn::StateDict state = nn::state_dict(decoder);
  state.at("mask_token").copy_(Tensor::normal({1, 1, dim}, 3, 4));
  nn::load_state(decoder, state);
  const auto at = [&](const char* name) { return Variable(state.at(name)); };
  const Masking masking = random_masking(n, patches, 0.6, 1, 2, default_device());
  const Tensor latent = Tensor::normal({n, 1 + visible, 5}, 1, 2);
  // Append mask tokens, unshuffle, put the class token in front, add positions; all blocks, all tokens.
  const Variable seen = linear(latent, at("decoder_embed.weight"), at("decoder_embed.bias"));
  const Variable shuffled =
      concatenate(std::vector<Variable>{slice(seen, 1, 1, 1 + visible),
                                        broadcast_to(at("mask_token"), {n, patches - visible, dim})},
                  1);
  const Variable grid = gather(shuffled, 1, masking.restore.unsqueeze(2));
  Variable x = concatenate(std::vector<Variable>{slice(seen, 1, 0, 1), grid}, 1) + at("decoder_pos_embed");
  for (const std::string prefix : {"decoder_blocks.0.", "decoder_blocks.1."}) {
    nn::StateDict inner;
    for (const auto& [name, value] : state)
      if (name.rfind(prefix, 0) == 0) inner[name.substr(prefix.size())] = value;
    nn::Block block({.dim = dim, .heads = 2});
    nn::load_state(block, inner);
    x = block(x);
  }
  x = layer_norm(x, at("decoder_norm.weight"), at("decoder_norm.bias"), 1e-6);
  const Variable all = linear(x, at("decoder_pred.weight"), at("decoder_pred.bias"));
  const Variable expected = gather(slice(all, 1, 1, 1 + patches), 1, masking.hidden.unsqueeze(2));
  const Variable y = decoder(latent, masking);
  REQUIRE(y.shape() == Shape{n, patches - visible, 7});
  CHECK(max_abs_difference(y.value(), expected.value()) < 1e-5);
  CHECK_THROWS_WITH_AS(decoder(latent.slice(1, 0, 2), masking), doctest::Contains("are not the class token and the 2"),
                       Error);
}

TEST_CASE("bug 29: the mask token starts as N(0, 0.02) and learns") {
  MAEDecoder decoder(16, 2, 3, 16, {.dim = 2048, .depth = 1, .heads = 1}, 3);
  const Tensor token = nn::state_dict(decoder).at("mask_token");
  CHECK(std::abs(mean(token).item()) < 0.002);
  CHECK(std::sqrt(mean(square(token)).item()) / 0.02 == doctest::Approx(1).epsilon(0.04));
  MAE model = small_mae();
  model.loss({images_of(4)}, {}).backward();
  bool found = false;
  for (const auto& [name, p] : model.named_parameters()) {
    if (name != "mask_token") continue;
    found = true;
    CHECK(sum(square(p->variable().grad())).item() > 1e-8);
  }
  CHECK(found);
}
