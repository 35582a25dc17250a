// Fine-tuning: mixing, layers, what becomes of a ViT, recipes; the same bits at any number of threads.
#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "autograd/ops.h"
#include "backends/cpu/backend.h"
#include "nn/encoder_layers.h"
#include "nn/init.h"
#include "nn/linear.h"
#include "nn/vit.h"
#include "optim/adamw.h"
#include "optim/schedule.h"
#include "ssl/train/export.h"
#include "ssl/train/finetune.h"
#include "tensor/ops.h"

using namespace tacit;
using namespace tacit::ssl;

namespace {

nn::EncoderOptions small_vit() {
  nn::EncoderOptions o;
  o.name = "vit_micro";
  o.width = 32;
  o.image_size = 16;
  o.patch_size = 8;
  o.seed = 3;
  return o;
}

PlainViews views_of(int64_t size) {
  PlainViews views;
  views.normalisation = augmentation("none", size, 3)[0];
  views.image_size = size;
  return views;
}

bool same(const Tensor& a, const Tensor& b) { return a.shape() == b.shape() && max_abs_difference(a, b) == 0; }

}  // namespace

TEST_CASE("a frozen stage: the head alone learns, of the stage's whole map; what comes behind it is not computed") {
  constexpr int64_t kSize = 32;
  const ImageSourcePtr images = open_data({"synthetic:32"}, Split::Train);
  PlainViews views;
  views.normalisation = augmentation("none", kSize, 3)[0];
  views.image_size = kSize;
  nn::Encoder encoder = nn::make_encoder({.name = "nin", .width = 12, .image_size = kSize, .seed = 3});
  for (const auto& [name, parameter] : encoder.named_parameters())
    if (name.find("block3") == 0)
      parameter->variable().assign_(Tensor::full(parameter->variable().shape(), std::nan("")));
  FinetuneOptions options;
  options.augmentation = "none";
  options.batch_size = images->size();
  options.epochs = 4;
  options.min_steps = 1;
  options.weight_decay = options.warmup_fraction = 0;
  options.frozen = "block2";
  std::vector<double> losses;
  const auto record = [&](const StepRecord& step) { losses.push_back(step.loss); };
  finetune(encoder, images, images, views, options, {.step = record});

  // The same by hand: maps once, then steps of a linear head.
  encoder.eval();
  const FeatureSet maps =
      extract_features([&](const Tensor& x) { return encoder.stage_map("block2", x).value(); }, *images, views);
  CHECK(maps.dimensions() == 12 * (kSize / 4) * (kSize / 4));
  nn::Linear head(maps.dimensions(), 10);
  nn::initialize(head, options.seed, "head");
  optim::AdamW optimizer(head, {.weight_decay = 0});
  REQUIRE(losses.size() == 4);
  for (int64_t step = 0; step < 4; ++step) {
    const Variable loss = cross_entropy(head(maps.features), Tensor::from(maps.labels, {images->size()}));
    CHECK(losses[static_cast<size_t>(step)] == doctest::Approx(loss.item()).epsilon(1e-5));
    optimizer.zero_grad();
    loss.backward();
    optimizer.set_lr(optim::warmup_cosine(step, 0, 4, 2e-3));
    optimizer.step();
  }

  options.epochs = 100;
  options.hidden = {16};
  CHECK(finetune(encoder, images, images, views, options).top1 == 1);
  options.frozen = "block9";
  CHECK_THROWS_WITH_AS(finetune(encoder, images, images, views, options),
                       doctest::Contains("no stage 'block9'; its stages: block1"), Error);
  options.frozen = "block2";
  CHECK_THROWS_WITH_AS(finetune(nn::make_encoder(small_vit()), images, images, views_of(16), options),
                       doctest::Contains("no spatial map"), Error);
}

TEST_CASE("mixing: a function of seed and step; Beta's mean and variance; boxes inside; both kinds in their shares") {
  const MixOptions both{.mixup = 0.8, .cutmix = 1.0};
  CHECK(draw_mix({}, 16, 16, 0, 0).lambda == 1);
  const Mix one = draw_mix(both, 16, 16, 0, 5), again = draw_mix(both, 16, 16, 0, 5);
  CHECK(one.lambda == again.lambda);
  std::set<double> distinct;
  int cuts = 0;
  constexpr int kSteps = 4000;
  for (int step = 0; step < kSteps; ++step) {
    const Mix mix = draw_mix(both, 16, 24, 1, step);
    distinct.insert(mix.lambda);
    REQUIRE(mix.lambda >= 0);
    REQUIRE(mix.lambda <= 1);
    if (!mix.cut) continue;
    ++cuts;
    REQUIRE(mix.top >= 0);
    REQUIRE(mix.left >= 0);
    REQUIRE(mix.top + mix.height <= 16);
    REQUIRE(mix.left + mix.width <= 24);
    REQUIRE(mix.lambda == doctest::Approx(1 - static_cast<double>(mix.height * mix.width) / (16 * 24)));
  }
  CHECK(cuts == doctest::Approx(kSteps / 2).epsilon(0.05));
  CHECK(distinct.size() > kSteps / 3);
  for (const double alpha : {0.05, 0.8, 3.0}) {
    CAPTURE(alpha);
    double sum = 0, squares = 0;
    for (int step = 0; step < kSteps; ++step) {
      const double lambda = draw_mix({.mixup = alpha}, 16, 16, 2, step).lambda;
      sum += lambda;
      squares += (lambda - 0.5) * (lambda - 0.5);
    }
    CHECK(sum / kSteps == doctest::Approx(0.5).epsilon(0.04));
    CHECK(squares / kSteps == doctest::Approx(1 / (4 * (2 * alpha + 1))).epsilon(0.06));
  }
}

TEST_CASE("mixing: an image's partner is its mirror in the batch; a batch of odd size keeps its middle") {
  const Tensor images = Tensor::uniform({3, 4, 4, 1}, 0, 1);
  Mix mix;
  mix.lambda = 0.25;
  const Tensor mixed = mix_images(images, mix);
  CHECK(max_abs_difference(mixed.select(0, 0), images.select(0, 0) * 0.25 + images.select(0, 2) * 0.75) < 1e-6);
  CHECK(max_abs_difference(mixed.select(0, 1), images.select(0, 1)) < 1e-6);
  const Mix cut = cut_box(0.75, 4, 4, 1, 1);
  CHECK(cut.height == 2);
  CHECK(cut.width == 2);
  const Tensor pasted = mix_images(images, cut);
  for (int64_t y = 0; y < 4; ++y)
    for (int64_t x = 0; x < 4; ++x) {
      const bool inside = y < 2 && x < 2;
      CHECK(pasted.select(0, 0).select(0, y).select(0, x).item() ==
            images.select(0, inside ? 2 : 0).select(0, y).select(0, x).item());
    }
}

TEST_CASE("layers of every encoder: from 0 on without gaps, the stem first, the head behind the last") {
  for (const char* name : {"resnet18", "resnet50", "small_cnn", "nin", "vit_micro"}) {
    CAPTURE(name);
    nn::EncoderOptions o;
    o.name = name;
    o.width = 32;
    nn::Encoder encoder = nn::make_encoder(o);
    std::set<int64_t> layers;
    for (const auto& named : encoder.named_parameters()) layers.insert(nn::encoder_layer(encoder, named.first));
    CHECK(*layers.begin() == 0);
    CHECK(*layers.rbegin() == static_cast<int64_t>(layers.size()) - 1);
    const bool vit = encoder.as<nn::ViT>() != nullptr;
    CHECK(nn::head_layer(encoder) == *layers.rbegin() + (vit ? 0 : 1));
    CHECK_THROWS_WITH_AS(nn::encoder_layer(encoder, "fc.weight"), doctest::Contains("fc.weight"), Error);
  }
  nn::EncoderOptions o;
  nn::Encoder resnet = nn::make_encoder(o);
  CHECK(nn::encoder_layer(resnet, "bn1.weight") == 0);
  CHECK(nn::encoder_layer(resnet, "layer3.1.conv1.weight") == 3);
  CHECK(nn::head_layer(resnet) == 5);
}

TEST_CASE("fine-tuning encoder: weights carried over; mean pooling starts fc_norm afresh; fixed positions can learn") {
  nn::Encoder encoder = nn::make_encoder(small_vit());
  for (const auto& named : encoder.named_parameters())
    named.second->variable().assign_(Tensor::normal(named.second->shape(), 0, random_stream("x " + named.first)));
  const nn::StateDict before = nn::state_dict(encoder);
  FinetuneOptions options;
  nn::Encoder unchanged = finetuning_encoder(encoder, small_vit(), options);
  for (const auto& [name, value] : nn::state_dict(unchanged)) CHECK(same(value, before.at(name)));

  nn::Encoder frozen = encoder;
  frozen.freeze();
  nn::Encoder thawed = finetuning_encoder(frozen, small_vit(), options);
  for (const auto& named : thawed.named_parameters()) CHECK(named.second->variable().requires_grad());

  options = finetune_recipe("mae");
  nn::Encoder rebuilt = finetuning_encoder(encoder, small_vit(), options);
  const nn::StateDict after = nn::state_dict(rebuilt);
  CHECK(after.count("norm.weight") == 0);
  CHECK(same(after.at("fc_norm.weight"), Tensor::ones({32})));
  CHECK(same(after.at("fc_norm.bias"), Tensor::zeros({32})));
  size_t carried = 0;
  for (const auto& [name, value] : after)
    if (name.rfind("fc_norm", 0) != 0) {
      CHECK(same(value, before.at(name)));
      ++carried;
    }
  CHECK(carried == before.size() - 2);
  bool learns = false;
  for (const auto& named : rebuilt.named_parameters()) learns = learns || named.first == "pos_embed";
  CHECK(learns);
  CHECK(rebuilt.as<nn::ViT>()->options().drop_path == 0.1);

  nn::EncoderOptions cnn;
  cnn.name = "small_cnn";
  cnn.width = 4;
  cnn.bn_splits = 8;  // of MoCo's pre-training alone: with labels, batch norm is over the whole batch
  FinetuneOptions plain;
  nn::Encoder split = nn::make_encoder(cnn), whole = finetuning_encoder(split, cnn, plain);
  cnn.bn_splits = 0;
  nn::Encoder same_weights = nn::make_encoder(cnn);
  CHECK(nn::load_state(same_weights, nn::state_dict(split), true).missing.empty());
  const Tensor x = Tensor::normal({16, 16, 16, 3}, 1, 2);
  CHECK(same(whole(x).value(), same_weights(x).value()));
  CHECK_FALSE(same(split(x).value(), same_weights(x).value()));
  CHECK_THROWS_WITH_AS(finetuning_encoder(nn::make_encoder(cnn), cnn, options), doctest::Contains("small_cnn"), Error);
  CHECK_THROWS_WITH_AS(finetune_recipe("beit"), doctest::Contains("default, mixup, mae"), Error);
}

TEST_CASE("the recipe mixup is the default one with mixup and CutMix") {
  const FinetuneOptions mixup = finetune_recipe("mixup"), plain = finetune_recipe("default");
  CHECK(mixup.mix.mixup == 0.8);
  CHECK(mixup.mix.cutmix == 1);
  CHECK_FALSE(plain.mix.on());
  CHECK(mixup.lr == plain.lr);
  CHECK(mixup.min_steps == plain.min_steps);
}

TEST_CASE("MAE's recipe has the numbers of its FINETUNE.md") {
  const FinetuneOptions o = finetune_recipe("mae");
  CHECK(*o.base_lr == 5e-4);
  CHECK_FALSE(o.lr);
  CHECK(o.layer_decay == 0.65);
  CHECK(o.weight_decay == 0.05);
  CHECK(o.drop_path == 0.1);
  CHECK(o.mix.mixup == 0.8);
  CHECK(o.mix.cutmix == 1.0);
  CHECK(o.random_erasing == 0.25);
  CHECK(o.label_smoothing == 0.1);
  CHECK(o.epochs == 100);
  CHECK(o.pool == "mean");
}

TEST_CASE(
    "fine-tuning a ViT by MAE's recipe: the same bits at 1 and 2 threads, another seed another run; lr by batch") {
  const ImageSourcePtr train = open_data({"synthetic:60"}, Split::Train),
                       test = open_data({"synthetic:60"}, Split::Test);
  FinetuneOptions options = finetune_recipe("mae");
  options.epochs = 1;
  options.min_steps = 6;
  options.batch_size = 16;
  options.warmup_fraction = 0;
  const auto losses = [&](int threads, uint64_t seed) {
    const int before = cpu::threads();
    cpu::set_threads(threads);
    options.seed = seed;
    std::vector<double> all;
    FinetuneObserver observer;
    observer.step = [&](const StepRecord& record) { all.push_back(record.loss); };
    const FinetuneResult result = finetune(finetuning_encoder(nn::make_encoder(small_vit()), small_vit(), options),
                                           train, test, views_of(16), options, observer);
    CHECK(result.lr == doctest::Approx(5e-4 * 16 / 256));
    CHECK(result.steps == 6);
    for (const int64_t p : result.predictions) all.push_back(static_cast<double>(p));
    cpu::set_threads(before);
    return all;
  };
  const std::vector<double> one = losses(1, 0);
  CHECK(one == losses(2, 0));
  CHECK(one != losses(2, 1));
  CHECK(one[0] == doctest::Approx(std::log(10.0)).epsilon(0.01));  // the head starts near 0
}

TEST_CASE("every option of fine-tuning changes the training it is meant to change") {
  const ImageSourcePtr train = open_data({"synthetic:40"}, Split::Train),
                       test = open_data({"synthetic:40"}, Split::Test);
  const auto losses = [&](const std::function<void(FinetuneOptions&)>& change) {
    FinetuneOptions options;
    options.epochs = 1;
    options.min_steps = 3;
    options.batch_size = 16;
    options.warmup_fraction = 0;
    change(options);
    std::vector<double> all;
    FinetuneObserver observer;
    observer.step = [&](const StepRecord& record) { all.push_back(record.loss); };
    finetune(finetuning_encoder(nn::make_encoder(small_vit()), small_vit(), options), train, test, views_of(16),
             options, observer);
    return all;
  };
  const std::vector<double> plain = losses([](FinetuneOptions&) {});
  CHECK(plain == losses([](FinetuneOptions&) {}));
  const std::vector<std::pair<const char*, std::function<void(FinetuneOptions&)>>> changes = {
      {"layer decay", [](FinetuneOptions& o) { o.layer_decay = 0.5; }},
      {"drop path", [](FinetuneOptions& o) { o.drop_path = 0.5; }},
      {"mixup", [](FinetuneOptions& o) { o.mix.mixup = 0.8; }},
      {"cutmix", [](FinetuneOptions& o) { o.mix.cutmix = 1; }},
      {"erasing", [](FinetuneOptions& o) { o.random_erasing = 1; }},
      {"smoothing", [](FinetuneOptions& o) { o.label_smoothing = 0.1; }},
      {"pool", [](FinetuneOptions& o) { o.pool = "mean"; }},
      {"positions", [](FinetuneOptions& o) { o.learn_positions = true; }},
      {"beta2", [](FinetuneOptions& o) { o.beta2 = 0.5; }},
      {"head", [](FinetuneOptions& o) { o.head_std = 0.5; }}};
  for (const auto& change : changes) {
    CAPTURE(change.first);
    CHECK(losses(change.second) != plain);
  }
}

TEST_CASE("official names of MAE's decoder") {
  CHECK(mae_decoder_name("mask_token") == "mask_token");
  CHECK(mae_decoder_name("decoder.mask_token") == "mask_token");
  CHECK(mae_decoder_name("decoder.decoder_blocks.0.attn.qkv.weight") == "decoder_blocks.0.attn.qkv.weight");
  CHECK(mae_decoder_name("decoder_pos_embed") == "decoder_pos_embed");
  CHECK(mae_decoder_name("encoder.blocks.0.norm1.weight").empty());
  CHECK(mae_decoder_name("encoder.cls_token").empty());
}
