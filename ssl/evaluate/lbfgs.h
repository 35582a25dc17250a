// L-BFGS (Nocedal & Wright, "Numerical Optimization", algorithms 7.4 and 7.5) turned inside out: it asks for a function
// value at a point and is told it, so that many minimisations can share one matrix product per step.
#pragma once

#include <deque>
#include <vector>

namespace tacit::ssl {

struct LbfgsOptions {
  int max_iterations = 500;
  double tolerance = 1e-5;  ///< stop when no entry of the gradient is larger
  int history = 8;          ///< pairs (s, y) kept
};

/// One minimisation of a smooth function in f64. While !done(): evaluate f and its gradient at point() and tell() them.
class Lbfgs {
 public:
  Lbfgs(std::vector<double> start, const LbfgsOptions& options);
  const std::vector<double>& point() const { return trial_; }
  void tell(double value, std::vector<double> gradient);
  /// Converged, out of iterations, or at the limit of the function's precision. point() is then the best point.
  bool done() const { return done_; }
  double value() const { return value_; }
  /// Largest absolute entry of the gradient at the best point.
  double gradient_norm() const;
  int iterations() const { return iterations_; }

 private:
  struct Pair {
    std::vector<double> s, y;
    double rho;  // 1 / (s . y)
  };
  void accept(double value, std::vector<double> gradient);
  void choose_direction();
  void move_trial();
  void finish();

  LbfgsOptions options_;
  std::vector<double> x_, gradient_, direction_, trial_;
  std::deque<Pair> pairs_;
  double value_ = 0, slope_ = 0, step_ = 0;
  int iterations_ = 0, shortenings_ = 0;
  bool started_ = false, done_ = false;
};

}  // namespace tacit::ssl
