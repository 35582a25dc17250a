#include "ssl/train/online_evaluation.h"

#include <algorithm>

#include "ssl/data/some_indices.h"
#include "ssl/evaluate/knn.h"

namespace tacit::ssl {

namespace {

/// At most n images of a source, the same in every process.
ImageSourcePtr evaluation_sample(const ImageSourcePtr& source, int64_t n) {
  return source->size() <= n ? source : subset(source, some_indices(source->size(), n, "evaluation subset"));
}

}  // namespace

OnlineEvaluation::OnlineEvaluation(const TrainConfig& config, const ImageSourcePtr& train, PlainViews views)
    : views_(std::move(views)) {
  const ImageSourcePtr test = open_data(config.data, Split::Test, config.data_options());
  if (!train->labelled() || !test->labelled() || train->class_names().size() < 2) return;
  train_ = without_damaged(evaluation_sample(train, kTrain), nullptr, config.max_damaged);
  test_ = without_damaged(evaluation_sample(test, kTest), nullptr, config.max_damaged);
  // One rate that suits standardised features, without the sweep of `tacit linear`; about 600 steps, however few
  // images there are.
  probe_ = {.learning_rates = {1e-2}, .epochs = 600, .batch_size = 256, .validation_fraction = 0};
  probe_.epochs /= (train_->size() + probe_.batch_size - 1) / probe_.batch_size;
}

void OnlineEvaluation::add_to(std::map<std::string, double>& metrics, nn::Encoder& encoder) const {
  const FeatureSet train = encoder_features(encoder, *train_, views_), test = encoder_features(encoder, *test_, views_);
  KnnOptions options;
  options.k = std::min<int64_t>(20, train_->size());
  metrics["knn_top1"] = knn(train, test, options).top1;
  metrics["linear_top1"] = linear_probe(train, test, probe_).top1;
}

bool learns_from_test(const TrainConfig& config) {
  if ((config.split != "all" && config.split != "test") || !config.test_data.empty()) return false;
  try {
    return open_data(config.data, Split::Test, config.data_options())->labelled();
  } catch (const Error&) {
    return false;  // there is no test split to spoil
  }
}

}  // namespace tacit::ssl
