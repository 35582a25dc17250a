// Do the features fall into the classes by themselves? k-means (Lloyd; seeded by k-means++, Arthur & Vassilvitskii,
// SODA 2007) on unit features, compared with the labels, which it never sees. The rule: the same clusters at any number
// of threads; every random choice comes from the seed.
#pragma once

#include <vector>

#include "ssl/evaluate/features.h"

namespace tacit::ssl {

struct KMeansOptions {
  int64_t k = 10;
  int restarts = 3;  ///< seedings; the one with the least inertia wins, the first of equals
  int max_iterations = 100;
  double tolerance = 1e-4;  ///< stop when an iteration takes less than this part off the inertia
  uint64_t seed = 0;
};
struct KMeansResult {
  std::vector<int64_t> cluster;  ///< of every row, 0 … k - 1
  Tensor centres;                ///< (k, D)
  double inertia = 0;            ///< sum of squared distances to the rows' centres
  int iterations = 0;            ///< of the winning restart
};
/// points (N, D) f32, taken as they are; k <= N. A centre that loses all its rows moves to the row farthest from its
/// own. Throws Error for values that are not finite.
KMeansResult k_means(const Tensor& points, const KMeansOptions& = {});

/// Normalised mutual information 2 I(a; b) / (H(a) + H(b)) of two labellings of the same rows, in [0, 1]; 1 where both
/// have a single class. Entries must not be negative.
double normalized_mutual_information(const std::vector<int64_t>& a, const std::vector<int64_t>& b);

/// One column for every row of a square cost matrix (n x n, row-major) so that the sum is least: the Hungarian method
/// with potentials, O(n³).
std::vector<int64_t> assignment(const std::vector<double>& cost, int64_t n);
/// The largest accuracy that naming the clusters by classes, one to one, can give.
double cluster_accuracy(const std::vector<int64_t>& clusters, const std::vector<int64_t>& labels);

/// What k clusters share with the classes; fractions.
struct ClusteringScores {
  int64_t k = 0;
  double nmi = 0, accuracy = 0;
};
/// k-means of the rows at unit length with as many clusters as the labels have classes. Throws Error where a label is
/// missing or there are fewer images than classes.
ClusteringScores clustering(const FeatureSet&, uint64_t seed);

}  // namespace tacit::ssl
