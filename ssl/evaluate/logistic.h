// Multinomial logistic regression with L2: minimises mean cross-entropy + l2 / 2 |W|^2, the bias free of the penalty.
// The rule: many problems on the same images (penalties x folds) are solved side by side, one matrix product for all.
#pragma once

#include <vector>

#include "ssl/evaluate/features.h"
#include "ssl/evaluate/lbfgs.h"

namespace tacit::ssl {

/// One regression: its penalty, and which of the shared rows it learns from.
struct LogisticProblem {
  double l2 = 1;
  std::vector<uint8_t> rows;  ///< N flags; empty: all
};
/// A fitted classifier.
struct LogisticFit {
  std::vector<double> weight;  ///< (classes, D + 1), the last column is the bias
  double loss = 0;             ///< the minimised function, penalty included
  double gradient_norm = 0;    ///< its largest gradient entry
  int iterations = 0;
};
/// design (N, D + 1) f32 or f64, last column ones (Standardizer::design); labels N in 0 … classes - 1.
std::vector<LogisticFit> fit_logistic(const Tensor& design, const std::vector<int64_t>& labels, int64_t classes,
                                      const std::vector<LogisticProblem>& problems, const LbfgsOptions& = {});
/// Log-probabilities (N, classes) of every row, in the design's dtype.
Tensor log_probabilities(const Tensor& design, const LogisticFit&);
/// The most probable class of every row.
std::vector<int64_t> predict(const Tensor& design, const LogisticFit&);

/// How the L2 penalty is chosen.
struct CrossValidationOptions {
  std::vector<double> grid = {1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1, 3, 10};  ///< of l2
  int folds = 5;                                                              ///< class-balanced
  double fixed_l2 = 1;  ///< used, without any choice, where a class has fewer images than there are folds
  uint64_t seed = 0;    ///< of the folds
  LbfgsOptions search = {.max_iterations = 200, .tolerance = 1e-4};  ///< enough to rank penalties
};
/// The penalty with the lowest cross-entropy over the held-out folds (smoother than their accuracy, and a better guide
/// to accuracy on test).
double choose_l2(const Tensor& design, const std::vector<int64_t>& labels, int64_t classes,
                 const CrossValidationOptions& = {});

}  // namespace tacit::ssl
