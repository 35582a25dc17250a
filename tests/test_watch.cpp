// Warnings while a run goes on: each cause fires once, and a healthy run is not disturbed.
#include <doctest/doctest.h>

#include "process.h"
#include "ssl/train/build.h"
#include "ssl/train/watch.h"
#include "train.h"

namespace {

using namespace tacit;
using namespace tacit::ssl;
using testing::contains;
using testing::tiny_config;

struct Figures {
  double loss = 1;
  std::map<std::string, double> metrics = {};
};

/// What is said in so many steps of these figures; and the step of the last warning.
std::vector<std::string> said(RunWatch& watch, int64_t steps, const Figures& figures, int64_t* last = nullptr,
                              int64_t first = 1) {
  std::vector<std::string> all;
  StepRecord record;
  record.loss = figures.loss;
  record.metrics = figures.metrics;
  for (record.step = first; record.step < first + steps; ++record.step)
    for (std::string& line : watch.step(record)) {
      all.push_back(std::move(line));
      if (last) *last = record.step;
    }
  return all;
}

Batch batch_of(const std::vector<float>& first, const std::vector<float>& second) {
  Batch batch;
  for (const auto* view : {&first, &second}) batch.views.push_back(Tensor::from(*view, {1, 2, 2, 1}));
  return batch;
}

}  // namespace

TEST_CASE("watch: collapsed features and a collapsed head are told apart, once each, after a window of steps") {
  RunWatch watch({4, 0}, 10);
  int64_t at = 0;
  const std::vector<std::string> features =
      said(watch, 250, {1, {{"feature_std", 0.01}, {"projection_std", 0.9}}}, &at);
  REQUIRE(features.size() == 1);
  CHECK(at == RunWatch::kWindow);
  CHECK(features[0].starts_with("warning: collapse: all images have nearly one feature (feature_std 0.01"));
  CHECK(contains(features[0], "Remedy: "));
  const std::vector<std::string> head =
      said(watch, 250, {1, {{"feature_std", 0.7}, {"projection_std", 0.05}}}, nullptr, 251);
  REQUIRE(head.size() == 1);
  CHECK(contains(head[0], "projection_std"));
  CHECK(contains(head[0], "--target-momentum"));
}

TEST_CASE("watch: healthy figures, a short dip, and figures that a method does not have say nothing") {
  RunWatch watch({5, 0.01}, 10);
  CHECK(said(watch, 400, {3, {{"feature_std", 0.3}, {"projection_std", 0.6}, {"pretext_top1", 0.4}}}).empty());
  CHECK(said(watch, 20, {3, {{"feature_std", 0.0}, {"projection_std", 0.0}}}, nullptr, 401).empty());
  CHECK(said(watch, 400, {3, {{"feature_std", 0.3}, {"projection_std", 0.6}}}, nullptr, 421).empty());
  RunWatch bare({5, 0}, 10);
  CHECK(said(bare, 1000, {4.5}).empty());
}

TEST_CASE("watch: a loss at its chance level is waited for, told once, and forgiven where the task is learned") {
  int64_t at = 0;
  RunWatch stuck({5, 0.01}, 10);
  const std::vector<std::string> lines = said(stuck, 2000, {4.99, {{"pretext_top1", 0.01}}}, &at);
  REQUIRE(lines.size() == 1);
  CHECK(at == RunWatch::kPatience);
  CHECK(contains(lines[0], "after 300 steps the loss is still at its chance level (4.99 over"));
  CHECK(contains(lines[0], "chance 5)"));
  CHECK(contains(lines[0], "Remedy: another --lr"));

  RunWatch slow({5, 0.01}, 700);  // not before an epoch is over
  CHECK(said(slow, 2000, {5.2, {{"pretext_top1", 0.01}}}, &at).size() == 1);
  CHECK(at == 700);
  RunWatch rising({5, 0.01}, 10);  // MoCo's queue fills, and the keys are found all the same
  CHECK(said(rising, 2000, {5.2, {{"pretext_top1", 0.2}}}).empty());
  RunWatch learning({5, 0.01}, 10);
  CHECK(said(learning, 2000, {4.8, {{"pretext_top1", 0.02}}}).empty());
  RunWatch resumed({5, 0.01}, 10);  // its window is filled first
  CHECK(said(resumed, 1000, {5, {{"pretext_top1", 0.01}}}, &at, 5001).size() == 1);
  CHECK(at == 5100);
}

TEST_CASE("watch: equal views are told of the first batch alone") {
  RunWatch watch({4, 0}, 10);
  const std::vector<std::string> lines = watch.batch(batch_of({1, 2, 3, 4}, {1, 2, 3, 4}));
  REQUIRE(lines.size() == 1);
  CHECK(contains(lines[0], "both views of every image"));
  CHECK(contains(lines[0], "--augmentation"));
  CHECK(watch.batch(batch_of({1, 2, 3, 4}, {1, 2, 3, 4})).empty());
  RunWatch other({4, 0}, 10);
  CHECK(other.batch(batch_of({1, 2, 3, 4}, {1, 2, 3, 5})).empty());
  CHECK(other.batch(batch_of({1, 2, 3, 4}, {1, 2, 3, 4})).empty());
  RunWatch single({4, 0}, 10);
  Batch one = batch_of({1, 2, 3, 4}, {1, 2, 3, 4});
  one.views.pop_back();
  CHECK(single.batch(one).empty());
}

TEST_CASE("watch: batch norm over fewer than eight images, with the remedy that would do") {
  const std::unique_ptr<Method> cnn = make_method(tiny_config());
  CHECK(batch_norm_warning(*cnn, 8, 0, "--batch-size").empty());
  CHECK(batch_norm_warning(*cnn, 64, 8, "--batch-size").empty());
  CHECK(contains(batch_norm_warning(*cnn, 7, 0, "--batch-size"), "7 images at a time"));
  CHECK(contains(batch_norm_warning(*cnn, 7, 0, "--chunk-size"), "Remedy: a larger --chunk-size"));
  CHECK(contains(batch_norm_warning(*cnn, 32, 8, "--batch-size"), "4 images at a time"));
  CHECK(contains(batch_norm_warning(*cnn, 32, 8, "--batch-size"), "--bn-splits 4 or fewer, or a larger --batch-size"));
  CHECK(contains(batch_norm_warning(*cnn, 4, 2, "--batch-size"), "Remedy: a larger --batch-size"));
  TrainConfig mae = tiny_config();
  mae.method = "mae";
  apply_recipe(mae, "small-images");
  mae.image_size = 16, mae.channels = 3, mae.encoder_width = 32;
  CHECK(batch_norm_warning(*make_method(mae), 2, 0, "--batch-size").empty());  // it has none
}
