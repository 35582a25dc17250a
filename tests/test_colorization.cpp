// Colorization: bins, soft codes, weights, decoding, gray images, the prior, and whole runs.
#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "autograd/ops.h"
#include "optim/adamw.h"
#include "process.h"
#include "ssl/data/sources.h"
#include "ssl/methods/color_bins.h"
#include "ssl/methods/colorization.h"
#include "ssl/methods/lab.h"
#include "ssl/train/build.h"
#include "ssl/train/finetune.h"
#include "ssl/train/method_entry.h"
#include "ssl/train/pretrain.h"

using namespace tacit;
using namespace tacit::ssl;
using testing::TemporaryDirectory;

namespace {

Colorization small_model(ColorizationOptions options = {}) {
  options.image_size = 16;
  options.width = 8;
  return Colorization(nn::make_encoder({.name = "small_cnn", .width = 4, .image_size = 16, .channels = 1}), options);
}

/// Images of blocks x blocks squares whose colour goes with their lightness, so that it can be predicted.
Tensor images(int64_t n, uint64_t seed, int64_t blocks = 4) {
  const int64_t b = blocks, side = 16 / blocks;
  const Tensor noise = Tensor::uniform({n, b, 1, b, 1, 1}, seed, 1);
  const Tensor l = noise.broadcast_to({n, b, side, b, side, 1}).reshape({n, 16, 16, 1}) * 60.0 + 20.0;
  return lab_to_rgb(concatenate(std::vector<Tensor>{l, l - 50.0, (50.0 - l) * 0.5}, 3));
}

Tensor gray(const Tensor& rgb) { return rgb.slice(3, 0, 1).broadcast_to(rgb.shape()).contiguous_copy_if_needed(); }

double gradient_sum(nn::Module& m) {
  double total = 0;
  for (auto& [name, p] : m.named_parameters())
    if (p->variable().grad().defined()) total += sum(abs(p->variable().grad())).item();
  return total;
}

TrainConfig tiny_run(const TemporaryDirectory& dir, const std::string& name, const std::string& data) {
  TrainConfig c;
  c.method = "colorization";
  apply_recipe(c, "small-images");
  c.data = {data};
  c.encoder_width = 4;
  c.color_width = 8;
  c.batch_size = 16;
  c.epochs = 3;
  c.image_size = 32;
  c.out = dir / name;
  return c;
}

}  // namespace

TEST_CASE("the bins are the squares that 8-bit colours fall into: 261, and every pixel's nearest bin is its own") {
  const Tensor& bins = color_bins();
  CHECK(bins.shape() == Shape{261, 2});
  const std::vector<double> centres = bins.to_vector<double>();
  std::set<std::pair<double, double>> known;
  for (size_t i = 0; i < centres.size(); i += 2) known.emplace(centres[i], centres[i + 1]);
  CHECK(known.count({0, 0}) == 1);
  CHECK(known.count({80, 70}) == 1);    // red
  CHECK(known.count({-90, 80}) == 1);   // green
  CHECK(known.count({80, -110}) == 1);  // blue
  CHECK(known.count({-90, -10}) == 0);
  // Colours from the inside of the cube bring nothing new.
  const Tensor lab = rgb_to_lab(Tensor::uniform({200000, 3}, 5, 6, f64));
  const std::vector<double> v = lab.to_vector<double>();
  int64_t outside = 0;
  for (size_t i = 0; i < v.size(); i += 3)
    outside += 1 - static_cast<int64_t>(known.count({10 * std::round(v[i + 1] / 10), 10 * std::round(v[i + 2] / 10)}));
  CHECK(outside == 0);
}

TEST_CASE("soft codes sum to 1, are nearest first, and peak at a bin's own centre") {
  const Tensor bins = color_bins().to(default_device()),
               ab = rgb_to_lab(Tensor::uniform({500, 3}, 1, 1, f64)).slice(1, 1, 3);
  for (const int64_t k : {1, 5, 10}) {
    const SoftCode code = soft_encode(ab, bins, k, 5);
    CHECK(code.weight.shape() == Shape{500, k});
    CHECK(max_abs_difference(sum(code.weight, {1}), Tensor::ones({500}, f64)) < 1e-12);
    CHECK(max_abs_difference(code.weight.select(1, 0), amax(code.weight, {1})) == 0);
  }
  // At a centre whose four neighbours at distance 10 are bins too: exp(-2) each.
  const SoftCode at = soft_encode(Tensor::zeros({1, 2}, f64), bins, 5, 5);
  const double side = std::exp(-2.0);
  CHECK(at.weight.to_vector<double>()[0] == doctest::Approx(1 / (1 + 4 * side)));
  CHECK(at.weight.to_vector<double>()[4] == doctest::Approx(side / (1 + 4 * side)));
  const SoftCode all = soft_encode(bins, bins, 5, 5);
  CHECK(all.index.select(1, 0).to_vector<int64_t>() == Tensor::arange(261).to_vector<int64_t>());
}

TEST_CASE("class weights have expectation 1 under the prior and favour rare colours") {
  const Tensor prior = softmax(Tensor::normal({261}, 1, 1, f64) * 3.0);
  for (const double uniform : {0.1, 0.5, 1.0}) {
    const Tensor w = rebalancing_weights(prior, uniform);
    CHECK(sum(prior * w).item() == doctest::Approx(1).epsilon(1e-12));
    if (uniform < 1) {
      CHECK(argmax(w).item() == argmin(prior).item());
      CHECK(argmin(w).item() == argmax(prior).item());
    } else {
      CHECK(max_abs_difference(w, Tensor::ones({261}, f64)) < 1e-12);
    }
  }
  // By hand: priors .75 and .25 under half uniform are .625 and .375.
  const std::vector<double> two =
      rebalancing_weights(Tensor::from(std::vector<double>{.75, .25}, {2}), .5).to_vector<double>();
  CHECK(two[0] / two[1] == doctest::Approx(.375 / .625));
}

TEST_CASE("decoding certainty gives the bin's centre; temperature goes from the mean to the mode") {
  const Tensor bins = color_bins().to(default_device());
  const Tensor certain = eye_mask(261).to(f64) * 1000.0;
  CHECK(max_abs_difference(annealed_mean(certain, bins, 0.38), bins) < 1e-10);
  const Tensor two = Tensor::from(std::vector<double>{0, 0, 10, 0}, {2, 2});
  const Tensor logits = log(Tensor::from(std::vector<double>{0.4, 0.6}, {1, 2}));
  CHECK(annealed_mean(logits, two, 1).to_vector<double>()[0] == doctest::Approx(6));
  const double annealed = annealed_mean(logits, two, 0.38).to_vector<double>()[0];
  CHECK(annealed == doctest::Approx(10 / (1 + std::pow(0.4 / 0.6, 1 / 0.38))));
  CHECK(annealed_mean(logits, two, 0.01).to_vector<double>()[0] == doctest::Approx(10));
}

TEST_CASE("gray images are left out of loss, gradient and accuracy") {
  for (const std::string loss : {"classification", "regression"}) {
    Colorization model = small_model({.loss = loss});
    model.eval();  // so that batch norm does not couple the images
    const Tensor colour = images(6, 1);
    const Variable alone = model.loss({colour}, {});
    alone.backward();
    const double gradient = gradient_sum(model);
    const std::map<std::string, Tensor> before = model.metrics();
    model.zero_grad();
    const Variable mixed = model.loss({concatenate(std::vector<Tensor>{gray(colour), colour}, 0)}, {});
    mixed.backward();
    CHECK(mixed.item() == doctest::Approx(alone.item()).epsilon(1e-5));
    CHECK(gradient_sum(model) == doctest::Approx(gradient).epsilon(1e-4));
    if (loss == "classification")
      CHECK(model.metrics().at("pretext_top1").item() == doctest::Approx(before.at("pretext_top1").item()));
    // A batch of gray images alone teaches nothing, and ends no run either.
    model.zero_grad();
    const Variable nothing = model.loss({gray(colour)}, {});
    nothing.backward();
    CHECK(nothing.item() == 0);
    CHECK(gradient_sum(model) == 0);
  }
}

TEST_CASE("an uncertain network has the chance loss") {
  Colorization model = small_model();
  for (auto& [name, p] : model.named_parameters())
    if (name.rfind("decoder.head", 0) == 0) p->variable().assign_(Tensor::zeros(p->shape()));
  CHECK(model.chance(16).loss == doctest::Approx(std::log(261.0)));
  CHECK(model.loss({images(8, 2)}, {}).item() == doctest::Approx(std::log(261.0)).epsilon(1e-4));  // uniform prior
  // With the prior of these very images: their pixels' weights are known, though their mean is not 1.
  model.prepare([] { return std::vector<Tensor>{images(64, 2)}; }, 64);
  CHECK(model.chance(16).loss < 0.9 * std::log(261.0));
  CHECK(model.loss({images(64, 2)}, {}).item() == doctest::Approx(model.chance(16).loss).epsilon(1e-4));
}

TEST_CASE("the prior is the mean soft code of coloured images, and only gray ones are an error") {
  Colorization model = small_model();
  const Tensor batch = images(8, 3);
  int calls = 0;
  model.prepare(
      [&] {
        ++calls;
        return std::vector<Tensor>{concatenate(std::vector<Tensor>{gray(batch), batch}, 0)};
      },
      40);
  CHECK(calls == 3);  // 16 images each
  CHECK(sum(model.prior()).item() == doctest::Approx(1));
  const Tensor ab = rgb_to_lab(batch.slice(1, 0, 16, 4).slice(2, 0, 16, 4)).slice(3, 1, 3).reshape({-1, 2});
  const SoftCode code = soft_encode(ab, color_bins().to(ab.device()).to(f32), 5, 5);
  const Tensor mean_code = mean(scatter_add({ab.size(0), 261}, 1, code.index, code.weight), {0});
  CHECK(max_abs_difference(model.prior(), mean_code) < 1e-6);
  CHECK_THROWS_WITH_AS(model.prepare([&] { return std::vector<Tensor>{gray(batch)}; }, 40),
                       doctest::Contains("gray data"), Error);
}

TEST_CASE("the decoder reaches the target from any map; encoders without a map are refused") {
  struct Case {
    std::string name;
    int64_t size, stride;
  };
  for (const Case& c : {Case{"small_cnn", 28, 4}, Case{"nin", 32, 4}, Case{"resnet18", 32, 4}, Case{"resnet18", 20, 2},
                        Case{"small_cnn", 33, 4}}) {
    CAPTURE(c.name);
    CAPTURE(c.size);
    Colorization model(nn::make_encoder({.name = c.name, .width = 4, .image_size = c.size, .channels = 1}),
                       {.image_size = c.size, .stride = c.stride, .width = 4});
    const Tensor rgb = Tensor::uniform({3, c.size, c.size, 3}, 1, 1);
    CHECK(std::isfinite(model.loss({rgb}, {}).item()));
    model.eval();
    CHECK(model.colorize(rgb).shape() == rgb.shape());
  }
  CHECK_THROWS_WITH_AS(Colorization(nn::make_encoder({.name = "vit_micro", .channels = 1}), {}),
                       doctest::Contains("no spatial map"), Error);
  CHECK_THROWS_WITH_AS(
      Colorization(nn::make_encoder({.name = "nin", .width = 4, .image_size = 32, .channels = 1}), {.stride = 16}),
      doctest::Contains("--color-stride"), Error);
}

TEST_CASE("colorization learns colours that follow lightness, by either loss") {
  for (const std::string loss : {"classification", "regression"}) {
    CAPTURE(loss);
    Colorization model = small_model({.loss = loss});
    optim::AdamW optimizer(model, {.lr = 1e-2});
    double first = 0, last = 0;
    for (int64_t step = 0; step < 60; ++step) {
      const Variable value = model.loss({images(16, static_cast<uint64_t>(step), 1)}, {step, 60});
      optimizer.zero_grad();
      value.backward();
      optimizer.step();
      last = value.item();
      if (step == 0) first = last;
    }
    CHECK(last < 0.6 * first);
    CHECK(model.metrics().at("feature_std").item() > 0.1);
    model.eval();
    const Tensor rgb = images(8, 1000, 1), predicted = model.colorize(rgb);
    CHECK(mean(abs(rgb_to_lightness(predicted) - rgb_to_lightness(rgb))).item() < 3);  // 0 but for clamped colours
    const std::vector<PictureColumn> columns = model.reconstruct(rgb, 0);
    REQUIRE(columns.size() == 3);
    CHECK(max_abs_difference(columns[0].images.slice(3, 0, 1), columns[0].images.slice(3, 2, 3)) < 1e-4);
    CHECK(max_abs_difference(columns[1].images, predicted) == 0);
    const auto error = [&](const Tensor& x) {  // of a and b alone: the lightness is given
      return mean(abs(rgb_to_lab(x).slice(3, 1, 3) - rgb_to_lab(rgb).slice(3, 1, 3))).item();
    };
    CHECK(error(predicted) < 0.6 * error(columns[0].images));
    CHECK(columns[2].name == "original");
  }
}

TEST_CASE("a run: the prior is in the checkpoint, a resume is bit-equal, evaluation sees lightness") {
  const TemporaryDirectory dir;
  const ImageSourcePtr source = open_data({"synthetic:64"}, Split::Train);
  TrainConfig whole = tiny_run(dir, "whole", "synthetic:64"), parts = tiny_run(dir, "parts", "synthetic:64");
  pretrain(whole, source);
  parts.stop_after_epochs = 1;
  pretrain(parts, source);
  parts.stop_after_epochs.reset();
  parts.resume = true;
  pretrain(parts, source);
  Pretrained a = load_pretrained(whole.out), b = load_pretrained(parts.out);
  const nn::StateDict left = nn::state_dict(*a.method), right = nn::state_dict(*b.method);
  REQUIRE(left.count("prior") == 1);
  CHECK(amax(left.at("prior")).item() > 0.1);
  for (const auto& tensor : left) CHECK(max_abs_difference(tensor.second, right.at(tensor.first)) == 0);

  CHECK(a.views.channels == 1);
  CHECK(a.views.normalisation.lightness);
  CHECK(a.method_views.channels == 3);
  CHECK_FALSE(a.method_views.normalisation.lightness);
  CHECK(encoder_features(a.method->encoder(), *source, a.views).dimensions() == 32);
  CHECK(random_encoder(a.info.config.encoder_options(), source, a.views).features() == 32);
  FinetuneOptions options;
  options.epochs = 1;
  options.min_steps = 4;
  CHECK(finetune(a.method->encoder(), source, source, a.views, options).steps == 4);
  CHECK_THROWS_WITH_AS(projected_features(*a.method, *source, a.views), doctest::Contains("map"), Error);
}

TEST_CASE("gray data, one channel and networks without a map are refused before a run begins") {
  const TemporaryDirectory dir;
  std::vector<uint8_t> pixels(64 * 32 * 32);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 7);
  const ImageSourcePtr grays = memory_source(pixels, std::vector<int64_t>(64, 0), 32, 32, 1, {"x"});
  const TrainConfig c = tiny_run(dir, "gray", "synthetic:64");
  CHECK_THROWS_WITH_AS(pretrain(c, grays), doctest::Contains("gray data"), Error);
  CHECK_FALSE(std::filesystem::exists(c.out));
  for (const auto& [channels, encoder, what] : std::vector<std::tuple<int64_t, std::string, const char*>>{
           {1, "small_cnn", "--channels 1"}, {0, "small_cnn", "--channels 0"}, {3, "vit_tiny", "--encoder vit_tiny"}}) {
    TrainConfig wrong = c;
    wrong.channels = channels;
    wrong.encoder = encoder;
    wrong.encoder_width = 0;
    CHECK_THROWS_WITH_AS(validate(wrong), doctest::Contains(what), UsageError);
  }
  CHECK_THROWS_WITH_AS(recipe_of(c, "fashion-mnist-demo"), doctest::Contains("small-images, folder"), UsageError);
}
