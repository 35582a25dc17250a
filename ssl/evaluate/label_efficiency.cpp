#include "ssl/evaluate/label_efficiency.h"

#include <cmath>

namespace tacit::ssl {
namespace {

void finish(LabelEfficiencyRow& row) {
  const auto n = static_cast<double>(row.top1.size());
  double sum = 0, squares = 0;
  for (const double x : row.top1) sum += x;
  row.mean = sum / n;
  for (const double x : row.top1) squares += (x - row.mean) * (x - row.mean);
  row.std = n > 1 ? std::sqrt(squares / (n - 1)) : 0;
  row.draws = static_cast<int64_t>(row.top1.size());
}

}  // namespace

std::vector<LabelDraw> draw_all(const std::vector<int64_t>& labels, int64_t classes,
                                const LabelEfficiencyOptions& options, const std::vector<std::string>& class_names) {
  TACIT_CHECK(options.draws >= 1, "[label efficiency] ", options.draws, " draws; at least 1 is needed");
  std::vector<LabelDraw> draws;
  for (const int64_t n : options.labels_per_class)
    for (int64_t draw = 0; draw < options.draws; ++draw)
      draws.push_back(draw_labels(labels, classes, n, draw, options.seed, class_names));
  return draws;
}

std::vector<LabelEfficiencyRow> label_efficiency(const std::string& method, const std::vector<LabelDraw>& draws,
                                                 const DrawAccuracy& f) {
  std::vector<LabelEfficiencyRow> rows;
  for (const LabelDraw& draw : draws) {
    if (rows.empty() || rows.back().labels_per_class != draw.labels_per_class)
      rows.push_back({draw.labels_per_class, method, 0, 0, 0, {}});
    rows.back().top1.push_back(f(draw));
  }
  for (LabelEfficiencyRow& row : rows) finish(row);
  return rows;
}

DrawAccuracy logistic_on_draws(const FeatureSet& train, const FeatureSet& test) {
  check_same_dimensions("label efficiency", train, test);
  const int64_t classes = check_labelled(train.labels, "the training split");
  check_labelled(test.labels, "the test split");
  const Standardizer standardizer(train.features);
  const Tensor test_design = standardizer.design(test.features);
  return [standardizer, test_design, classes, &train, &test](const LabelDraw& draw) {
    const Tensor design = standardizer.design(train.features, draw.indices);
    const auto labels = take(train.labels, draw.indices);
    const double l2 = choose_l2(design, labels, classes);
    const LogisticFit fit = fit_logistic(design, labels, classes, {{l2, {}}}).front();
    return accuracy(predict(test_design, fit), test.labels);
  };
}

}  // namespace tacit::ssl
