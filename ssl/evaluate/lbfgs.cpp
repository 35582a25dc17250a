#include "ssl/evaluate/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/error.h"

namespace tacit::ssl {
namespace {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

void add_scaled(std::vector<double>& a, double factor, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += factor * b[i];
}

std::vector<double> difference(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> d = a;
  add_scaled(d, -1, b);
  return d;
}

constexpr double kSufficientDecrease = 1e-4;  // Armijo
constexpr double kFlat = 1e-7;                // relative noise of a function evaluated in f32
constexpr int kMostShortenings = 30;

}  // namespace

Lbfgs::Lbfgs(std::vector<double> start, const LbfgsOptions& options)
    : options_(options), x_(start), trial_(std::move(start)) {
  TACIT_CHECK(options.max_iterations > 0 && options.history > 0 && options.tolerance >= 0, "[lbfgs] max_iterations ",
              options.max_iterations, ", history ", options.history, ", tolerance ", options.tolerance,
              ": the first two must be above 0, the last at least 0");
}

double Lbfgs::gradient_norm() const {
  double largest = 0;
  for (const double g : gradient_) largest = std::max(largest, std::abs(g));
  return largest;
}

void Lbfgs::tell(double value, std::vector<double> gradient) {
  TACIT_CHECK(!done_ && gradient.size() == x_.size(), "[lbfgs] told a gradient of ", gradient.size(), " entries for ",
              x_.size(), " unknowns", done_ ? " after the end" : "");
  if (!started_) {
    TACIT_CHECK(std::isfinite(value), "[lbfgs] the function is ", value, " at the start");
    started_ = true;
    accept(value, std::move(gradient));
    return;
  }
  // Near the minimum a function rounded to f32 cannot show its decrease, but its slope still can: Hager and Zhang's
  // approximate condition ("A new conjugate gradient method", SIAM J. Optim. 2005, eq. 23 with delta = 0.1).
  const bool decreased = value <= value_ + kSufficientDecrease * step_ * slope_;
  const bool flat = value <= value_ + kFlat * std::abs(value_) && dot(gradient, direction_) <= -0.8 * slope_;
  if (decreased || flat) {
    ++iterations_;
    Pair pair{difference(trial_, x_), difference(gradient, gradient_), 0};
    const double curvature = dot(pair.s, pair.y);
    if (curvature > 1e-12 * dot(pair.y, pair.y)) {
      pair.rho = 1 / curvature;
      pairs_.push_back(std::move(pair));
      if (pairs_.size() > static_cast<size_t>(options_.history)) pairs_.pop_front();
    }
    x_ = trial_;
    accept(value, std::move(gradient));
  } else if (++shortenings_ > kMostShortenings) {
    finish();
  } else {
    // The minimum of the parabola through both values and the slope, kept within [0.1, 0.5] of the step.
    const double parabola = -slope_ * step_ / (2 * (value - value_ - slope_ * step_));
    step_ *= std::isfinite(parabola) ? std::clamp(parabola, 0.1, 0.5) : 0.1;
    move_trial();
  }
}

void Lbfgs::accept(double value, std::vector<double> gradient) {
  value_ = value;
  gradient_ = std::move(gradient);
  if (gradient_norm() <= options_.tolerance || iterations_ >= options_.max_iterations) {
    finish();
    return;
  }
  choose_direction();
  shortenings_ = 0;
  move_trial();
}

void Lbfgs::choose_direction() {
  // The two-loop recursion: direction = -H gradient.
  direction_ = gradient_;
  std::vector<double> alpha(pairs_.size());
  for (size_t i = pairs_.size(); i-- > 0;) {
    alpha[i] = pairs_[i].rho * dot(pairs_[i].s, direction_);
    add_scaled(direction_, -alpha[i], pairs_[i].y);
  }
  if (!pairs_.empty()) {
    const Pair& last = pairs_.back();
    const double scale = 1 / (last.rho * dot(last.y, last.y));
    for (double& d : direction_) d *= scale;
  }
  for (size_t i = 0; i < pairs_.size(); ++i)
    add_scaled(direction_, alpha[i] - pairs_[i].rho * dot(pairs_[i].y, direction_), pairs_[i].s);
  for (double& d : direction_) d = -d;
  slope_ = dot(direction_, gradient_);
  step_ = pairs_.empty() ? std::min(1.0, 1 / std::sqrt(dot(gradient_, gradient_))) : 1;
}

void Lbfgs::move_trial() {
  trial_ = x_;
  add_scaled(trial_, step_, direction_);
}

void Lbfgs::finish() {
  trial_ = x_;
  done_ = true;
}

}  // namespace tacit::ssl
