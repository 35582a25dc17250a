// MAE: patches, masks, what the loss looks at, reconstructions, and that it learns.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "autograd/ops.h"
#include "nn/encoder.h"
#include "nn/eval_mode.h"
#include "optim/adamw.h"
#include "ssl/methods/mae.h"
#include "tensor/random.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

nn::ViTOptions small_vit(int64_t height, int64_t width, int64_t channels, nn::Pool pool = nn::Pool::Cls) {
  return {.dim = 16,
          .depth = 2,
          .heads = 2,
          .patch = 4,
          .image_h = height,
          .image_w = width,
          .channels = channels,
          .pool = pool,
          .fc_norm = false,
          .position = nn::Position::SinCos};
}
MAE small_mae(const nn::ViTOptions& vit, double mask_ratio = 0.75, bool norm_pixels = true) {
  return MAE(nn::Encoder(nn::ViT(vit)), {.mask_ratio = mask_ratio,
                                         .decoder = {.dim = 16, .depth = 1, .heads = 2},
                                         .norm_pixels = norm_pixels,
                                         .seed = 5});
}

/// Smooth images, each with its own slope and level, so that hidden patches can be told from visible ones.
Tensor ramps(int64_t n, int64_t size, uint64_t seed) {
  std::vector<float> pixels;
  for (int64_t i = 0; i < n; ++i) {
    Random random(seed, static_cast<uint64_t>(i));
    const double a = random.uniform(-1, 1), b = random.uniform(-1, 1), c = random.uniform(-1, 1);
    for (int64_t y = 0; y < size; ++y)
      for (int64_t x = 0; x < size; ++x)
        pixels.push_back(static_cast<float>(c + (a * static_cast<double>(x) + b * static_cast<double>(y)) /
                                                    static_cast<double>(size)));
  }
  return Tensor::from(pixels, {n, size, size, 1});
}

}  // namespace

TEST_CASE("patches: row-major grid, row-major pixels, channels last; unpatchify is the inverse") {
  const Tensor x = Tensor::arange(2 * 4 * 6 * 3, f32).reshape({2, 4, 6, 3});
  const Tensor p = patchify(x, 2);
  REQUIRE(p.shape() == Shape{2, 6, 12});
  CHECK(max_abs_difference(unpatchify(p, 2, 4, 6), x) == 0);
  // Patch 4 of image 1 is row 1, column 1 of the 2 x 3 grid: pixels (2, 2), (2, 3), (3, 2), (3, 3).
  const Tensor patch = p.select(0, 1).select(0, 4);
  for (int64_t k = 0; k < 12; ++k)
    CHECK(patch.slice(0, k, k + 1).item() ==
          x.select(0, 1).select(0, 2 + k / 6).select(0, 2 + k / 3 % 2).slice(0, k % 3, k % 3 + 1).item());
  const Tensor gray = Tensor::normal({3, 8, 4, 1}, 1, 2);
  CHECK(max_abs_difference(unpatchify(patchify(gray, 4), 4, 8, 4), gray) == 0);
  CHECK_THROWS_WITH_AS(patchify(x, 4), doctest::Contains("patches of 4 pixels do not divide"), Error);
  CHECK_THROWS_AS(unpatchify(p, 2, 6, 6), Error);
}

TEST_CASE("masks: counts, a permutation for each image, 1 = hidden, restore undoes the order") {
  for (const double ratio : {0.25, 0.6, 0.75, 0.9}) {
    const int64_t n = 20, length = 35, visible = visible_patches(length, ratio);
    CHECK(visible == static_cast<int64_t>(std::floor(35 * (1 - ratio))));
    const Masking m = random_masking(n, length, ratio, 3, 4, default_device());
    REQUIRE(m.keep.shape() == Shape{n, visible});
    REQUIRE(m.restore.shape() == Shape{n, length});
    REQUIRE(m.mask.shape() == Shape{n, length});
    const std::vector<int64_t> keep = m.keep.to_vector<int64_t>(), restore = m.restore.to_vector<int64_t>();
    const std::vector<float> mask = m.mask.to_vector<float>();
    std::set<std::vector<int64_t>> orders;
    const std::vector<int64_t> hidden = m.hidden.to_vector<int64_t>();
    REQUIRE(m.hidden.shape() == Shape{n, length - visible});
    for (int64_t i = 0; i < n; ++i) {
      const auto row = restore.begin() + i * length;
      std::vector<int64_t> sorted(row, row + length);
      orders.insert(sorted);
      std::sort(sorted.begin(), sorted.end());
      for (int64_t l = 0; l < length; ++l) {
        CHECK(sorted[static_cast<size_t>(l)] == l);
        CHECK(mask[static_cast<size_t>(i * length + l)] == (row[l] < visible ? 0 : 1));
      }
      for (int64_t v = 0; v < visible; ++v) CHECK(row[keep[static_cast<size_t>(i * visible + v)]] == v);
      for (int64_t h = visible; h < length; ++h)
        CHECK(row[hidden[static_cast<size_t>(i * (length - visible) + h - visible)]] == h);
    }
    CHECK(orders.size() == 20);
  }
  // The same draws for the same key, others for another; every patch is hidden about equally often.
  const Masking a = random_masking(2000, 16, 0.75, 0, 7, default_device());
  CHECK(max_abs_difference(a.restore, random_masking(2000, 16, 0.75, 0, 7, default_device()).restore) == 0);
  CHECK(max_abs_difference(a.restore, random_masking(2000, 16, 0.75, 0, 8, default_device()).restore) > 0);
  CHECK(max_abs_difference(a.restore, random_masking(2000, 16, 0.75, 1, 7, default_device()).restore) > 0);
  for (const double hidden : values_of(mean(a.mask, {0}))) CHECK(hidden == doctest::Approx(0.75).epsilon(0.06));
  CHECK_THROWS_WITH_AS(visible_patches(16, 0.95), doctest::Contains("--mask-ratio 0.95 leaves 0 of 16"), Error);
  CHECK_THROWS_WITH_AS(visible_patches(16, 0), doctest::Contains("at least one must be visible and one hidden"), Error);
  CHECK_THROWS_AS(visible_patches(16, 1.5), Error);
}

TEST_CASE("normalised patches: mean 0, unbiased variance 1; constant ones are 0") {
  const Tensor p = Tensor::normal({2, 3, 12}, 1, 2, f64) * 3.0 + 5.0, y = normalize_patches(p);
  for (const double m : values_of(mean(y, {2}))) CHECK(std::abs(m) < 1e-12);
  for (const double v : values_of(sum(square(y), {2}))) CHECK(v / 11 == doctest::Approx(1).epsilon(1e-5));
  CHECK(max_abs_difference(normalize_patches(Tensor::full({1, 2, 4}, 0.5)), Tensor::zeros({1, 2, 4})) == 0);
  CHECK_THROWS_WITH_AS(normalize_patches(p.slice(2, 0, 1)), doctest::Contains("a patch of one number"), Error);
}

TEST_CASE("any grid and any channels: one gradient for each parameter, the mask token's and class token's too") {
  for (const auto& vit : {small_vit(8, 20, 1), small_vit(16, 12, 3, nn::Pool::Mean), small_vit(8, 8, 5)}) {
    MAE model = small_mae(vit, 0.5);
    const Tensor x = Tensor::normal({3, vit.image_h, vit.image_w, vit.channels}, 1, 2);
    const Variable loss = model.loss({x}, {});
    CHECK(loss.item() > 0.5);
    loss.backward();
    for (const auto& parameter : model.named_parameters()) {
      CAPTURE(parameter.first);
      const Tensor gradient = parameter.second->variable().grad();
      REQUIRE(gradient.defined());
      CHECK(sum(square(gradient)).item() > 0);
    }
    const double spread = model.metrics().at("feature_std").item();
    CHECK(spread > 0);
    CHECK(spread < 1.5);
  }
}

TEST_CASE("the loss of a step is a function of seed and step") {
  MAE a = small_mae(small_vit(16, 16, 1)), b = small_mae(small_vit(16, 16, 1));
  const Tensor x = ramps(4, 16, 1);
  const double at3 = a.loss({x}, {3, 10}).item();
  CHECK(a.loss({x}, {4, 10}).item() != at3);
  CHECK(b.loss({x}, {3, 10}).item() == at3);
}

TEST_CASE("names are the official ones, and the decoder is part of the state") {
  MAE model = small_mae(small_vit(8, 8, 1));
  const nn::StateDict state = nn::state_dict(model);
  for (const char* name :
       {"mask_token", "decoder_pos_embed", "decoder_embed.weight", "decoder_embed.bias",
        "decoder_blocks.0.norm1.weight", "decoder_blocks.0.attn.qkv.weight", "decoder_blocks.0.mlp.fc2.bias",
        "decoder_norm.weight", "decoder_pred.weight", "encoder.cls_token", "encoder.pos_embed",
        "encoder.patch_embed.proj.weight", "encoder.blocks.1.attn.proj.bias", "encoder.norm.bias"}) {
    CAPTURE(name);
    CHECK(state.count(name) == 1);
  }
  CHECK(state.at("mask_token").shape() == Shape{1, 1, 16});
  CHECK(state.at("decoder_pred.weight").shape() == Shape{16, 16});
  CHECK(nn::state_dict(model.encoder()).count("mask_token") == 0);
}

TEST_CASE("reconstruct: visible patches as they are, hidden ones at 0 or as predicted, the same for the same seed") {
  for (const bool norm_pixels : {true, false}) {
    MAE model = small_mae(small_vit(16, 16, 1), 0.75, norm_pixels);
    const Tensor x = ramps(5, 16, 2) + 4.0;  // far from 0, so that a hidden patch shows
    const std::vector<PictureColumn> columns = model.reconstruct(x, 9);
    REQUIRE(columns.size() == 3);
    CHECK(columns[0].name == "image");
    CHECK(max_abs_difference(columns[0].images, x) == 0);
    const Tensor patches = patchify(x, 4), masked = patchify(columns[1].images, 4),
                 made = patchify(columns[2].images, 4);
    const Tensor hidden = equal(sum(square(masked), {2}, true), Tensor::zeros({1})).to(f32);
    CHECK(sum(hidden).item() == 5 * 12);
    CHECK(max_abs_difference(masked, patches * (1.0 - hidden)) == 0);
    CHECK(max_abs_difference(made * (1.0 - hidden), patches * (1.0 - hidden)) == 0);
    CHECK(max_abs_difference(made * hidden, patches * hidden) > 0.01);
    CHECK(max_abs_difference(model.reconstruct(x, 9)[2].images, columns[2].images) == 0);
    CHECK(max_abs_difference(model.reconstruct(x, 10)[1].images, columns[1].images) > 0);
  }
}

TEST_CASE("reconstruct: each hidden place shows what the decoder predicts there") {
  MAE model = small_mae(small_vit(16, 16, 1), 0.75, false);
  const Tensor x = Tensor::normal({3, 16, 16, 1}, 3, 4);
  const Tensor made = patchify(model.reconstruct(x, 9)[2].images, 4);
  // By the parts: the same masks, and each prediction put back one patch at a time.
  const Masking masking = random_masking(3, 16, 0.75, 9, random_stream("MAE reconstruction"), default_device());
  nn::ViT& vit = *model.encoder().as<nn::ViT>();
  MAEDecoder decoder(16, 4, 4, 16, {.dim = 16, .depth = 1, .heads = 2}, 0);
  nn::StateDict own;
  for (const auto& [name, value] : nn::state_dict(model))
    if (name.rfind("encoder.", 0) != 0) own[name] = value;
  nn::load_state(decoder, own);
  const nn::EvalMode mode(model);
  const Variable visible = gather(vit.patches(x), 1, masking.keep.unsqueeze(2));
  const Tensor predicted = decoder(vit.encode_tokens(visible), masking).value();
  const std::vector<int64_t> hidden = masking.hidden.to_vector<int64_t>();
  for (int64_t n = 0; n < 3; ++n)
    for (int64_t h = 0; h < 12; ++h)
      CHECK(max_abs_difference(made.select(0, n).select(0, hidden[static_cast<size_t>(n * 12 + h)]),
                               predicted.select(0, n).select(0, h)) < 1e-5);
  CHECK(max_abs_difference(predicted.slice(1, 0, 1), predicted.slice(1, 1, 2)) > 1e-3);
}

TEST_CASE("what MAE cannot be made of is named") {
  CHECK_THROWS_WITH_AS(MAE(nn::make_encoder({.name = "small_cnn"}), {}), doctest::Contains("must be a ViT"), Error);
  CHECK_THROWS_WITH_AS(MAE(nn::make_encoder({.name = "vit_micro", .pool = "mean"}), {}),
                       doctest::Contains("--pool mean-after-norm"), Error);
  CHECK_THROWS_WITH_AS(small_mae(small_vit(8, 8, 1), 0.8), doctest::Contains("--mask-ratio 0.8 leaves 0 of 4"), Error);
  MAE model = small_mae(small_vit(8, 8, 1));
  const Tensor x = Tensor::zeros({2, 8, 8, 1});
  CHECK_THROWS_WITH_AS(model.loss({x, x}, {}), doctest::Contains("one view"), Error);
  CHECK_THROWS_WITH_AS(model.loss({Tensor::zeros({2, 8, 8, 3})}, {}), doctest::Contains("made for images"), Error);
  CHECK_THROWS_WITH_AS(model.project(Tensor::zeros({2, 16})), doctest::Contains("no projection head"), Error);
}

TEST_CASE("MAE learns: the loss falls below what the patches' means give, and hidden pixels come near") {
  MAE model = small_mae(small_vit(16, 16, 1, nn::Pool::Mean), 0.5);
  const double chance = model.chance(32).loss;
  CHECK(chance == doctest::Approx(15.0 / 16));
  optim::AdamW optimizer(model, {.lr = 5e-3, .weight_decay = 0.05, .beta2 = 0.95});
  constexpr int kSteps = 150;
  double last = 0;
  for (int step = 0; step < kSteps; ++step) {
    const Variable loss = model.loss({ramps(32, 16, static_cast<uint64_t>(step))}, {step, kSteps});
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    last = loss.item();
  }
  CHECK(last < 0.5 * chance);
  const Tensor x = ramps(16, 16, 1000);
  const std::vector<PictureColumn> columns = model.reconstruct(x, 1);
  CHECK(mean(square(columns[2].images - x)).item() < 0.2 * mean(square(columns[1].images - x)).item());
}

TEST_CASE("masked images show exactly the patches that the encoder sees in that step") {
  const Tensor images = ramps(6, 16, 4);
  const MAEOptions options{.mask_ratio = 0.75, .decoder = {.dim = 16, .depth = 1, .heads = 2}, .seed = 5};
  for (const int64_t step : {0, 3}) {
    const Tensor masked = masked_images(images, 4, options, step);
    REQUIRE(masked.shape() == images.shape());
    const Tensor before = patchify(images, 4), after = patchify(masked, 4);
    int64_t visible = 0;
    for (int64_t i = 0; i < 6; ++i)
      for (int64_t l = 0; l < 16; ++l) {
        const auto patch = values_of(after.select(0, i).select(0, l));
        const bool hidden = std::all_of(patch.begin(), patch.end(), [](double v) { return v == 0; });
        visible += !hidden;
        if (!hidden) CHECK(patch == values_of(before.select(0, i).select(0, l)));
      }
    CHECK(visible == 6 * 4);
    // What is hidden reaches no feature.
    const auto features = [&](const Tensor& x) {
      MAE mae = small_mae(small_vit(16, 16, 1));
      mae.loss({x}, {step, 10});
      return values_of(mae.metrics().at("feature_std"));
    };
    CHECK(features(masked) == features(images));
    CHECK(features(masked) != features(masked_images(images, 4, options, step + 1)));
  }
}
