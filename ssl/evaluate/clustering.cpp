#include "ssl/evaluate/clustering.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "ssl/evaluate/rows_at_once.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace tacit::ssl {
namespace {

/// Squared length of every row, (N) f64 on the host.
std::vector<double> squared_lengths(const Tensor& x) { return sum(x * x, {1}).to(f64).to_vector<double>(); }

/// One run of Lloyd's iterations.
class Lloyd {
 public:
  Lloyd(const Tensor& points, const std::vector<double>& lengths, int64_t k)
      : points_(points), lengths_(lengths), n_(points.size(0)), k_(k) {}

  KMeansResult run(const std::vector<int64_t>& first, int max_iterations, double tolerance) {
    result_.centres = index_select(points_, 0, Tensor::from(first, {k_}, points_.device()));
    assign();
    while (result_.iterations < max_iterations) {
      const double before = result_.inertia;
      ++result_.iterations;
      move_centres();
      const bool changed = assign();
      if (!changed || before - result_.inertia < tolerance * before) break;
    }
    return result_;
  }

 private:
  /// Gives every row its nearest centre (of equals the first); whether any changed.
  bool assign() {
    const std::vector<int64_t> before = std::move(result_.cluster);
    result_.cluster.clear();
    result_.inertia = 0;
    distance_.clear();
    const std::vector<double> lengths = squared_lengths(result_.centres);
    const Tensor half = Tensor::from(std::vector<float>(lengths.begin(), lengths.end()), {1, k_}) * 0.5;
    for (int64_t lo = 0; lo < n_; lo += kRowsAtOnce) {
      const Tensor block = points_.slice(0, lo, std::min(n_, lo + kRowsAtOnce));
      const auto best = top_k(matmul(block, result_.centres.t()) - half.to(points_.device()), 1);
      const auto closeness = best.first.to_vector<float>();
      const auto index = best.second.to_vector<int64_t>();
      result_.cluster.insert(result_.cluster.end(), index.begin(), index.end());
      for (size_t i = 0; i < closeness.size(); ++i)
        distance_.push_back(std::max(0.0, lengths_[static_cast<size_t>(lo) + i] - 2 * double{closeness[i]}));
    }
    for (const double d : distance_) result_.inertia += d;
    return result_.cluster != before;
  }

  /// The mean of every cluster's rows; an empty one takes the row that is farthest from its centre.
  void move_centres() {
    std::vector<int64_t> count(static_cast<size_t>(k_));
    for (const int64_t c : result_.cluster) ++count[static_cast<size_t>(c)];
    for (size_t c = 0; c < count.size(); ++c) {
      if (count[c] > 0) continue;
      const auto far = std::max_element(distance_.begin(), distance_.end()) - distance_.begin();
      int64_t& loser = result_.cluster[static_cast<size_t>(far)];
      --count[static_cast<size_t>(loser)];
      loser = static_cast<int64_t>(c);
      count[c] = 1;
      distance_[static_cast<size_t>(far)] = 0;
    }
    Tensor sums = Tensor::zeros({k_, points_.size(1)}, f64, points_.device());
    for (int64_t lo = 0; lo < n_; lo += kRowsAtOnce) {
      const int64_t rows = std::min(n_, lo + kRowsAtOnce) - lo;
      const auto part =
          std::span<const int64_t>(result_.cluster).subspan(static_cast<size_t>(lo), static_cast<size_t>(rows));
      const Tensor index = Tensor::from(part, {rows, 1}, points_.device());
      const Tensor member = scatter_add({rows, k_}, 1, index, Tensor::ones({rows, 1}, f32, points_.device()));
      sums.add_(matmul(member.t(), points_.slice(0, lo, lo + rows)).to(f64));
    }
    std::vector<double> divisor(count.begin(), count.end());
    for (double& d : divisor) d = std::max(d, 1.0);
    result_.centres = (sums / Tensor::from(divisor, {k_, 1}, points_.device())).to(f32);
  }

  const Tensor& points_;
  const std::vector<double>& lengths_;
  const int64_t n_, k_;
  std::vector<double> distance_;  // of every row to its centre, squared
  KMeansResult result_;
};

/// k-means++: every further centre is a row drawn in proportion to its squared distance from those before.
std::vector<int64_t> seeding(const Tensor& points, const std::vector<double>& lengths, int64_t k, Random& random) {
  const int64_t n = points.size(0);
  std::vector<int64_t> chosen = {static_cast<int64_t>(random.below(static_cast<uint64_t>(n)))};
  std::vector<double> nearest(static_cast<size_t>(n), std::numeric_limits<double>::infinity());
  while (static_cast<int64_t>(chosen.size()) < k) {
    const int64_t last = chosen.back();
    const auto product = matmul(points, points.slice(0, last, last + 1).t()).to_vector<float>();
    double total = 0;
    for (size_t i = 0; i < nearest.size(); ++i) {
      const double d = lengths[i] - 2 * double{product[i]} + lengths[static_cast<size_t>(last)];
      nearest[i] = static_cast<int64_t>(i) == last ? 0 : std::min(nearest[i], std::max(0.0, d));
      total += nearest[i];
    }
    // Where all rows are equal to a centre, any of them may be the next.
    int64_t next = static_cast<int64_t>(random.below(static_cast<uint64_t>(n)));
    double left = random.uniform() * total;
    for (size_t i = 0; total > 0 && i < nearest.size(); ++i) {
      if (nearest[i] == 0) continue;
      next = static_cast<int64_t>(i);
      left -= nearest[i];
      if (left < 0) break;
    }
    chosen.push_back(next);
  }
  return chosen;
}

/// Labels numbered 0, 1, … without the numbers that do not occur, and how many there are.
std::pair<std::vector<int64_t>, int64_t> dense_numbers(const std::vector<int64_t>& labels) {
  std::vector<int64_t> known(labels);
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  std::vector<int64_t> dense;
  dense.reserve(labels.size());
  for (const int64_t label : labels)
    dense.push_back(std::lower_bound(known.begin(), known.end(), label) - known.begin());
  return {dense, static_cast<int64_t>(known.size())};
}

/// How often each pair of entries occurs: (classes of a, classes of b), row-major.
struct Contingency {
  int64_t rows = 0, columns = 0;
  std::vector<double> count;

  Contingency(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
    TACIT_CHECK(a.size() == b.size() && !a.empty(), "[clustering] labellings of ", a.size(), " and ", b.size(),
                " rows cannot be compared");
    for (const auto* labels : {&a, &b})
      TACIT_CHECK(*std::min_element(labels->begin(), labels->end()) >= 0, "[clustering] labels must not be negative");
    std::vector<int64_t> row, column;
    std::tie(row, rows) = dense_numbers(a);
    std::tie(column, columns) = dense_numbers(b);
    count.assign(static_cast<size_t>(rows * columns), 0);
    for (size_t i = 0; i < a.size(); ++i) ++count[static_cast<size_t>(row[i] * columns + column[i])];
  }
};

double entropy(const std::vector<double>& counts, double total) {
  double h = 0;
  for (const double c : counts)
    if (c > 0) h -= c / total * std::log(c / total);
  return h;
}

}  // namespace

KMeansResult k_means(const Tensor& points, const KMeansOptions& options) {
  TACIT_CHECK(points.rank() == 2 && points.numel() > 0, "[k-means] points must be (N, D), got shape ", points.shape());
  TACIT_CHECK(options.k >= 1 && options.k <= points.size(0), "[k-means] k = ", options.k, " clusters of ",
              points.size(0), " points; k must be 1 … ", points.size(0));
  TACIT_CHECK(options.restarts >= 1 && options.max_iterations >= 1, "[k-means] at least one restart and iteration");
  const std::vector<double> lengths = squared_lengths(points);
  for (const double length : lengths)
    TACIT_CHECK(std::isfinite(length), "[k-means] the points hold NaN or infinite values");
  KMeansResult best;
  for (int restart = 0; restart < options.restarts; ++restart) {
    Random random(options.seed, random_stream("k-means", static_cast<uint64_t>(restart)));
    const std::vector<int64_t> first = seeding(points, lengths, options.k, random);
    KMeansResult result = Lloyd(points, lengths, options.k).run(first, options.max_iterations, options.tolerance);
    if (restart == 0 || result.inertia < best.inertia) best = std::move(result);
  }
  return best;
}

double normalized_mutual_information(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  const Contingency table(a, b);
  const auto total = static_cast<double>(a.size());
  std::vector<double> rows(static_cast<size_t>(table.rows)), columns(static_cast<size_t>(table.columns));
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t j = 0; j < columns.size(); ++j) {
      rows[i] += table.count[i * columns.size() + j];
      columns[j] += table.count[i * columns.size() + j];
    }
  const double ha = entropy(rows, total), hb = entropy(columns, total);
  if (ha + hb == 0) return 1;
  return std::clamp(2 * (ha + hb - entropy(table.count, total)) / (ha + hb), 0.0, 1.0);  // I = H(a) + H(b) - H(a, b)
}

std::vector<int64_t> assignment(const std::vector<double>& cost, int64_t n) {
  TACIT_CHECK(n >= 1 && static_cast<int64_t>(cost.size()) == n * n, "[assignment] ", cost.size(),
              " costs are no square of ", n);
  const auto size = static_cast<size_t>(n);
  // Rows and columns count from 1; column 0 holds the row that is being placed.
  std::vector<double> row_potential(size + 1), column_potential(size + 1);
  std::vector<size_t> row_of(size + 1, 0), way(size + 1, 0);
  for (size_t row = 1; row <= size; ++row) {
    std::vector<double> slack(size + 1, std::numeric_limits<double>::infinity());
    std::vector<bool> used(size + 1, false);
    row_of[0] = row;
    size_t column = 0;
    do {
      used[column] = true;
      size_t next = 0;
      double least = std::numeric_limits<double>::infinity();
      for (size_t j = 1; j <= size; ++j) {
        if (used[j]) continue;
        const size_t i = row_of[column];
        const double reduced = cost[(i - 1) * size + j - 1] - row_potential[i] - column_potential[j];
        if (reduced < slack[j]) {
          slack[j] = reduced;
          way[j] = column;
        }
        if (slack[j] < least) {
          least = slack[j];
          next = j;
        }
      }
      for (size_t j = 0; j <= size; ++j) {
        if (used[j]) {
          row_potential[row_of[j]] += least;
          column_potential[j] -= least;
        } else {
          slack[j] -= least;
        }
      }
      column = next;
    } while (row_of[column] != 0);
    for (; column != 0; column = way[column]) row_of[column] = row_of[way[column]];
  }
  std::vector<int64_t> column_of(size);
  for (size_t j = 1; j <= size; ++j) column_of[row_of[j] - 1] = static_cast<int64_t>(j) - 1;
  return column_of;
}

double cluster_accuracy(const std::vector<int64_t>& clusters, const std::vector<int64_t>& labels) {
  const Contingency table(clusters, labels);
  const int64_t n = std::max(table.rows, table.columns);
  std::vector<double> cost(static_cast<size_t>(n * n), 0);
  for (int64_t i = 0; i < table.rows; ++i)
    for (int64_t j = 0; j < table.columns; ++j)
      cost[static_cast<size_t>(i * n + j)] = -table.count[static_cast<size_t>(i * table.columns + j)];
  const std::vector<int64_t> column = assignment(cost, n);
  double right = 0;
  for (int64_t i = 0; i < n; ++i) right -= cost[static_cast<size_t>(i * n + column[static_cast<size_t>(i)])];
  return right / static_cast<double>(labels.size());
}

ClusteringScores clustering(const FeatureSet& set, uint64_t seed) {
  check_labelled(set.labels, "the clustered split");
  const int64_t classes = count_classes(set.labels);
  const KMeansResult found = k_means(l2_normalize(set.features), {.k = classes, .seed = seed});
  return {classes, normalized_mutual_information(found.cluster, set.labels),
          cluster_accuracy(found.cluster, set.labels)};
}

}  // namespace tacit::ssl
