#include "ssl/evaluate/logistic.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "tensor/ops.h"
#include "tensor/random.h"

namespace tacit::ssl {
namespace {

/// Wide weights (fits * classes, D + 1) in the design's dtype, one fit below the other.
Tensor stack_weights(const Tensor& design, int64_t classes, const std::vector<const std::vector<double>*>& points) {
  std::vector<double> all;
  all.reserve(points.size() * points.front()->size());
  for (const auto* point : points) all.insert(all.end(), point->begin(), point->end());
  const int64_t rows = static_cast<int64_t>(points.size()) * classes;
  return Tensor::from(all, {rows, design.size(1)}, design.device()).to(design.dtype());
}

/// Some regressions on one design matrix, minimised in step: every round evaluates all that are not done yet.
class SideBySide {
 public:
  SideBySide(const Tensor& design, const std::vector<int64_t>& labels, int64_t classes)
      : design_(design), classes_(classes), rows_(design.size(0)) {
    label_index_ = Tensor::from(labels, {rows_, 1, 1}, design.device());
    one_hot_ =
        scatter_add({rows_, 1, classes}, 2, label_index_, Tensor::ones({rows_, 1, 1}, design.dtype(), design.device()));
  }

  std::vector<LogisticFit> fit(std::span<const LogisticProblem> problems, const LbfgsOptions& options) {
    const size_t unknowns = static_cast<size_t>(classes_ * design_.size(1));
    std::vector<Lbfgs> searches(problems.size(), Lbfgs(std::vector<double>(unknowns, 0.0), options));
    std::vector<size_t> active(problems.size());
    std::iota(active.begin(), active.end(), size_t{0});
    Tensor shares = sample_shares(problems, active);
    while (!active.empty()) {
      evaluate(problems, active, shares, searches);
      const size_t before = active.size();
      std::erase_if(active, [&](size_t p) { return searches[p].done(); });
      if (active.size() != before && !active.empty()) shares = sample_shares(problems, active);
    }
    std::vector<LogisticFit> fits;
    for (const Lbfgs& s : searches) fits.push_back({s.point(), s.value(), s.gradient_norm(), s.iterations()});
    return fits;
  }

 private:
  /// (N, P, 1): 1 / (rows of the problem) where the row belongs to it, else 0.
  Tensor sample_shares(std::span<const LogisticProblem> problems, const std::vector<size_t>& active) const {
    std::vector<double> shares(static_cast<size_t>(rows_) * active.size());
    for (size_t a = 0; a < active.size(); ++a) {
      const auto& rows = problems[active[a]].rows;
      const auto count =
          rows.empty() ? rows_ : std::count_if(rows.begin(), rows.end(), [](uint8_t r) { return r != 0; });
      for (size_t i = 0; i < static_cast<size_t>(rows_); ++i)
        if (rows.empty() || rows[i]) shares[i * active.size() + a] = 1.0 / static_cast<double>(count);
    }
    return Tensor::from(shares, {rows_, static_cast<int64_t>(active.size()), 1}, design_.device()).to(design_.dtype());
  }

  void evaluate(std::span<const LogisticProblem> problems, const std::vector<size_t>& active, const Tensor& shares,
                std::vector<Lbfgs>& searches) const {
    const auto count = static_cast<int64_t>(active.size());
    std::vector<const std::vector<double>*> points;
    for (const size_t p : active) points.push_back(&searches[p].point());
    const Tensor weight = stack_weights(design_, classes_, points);
    const Tensor log_p = log_softmax(matmul(design_, weight.t()).reshape({rows_, count, classes_}));
    const Tensor picked = gather(log_p, 2, label_index_.broadcast_to({rows_, count, 1}));
    const auto losses = sum(picked.to(f64) * shares.to(f64), {0}).to_vector<double>();
    const Tensor residual = ((exp(log_p) - one_hot_) * shares).reshape({rows_, count * classes_});
    const auto gradients = matmul(residual.t(), design_).to(f64).to_vector<double>();

    const size_t unknowns = points.front()->size(), width = static_cast<size_t>(design_.size(1));
    tbb::parallel_for(size_t{0}, active.size(), [&](size_t a) {
      const auto first = gradients.begin() + static_cast<std::ptrdiff_t>(a * unknowns);
      std::vector<double> gradient(first, first + static_cast<std::ptrdiff_t>(unknowns));
      const double l2 = problems[active[a]].l2;
      double penalty = 0;
      for (size_t i = 0; i < unknowns; ++i) {
        if (i % width == width - 1) continue;  // the bias
        const double w = (*points[a])[i];
        penalty += w * w;
        gradient[i] += l2 * w;
      }
      searches[active[a]].tell(-losses[a] + 0.5 * l2 * penalty, std::move(gradient));
    });
  }

  const Tensor& design_;
  int64_t classes_, rows_;
  Tensor label_index_, one_hot_;
};

/// How many problems run side by side: their L-BFGS states and logits stay within about half a gigabyte. A function of
/// shapes alone.
int64_t problems_at_once(const Tensor& design, int64_t classes, const LbfgsOptions& options) {
  const int64_t state = 8 * classes * design.size(1) * (2 * options.history + 6);
  const int64_t logits = 4 * static_cast<int64_t>(size_of(design.dtype())) * design.size(0) * classes;
  return std::max<int64_t>(1, 512'000'000 / std::max<int64_t>(1, state + logits));
}

/// Fold of every row: the images of each class, shuffled, are dealt out in turn.
std::vector<int> deal_folds(const std::vector<std::vector<int64_t>>& by_class, size_t rows, int folds, uint64_t seed) {
  std::vector<int> fold(rows);
  int next = 0;
  for (size_t c = 0; c < by_class.size(); ++c) {
    const auto order = shuffled(by_class[c], seed, random_stream("folds", c));
    for (const int64_t row : order) fold[static_cast<size_t>(row)] = next++ % folds;
  }
  return fold;
}

}  // namespace

std::vector<LogisticFit> fit_logistic(const Tensor& design, const std::vector<int64_t>& labels, int64_t classes,
                                      const std::vector<LogisticProblem>& problems, const LbfgsOptions& options) {
  TACIT_CHECK(design.rank() == 2 && design.size(0) == static_cast<int64_t>(labels.size()) && !labels.empty(),
              "[logistic] a design of shape ", design.shape(), " for ", labels.size(), " labels");
  for (const int64_t label : labels)
    TACIT_CHECK(label >= 0 && label < classes, "[logistic] label ", label, " is not in 0 … ", classes - 1);
  for (const LogisticProblem& p : problems) {
    TACIT_CHECK(p.l2 >= 0, "[logistic] l2 = ", p.l2, " must not be negative");
    TACIT_CHECK(p.rows.empty() || p.rows.size() == labels.size(), "[logistic] ", p.rows.size(), " row flags for ",
                labels.size(), " rows");
    TACIT_CHECK(p.rows.empty() || std::any_of(p.rows.begin(), p.rows.end(), [](uint8_t r) { return r != 0; }),
                "[logistic] a problem without any row");
  }
  SideBySide solver(design, labels, classes);
  std::vector<LogisticFit> fits;
  const auto group = static_cast<size_t>(problems_at_once(design, classes, options));
  for (size_t lo = 0; lo < problems.size(); lo += group) {
    auto part = solver.fit(std::span(problems).subspan(lo, std::min(group, problems.size() - lo)), options);
    std::move(part.begin(), part.end(), std::back_inserter(fits));
  }
  return fits;
}

Tensor log_probabilities(const Tensor& design, const LogisticFit& fit) {
  const auto classes = static_cast<int64_t>(fit.weight.size()) / design.size(1);
  return log_softmax(matmul(design, stack_weights(design, classes, {&fit.weight}).t()));
}

std::vector<int64_t> predict(const Tensor& design, const LogisticFit& fit) {
  return argmax(log_probabilities(design, fit)).to_vector<int64_t>();
}

double choose_l2(const Tensor& design, const std::vector<int64_t>& labels, int64_t classes,
                 const CrossValidationOptions& options) {
  TACIT_CHECK(!options.grid.empty() && options.folds >= 2,
              "[logistic] cross-validation needs a grid and at least two "
              "folds, got ",
              options.grid.size(), " penalties and ", options.folds, " folds");
  const auto by_class = rows_by_class(labels, classes);
  for (const auto& rows : by_class)
    if (!rows.empty() && static_cast<int>(rows.size()) < options.folds) return options.fixed_l2;

  const std::vector<int> fold = deal_folds(by_class, labels.size(), options.folds, options.seed);
  std::vector<LogisticProblem> problems;
  for (const double l2 : options.grid)
    for (int f = 0; f < options.folds; ++f) {
      problems.push_back({l2, std::vector<uint8_t>(labels.size())});
      for (size_t i = 0; i < labels.size(); ++i) problems.back().rows[i] = fold[i] != f;
    }
  const auto fits = fit_logistic(design, labels, classes, problems, options.search);

  double best = 0, least = std::numeric_limits<double>::infinity();
  for (size_t p = 0; p < problems.size(); p += static_cast<size_t>(options.folds)) {
    double loss = 0;
    for (int f = 0; f < options.folds; ++f) {
      const auto log_p = log_probabilities(design, fits[p + static_cast<size_t>(f)]).to(f64).to_vector<double>();
      for (size_t i = 0; i < labels.size(); ++i)
        if (fold[i] == f) loss -= log_p[i * static_cast<size_t>(classes) + static_cast<size_t>(labels[i])];
    }
    if (loss < least) {
      least = loss;
      best = problems[p].l2;
    }
  }
  return best;
}

}  // namespace tacit::ssl
