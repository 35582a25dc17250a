#include "ssl/evaluate/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "ssl/data/augment.h"
#include "ssl/evaluate/clustering.h"
#include "ssl/evaluate/metrics.h"
#include "ssl/evaluate/pca.h"

namespace tacit::ssl {
namespace {

/// One kind of features through all evaluations.
class Rows {
 public:
  Rows(EvaluationTable& table, const EvaluateOptions& options) : table_(table), options_(options) {}

  void announce(const std::string& method, const char* part) const {
    if (options_.progress) options_.progress(method + ": " + part);
  }
  void features(const std::string& method, double ThreeWay::*column, const FeatureSet& train, const FeatureSet& test) {
    announce(method, "nearest neighbours");
    KnnOptions neighbours = options_.knn;
    neighbours.k = table_.k;
    table_.knn.*column = knn(train, test, neighbours).top1;
    table_.linear.*column = std::nan("");
    const int64_t classes = check_labelled(train.labels, "the training split");
    if (smallest_class(train.labels, classes).second < 2) {  // the probe's learning rate is chosen on held-out images
      announce(method, "no linear probe: a class has a single training image");
    } else {
      announce(method, "linear probe");
      table_.linear.*column = linear_probe(train, test, options_.linear).top1;
    }
    announce(method, "clusters");
    const ClusteringScores scores = clustering(test, options_.labels.seed);
    table_.clusters = scores.k;
    table_.nmi.*column = scores.nmi;
    table_.cluster_accuracy.*column = scores.accuracy;
    few_labels(method, logistic_on_draws(train, test));
  }
  void few_labels(const std::string& method, const DrawAccuracy& top1) {
    announce(method, "few labels");
    auto rows = label_efficiency(method, table_.draws, top1);
    std::move(rows.begin(), rows.end(), std::back_inserter(table_.label_efficiency));
  }

 private:
  EvaluationTable& table_;
  const EvaluateOptions& options_;
};

std::string format(const char* pattern, auto... values) {
  char text[160];
  std::snprintf(text, sizeof(text), pattern, values...);
  return text;
}

std::string line(const char* name, const ThreeWay& x) {
  std::string text = format("  %-22s", name);
  for (const double value : {x.pixels, x.random, x.run})
    text += std::isnan(value) ? "       -" : format(" %7.1f", 100 * value);
  return text + "\n";
}

}  // namespace

EvaluationTable evaluate(nn::Encoder& run, const nn::EncoderOptions& random, ImageSourcePtr train, ImageSourcePtr test,
                         const PlainViews& views, const EvaluateOptions& options) {
  EvaluationTable table;
  const auto labels = labels_of(*train);
  const int64_t classes = check_labelled(labels, "the training split");
  check_labelled(labels_of(*test), "the test split");
  table.k = std::min(options.knn.k, train->size());
  table.draws = draw_all(labels, classes, options.labels, train->class_names());

  Rows rows(table, options);
  rows.announce("pixels", "features");
  // The data's own channels and one normalisation for all: the same baseline beside every run.
  PlainViews small;
  small.image_size = std::min(views.image_size, kLargestPixels);
  small.channels = train->channels();
  small.normalisation = augmentation("none", small.image_size, small.channels)[0];
  rows.features("pixels", &ThreeWay::pixels, pixel_features(*train, small), pixel_features(*test, small));
  rows.announce("random", "features");
  nn::Encoder untrained = random_encoder(random, train, views);
  const auto of = [&](nn::Encoder& encoder, const ImageSource& source) {
    return options.stage.empty() ? encoder_features(encoder, source, views)
                                 : stage_features(encoder, options.stage, source, views);
  };
  rows.features("random", &ThreeWay::random, of(untrained, *train), of(untrained, *test));
  for (const TrainedMethod& method : options.trained) rows.few_labels(method.name, method.top1);
  rows.announce("run", "features");
  const FeatureSet run_test = of(run, *test);
  rows.features("run", &ThreeWay::run, of(run, *train), run_test);
  table.feature_std = feature_std(run_test.features);
  table.rank_me = rank_me(run_test.features);
  if (run_test.size() >= 2 && run_test.dimensions() >= 2) {
    const Pca pca = principal_components(run_test.features);
    table.pca = pca.project(run_test.features);
    table.explained = pca.explained;
  }

  // By number of labels first; within one, the methods stay in the order in which they were evaluated.
  std::stable_sort(table.label_efficiency.begin(), table.label_efficiency.end(),
                   [](const auto& a, const auto& b) { return a.labels_per_class < b.labels_per_class; });
  return table;
}

std::string render(const EvaluationTable& table) {
  std::string text = "Accuracy on test, %      pixels  random     run\n";
  text += line(format("kNN (k = %lld)", static_cast<long long>(table.k)).c_str(), table.knn);
  text += line("linear, all labels", table.linear);
  text += line(format("k-means (k = %lld), NMI", static_cast<long long>(table.clusters)).c_str(), table.nmi);
  text += line("  clusters as classes", table.cluster_accuracy);
  int64_t labels = 0;
  for (const LabelEfficiencyRow& row : table.label_efficiency) {
    if (row.labels_per_class != labels) {
      labels = row.labels_per_class;
      text += format("%lld label%s per class, %lld draw%s\n", static_cast<long long>(labels), labels == 1 ? "" : "s",
                     static_cast<long long>(row.draws), row.draws == 1 ? "" : "s");
    }
    text += format("  %-22s %7.1f ± %.1f\n", row.method.c_str(), 100 * row.mean, 100 * row.std);
  }
  text += format("Features of the run: std %.2f (1 healthy, 0 collapsed), effective rank %.1f\n", table.feature_std,
                 table.rank_me);
  return text;
}

}  // namespace tacit::ssl
