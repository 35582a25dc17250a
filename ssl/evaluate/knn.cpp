#include "ssl/evaluate/knn.h"

#include <algorithm>
#include <cmath>

#include "tensor/ops.h"

namespace tacit::ssl {
namespace {

constexpr int64_t kQueryBlock = 512, kBankBlock = 4096;  // 8 MB of similarities at a time

/// The k best of one block of queries over the whole bank: {similarity, index}.
std::pair<Tensor, Tensor> nearest_of_block(const Tensor& query, const Tensor& bank, int64_t k) {
  std::pair<Tensor, Tensor> best;
  for (int64_t lo = 0; lo < bank.size(0); lo += kBankBlock) {
    const int64_t hi = std::min(bank.size(0), lo + kBankBlock);
    const Tensor similarity = matmul(query, bank.slice(0, lo, hi).t());
    auto block = top_k(similarity, std::min(k, hi - lo));
    block.second = add(block.second, Tensor::full({1}, static_cast<double>(lo), i64, bank.device()));
    if (!best.first.defined()) {
      best = block;
      continue;
    }
    // What is already there comes first, so that equal similarities go to the lower index here too.
    const Tensor candidates = concatenate(std::vector{best.first, block.first}, 1);
    const Tensor indices = concatenate(std::vector{best.second, block.second}, 1);
    auto merged = top_k(candidates, std::min(k, candidates.size(1)));
    best = {merged.first, gather(indices, 1, merged.second)};
  }
  return best;
}

}  // namespace

Neighbours nearest(const Tensor& query, const Tensor& bank, int64_t k) {
  TACIT_CHECK(query.rank() == 2 && bank.rank() == 2 && query.size(1) == bank.size(1), "[knn] queries of shape ",
              query.shape(), " against a bank of shape ", bank.shape(), "; both must be (images, D) with one D");
  TACIT_CHECK(k >= 1 && k <= bank.size(0), "[knn] k = ", k, " neighbours asked of ", bank.size(0),
              " images; k must be 1 … ", bank.size(0));
  const Tensor unit_bank = l2_normalize(bank);
  Neighbours found{k, {}, {}};
  for (int64_t lo = 0; lo < query.size(0); lo += kQueryBlock) {
    const int64_t hi = std::min(query.size(0), lo + kQueryBlock);
    const auto best = nearest_of_block(l2_normalize(query.slice(0, lo, hi)), unit_bank, k);
    const auto similarity = best.first.to_vector<float>();
    const auto index = best.second.to_vector<int64_t>();
    found.similarity.insert(found.similarity.end(), similarity.begin(), similarity.end());
    found.index.insert(found.index.end(), index.begin(), index.end());
  }
  return found;
}

KnnResult knn(const FeatureSet& train, const FeatureSet& test, const KnnOptions& options) {
  TACIT_CHECK(options.temperature > 0, "[knn] temperature ", options.temperature, " must be above 0");
  check_same_dimensions("knn", train, test);
  const int64_t classes = check_labelled(train.labels, "the training split");
  check_labelled(test.labels, "the test split");
  const Neighbours found = nearest(test.features, train.features, options.k);

  KnnResult result{0, options, train.size(), test.size(), {}};
  std::vector<double> votes(static_cast<size_t>(classes));
  for (int64_t i = 0; i < test.size(); ++i) {
    std::fill(votes.begin(), votes.end(), 0.0);
    const size_t row = static_cast<size_t>(i * found.k);
    // Relative to the nearest, which changes no winner and cannot overflow at low temperatures.
    const double nearest_similarity = found.similarity[row];
    for (size_t j = row; j < row + static_cast<size_t>(found.k); ++j)
      votes[static_cast<size_t>(train.labels[static_cast<size_t>(found.index[j])])] +=
          std::exp((found.similarity[j] - nearest_similarity) / options.temperature);
    result.predictions.push_back(std::max_element(votes.begin(), votes.end()) - votes.begin());
  }
  result.top1 = accuracy(result.predictions, test.labels);
  return result;
}

}  // namespace tacit::ssl
