// A look at the features while a run goes on, for --eval-every. The rule: it changes nothing that the run depends on.
#pragma once

#include <map>
#include <string>

#include "ssl/evaluate/features.h"
#include "ssl/evaluate/linear.h"
#include "ssl/train/config.h"

namespace tacit::ssl {

/// kNN(20) and a linear probe on at most so many images.
class OnlineEvaluation {
 public:
  static constexpr int64_t kTrain = 5000, kTest = 1000;

  OnlineEvaluation(const TrainConfig& config, const ImageSourcePtr& train, PlainViews views);
  /// Whether the data has the labels that it takes.
  bool possible() const { return train_ != nullptr; }
  /// The images that it tests on.
  const ImageSource& test() const { return *test_; }
  /// Adds "knn_top1" and "linear_top1".
  void add_to(std::map<std::string, double>& metrics, nn::Encoder& encoder) const;

 private:
  PlainViews views_;
  ImageSourcePtr train_, test_;
  LinearProbeOptions probe_;
};

/// Whether an evaluation could test on images that the run learns from.
bool learns_from_test(const TrainConfig& config);

}  // namespace tacit::ssl
