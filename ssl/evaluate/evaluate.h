// The `evaluate` table: a run beside raw pixels and an untrained encoder, by kNN, linear probe, clusters and few
// labels. The rule: every row is made by one method, whatever the features; none has a setting chosen on test.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ssl/evaluate/knn.h"
#include "ssl/evaluate/label_efficiency.h"
#include "ssl/evaluate/linear.h"

namespace tacit::ssl {

/// Accuracies (fractions) of the three kinds of features; NaN: cannot be measured on this data.
struct ThreeWay {
  double pixels = 0, random = 0, run = 0;
};
/// What `tacit evaluate` prints; accuracies are fractions.
struct EvaluationTable {
  ThreeWay knn, linear;
  int64_t k = 20;                                    ///< of knn
  std::vector<LabelEfficiencyRow> label_efficiency;  ///< by labels_per_class; pixels, random, trained ones, run
  std::vector<LabelDraw> draws;                      ///< the index lists
  double feature_std = 0, rank_me = 0;               ///< of the run's features on test
  int64_t clusters = 0;                              ///< of k-means on test: the number of classes
  ThreeWay nmi, cluster_accuracy;                    ///< how well they fit the labels
  Tensor pca;                                        ///< (N, 2): test on the first two principal components
  std::vector<double> explained;                     ///< their parts of the variance
};

/// A network trained end to end on each draw, elsewhere (ssl/train): "supervised", "finetuned".
struct TrainedMethod {
  std::string name;
  DrawAccuracy top1;
};
struct EvaluateOptions {
  KnnOptions knn;  ///< k is lowered to the size of train
  LinearProbeOptions linear;
  LabelEfficiencyOptions labels;
  std::vector<TrainedMethod> trained;
  std::string stage;  ///< features of this stage, of the run and the untrained encoder; "": the encoder's output
  /// Called before each part with what comes now ("random: features").
  std::function<void(const std::string&)> progress;
};
/// The pixels' row has images of at most this side: a larger image is shrunk, or 10,000 of them would not fit in
/// memory.
inline constexpr int64_t kLargestPixels = 64;
/// Fills the table. `random` says how the untrained encoder is made: as the run's, with its own seed. Needs labels.
EvaluationTable evaluate(nn::Encoder& run, const nn::EncoderOptions& random, ImageSourcePtr train, ImageSourcePtr test,
                         const PlainViews&, const EvaluateOptions& = {});

/// As text, in percent, a line for each method.
std::string render(const EvaluationTable&);

}  // namespace tacit::ssl
