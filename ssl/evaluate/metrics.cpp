#include "ssl/evaluate/metrics.h"

#include <cmath>

#include "ssl/evaluate/pca.h"
#include "ssl/methods/batch_metrics.h"
#include "tensor/ops.h"

namespace tacit::ssl {
namespace {

void check_features(const char* op, const Tensor& features) {
  TACIT_CHECK(features.rank() == 2 && features.numel() > 0, "[", op, "] features must be (N, D), got shape ",
              features.shape());
}

}  // namespace

double feature_std(const Tensor& features) {
  check_features("feature std", features);
  return feature_spread(features).item();
}

double rank_me(const Tensor& features) {
  check_features("rank me", features);
  const Tensor gram = gram_matrix(features);
  TACIT_CHECK(std::isfinite(sum(gram).item()), "[rank me] the features hold NaN or infinite values");
  const auto eigenvalues = symmetric_eigenvalues(gram);
  // Squaring the matrix leaves rounding of relative size 1e-16 d in eigenvalues that are truly 0.
  const double noise = eigenvalues.back() * 1e-15 * static_cast<double>(features.size(1));
  double total = 0, entropy = 0;
  for (const double e : eigenvalues) total += e > noise ? std::sqrt(e) : 0;
  if (total == 0) return 0;
  for (const double e : eigenvalues) {
    if (e <= noise) continue;
    const double p = std::sqrt(e) / total;
    entropy -= p * std::log(p);
  }
  return std::exp(entropy);
}

}  // namespace tacit::ssl
