// Label efficiency: accuracy on test when only n images of every class have labels.
// The rule: which images those are is a pure function of (seed, n, draw), so that every method sees the same ones.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ssl/evaluate/logistic.h"

namespace tacit::ssl {

struct LabelEfficiencyOptions {
  std::vector<int64_t> labels_per_class = {10, 100};
  int64_t draws = 3;
  uint64_t seed = 0;
};
/// All draws, by labels_per_class and then draw. Throws Error for counts below 1.
std::vector<LabelDraw> draw_all(const std::vector<int64_t>& labels, int64_t classes, const LabelEfficiencyOptions&,
                                const std::vector<std::string>& class_names = {});

/// One line of the table.
struct LabelEfficiencyRow {
  int64_t labels_per_class = 0;
  std::string method;  ///< "pixels", "random", "supervised", "run", "finetuned"
  double mean = 0;
  double std = 0;  ///< over the draws, by n - 1; 0 for a single draw
  int64_t draws = 0;
  std::vector<double> top1;  ///< of every draw
};
/// Test accuracy of a classifier learnt from one draw: a network trained elsewhere, or features by
/// logistic_on_draws(). A function of the draw.
using DrawAccuracy = std::function<double(const LabelDraw&)>;
/// Calls f for every draw and gathers the results by labels_per_class.
std::vector<LabelEfficiencyRow> label_efficiency(const std::string& method, const std::vector<LabelDraw>& draws,
                                                 const DrawAccuracy& f);

/// Logistic regression on frozen features, standardised by all of train without labels, its L2 chosen by
/// cross-validation within the draw. Keeps references to both sets.
DrawAccuracy logistic_on_draws(const FeatureSet& train, const FeatureSet& test);

}  // namespace tacit::ssl
