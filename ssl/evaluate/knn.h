// Weighted nearest neighbours (Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
// CVPR 2018, section 3.4): cosine similarity s, each of the k nearest votes for its class with weight exp(s / T).
// The rule: the N x M similarity matrix never exists; blocks of it do, and equal similarities go to the lower index.
#pragma once

#include <vector>

#include "ssl/evaluate/features.h"

namespace tacit::ssl {

/// For every query the most similar of the bank, nearest first.
struct Neighbours {
  int64_t k = 0;
  std::vector<float> similarity;  ///< (N, k) cosine
  std::vector<int64_t> index;     ///< (N, k) into the bank
};
/// query (N, D), bank (M, D), rows of any length. Throws Error unless 1 <= k <= M.
Neighbours nearest(const Tensor& query, const Tensor& bank, int64_t k);

struct KnnOptions {
  int64_t k = 20;
  double temperature = 0.1;  ///< > 0
};
struct KnnResult {
  double top1 = 0;
  KnnOptions options;
  int64_t train_images = 0, test_images = 0;
  std::vector<int64_t> predictions;  ///< of the test images
};
/// Classifies `test` by its neighbours in `train`. Throws Error for unlabelled sets and k > train's size.
KnnResult knn(const FeatureSet& train, const FeatureSet& test, const KnnOptions& = {});

}  // namespace tacit::ssl
