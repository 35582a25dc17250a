// Bugs that evaluations of self-supervised learning are known for, each as a test that fails when it is put in.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "ssl/evaluate/knn.h"
#include "ssl/evaluate/label_efficiency.h"
#include "ssl/evaluate/linear.h"
#include "ssl/train/pretrain.h"
#include "tensor/ops.h"
#include "tests/images.h"
#include "tests/process.h"
#include "tests/train.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

/// Three classes, not easily told apart; `draw` gives others.
FeatureSet features_of(int64_t n, uint64_t draw) {
  FeatureSet set;
  set.features = Tensor::normal({n, 12}, draw, 1);
  for (int64_t i = 0; i < n; ++i) {
    set.labels.push_back(i % 3);
    set.features.slice(0, i, i + 1).slice(1, i % 3, i % 3 + 1).add_(Tensor::full({1, 1}, 1));
  }
  return set;
}

/// The same images under other labels: whoever chose by accuracy on them would now choose otherwise.
FeatureSet relabelled(FeatureSet set) {
  for (int64_t& label : set.labels) label = (label + 1) % 3;
  return set;
}

/// `set`, followed by rows far away from everything: whoever took statistics of test would see them.
FeatureSet with_far_rows(const FeatureSet& set, const FeatureSet& others) {
  FeatureSet both = set;
  both.features = concatenate(std::vector<Tensor>{set.features, others.features * 1e4 + 3e4}, 0);
  both.labels.insert(both.labels.end(), others.labels.begin(), others.labels.end());
  return both;
}

/// Whether the longer list begins with the shorter one.
bool begins_with(const std::vector<int64_t>& list, const std::vector<int64_t>& part) {
  return list.size() >= part.size() && std::equal(part.begin(), part.end(), list.begin());
}

using Pictures = std::set<std::string>;
Pictures pictures_of(const ImageSource& source) {
  Pictures all;
  for (int64_t i = 0; i < source.size(); ++i) {
    const Image image = source.image(i);
    all.emplace(image.pixels.begin(), image.pixels.end());
  }
  return all;
}

/// What a run says before its first step.
std::string said_by(TrainConfig config, const std::string& out) {
  config.out = out;
  config.steps = 0;
  std::string said;
  PretrainObserver observer;
  observer.say = [&](const std::string& line) { said += line + "\n"; };
  pretrain(config, open_training_data(config, nullptr), observer);
  return said;
}

}  // namespace

TEST_CASE("bug 37: no recipe learns from test images, the splits share none, and who asks for them is told") {
  CHECK(TrainConfig().split == "train");
  for (const MethodEntry& method : method_entries())
    for (const Recipe& recipe : method.recipes) {
      CAPTURE(method.name);
      CAPTURE(recipe.name);
      TrainConfig config;
      config.method = method.name;
      apply_recipe(config, recipe.name);
      CHECK(config.split == (std::string(recipe.name) == "stl10" ? "unlabeled" : "train"));
    }
  const TemporaryDirectory dir;
  std::filesystem::create_directories(dir / "flat");
  for (int i = 0; i < 20; ++i) write_file(dir / "flat/" + std::to_string(i) + ".ppm", ppm(8, i + 1));
  for (const std::string& spec : {std::string("synthetic:50"), "folder:" + (dir / "flat")}) {
    CAPTURE(spec);
    const Pictures train = pictures_of(*open_data({spec}, Split::Train)),
                   test = pictures_of(*open_data({spec}, Split::Test)),
                   all = pictures_of(*open_data({spec}, Split::All));
    CHECK(test.size() >= 2);
    CHECK(train.size() + test.size() == all.size());
    for (const std::string& picture : test) CHECK(train.count(picture) == 0);
  }
  TrainConfig config = tiny_config();  // of both splits
  const std::string said = said_by(config, dir / "all");
  CHECK(contains(said, "warning: --split all"));
  CHECK(contains(said, "; --split train leaves them out"));
  config.split = "train";
  CHECK_FALSE(contains(said_by(config, dir / "train"), "warning: --split"));
}

TEST_CASE("bug 37: probes choose and standardise by training images alone") {
  const FeatureSet train = features_of(120, 1), test = features_of(60, 2), others = features_of(60, 3);
  const FeatureSet turned = relabelled(test), longer = with_far_rows(test, others);
  const LinearProbeOptions quick{.epochs = 4, .batch_size = 32};
  const LinearProbeResult probe = linear_probe(train, test, quick), same = linear_probe(train, turned, quick),
                          beside = linear_probe(train, longer, quick);
  for (const LinearProbeResult* other : {&same, &beside}) {
    CHECK(other->best_lr == probe.best_lr);
    REQUIRE(other->sweep.size() == probe.sweep.size());
    for (size_t i = 0; i < probe.sweep.size(); ++i)
      CHECK(other->sweep[i].validation_top1 == probe.sweep[i].validation_top1);
    CHECK(begins_with(other->predictions, probe.predictions));
  }
  const KnnOptions five{.k = 5};
  CHECK(begins_with(knn(train, longer, five).predictions, knn(train, test, five).predictions));
}

TEST_CASE("bug 37: few labels: the penalty and the standardisation know nothing of test") {
  const FeatureSet train = features_of(120, 1), test = features_of(60, 2), others = features_of(60, 3);
  FeatureSet far = with_far_rows(test, others);
  const FeatureSet longer = far;
  far.features = far.features.slice(0, 60, 120).clone();
  far.labels = {far.labels.begin() + 60, far.labels.end()};
  const LabelDraw draw = draw_labels(train.labels, 3, 8, 0, 0);
  // One classifier, whatever it is asked: its accuracies on parts of test make up that on the whole, and under the
  // labels 0, 1 and 2 turned twice every image is right once.
  const double on_test = logistic_on_draws(train, test)(draw), on_far = logistic_on_draws(train, far)(draw),
               on_both = logistic_on_draws(train, longer)(draw);
  CHECK(on_both == doctest::Approx((on_test + on_far) / 2).epsilon(1e-12));
  const FeatureSet once = relabelled(test), twice = relabelled(once);
  CHECK(on_test + logistic_on_draws(train, once)(draw) + logistic_on_draws(train, twice)(draw) ==
        doctest::Approx(1).epsilon(1e-12));
}
