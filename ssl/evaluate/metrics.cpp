#include "ssl/evaluate/metrics.h"

#include <algorithm>
#include <cmath>

#include "ssl/methods/batch_metrics.h"
#include "tensor/ops.h"

// LAPACK's eigenvalues of a symmetric matrix; OpenBLAS holds it. Column-major, as symmetric matrices do not mind.
extern "C" void dsyev_(const char* job, const char* triangle, const int* n, double* a, const int* lda, double* w,
                       double* work, const int* lwork, int* info);

namespace tacit::ssl {
namespace {

std::vector<double> symmetric_eigenvalues(std::vector<double> matrix, int n) {
  std::vector<double> values(static_cast<size_t>(n));
  double best_size = 0;
  int info = 0, query = -1;
  dsyev_("N", "L", &n, matrix.data(), &n, values.data(), &best_size, &query, &info);
  std::vector<double> work(static_cast<size_t>(best_size));
  const int size = static_cast<int>(work.size());
  dsyev_("N", "L", &n, matrix.data(), &n, values.data(), work.data(), &size, &info);
  TACIT_CHECK(info == 0, "[eigenvalues] dsyev of a ", n, " x ", n, " matrix failed with ", info);
  return values;
}

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
  constexpr int64_t kRowsAtOnce = 8192;
  const int64_t n = features.size(0), d = features.size(1);
  Tensor gram = Tensor::zeros({d, d}, f64, features.device());
  for (int64_t lo = 0; lo < n; lo += kRowsAtOnce) {
    const Tensor rows = features.slice(0, lo, std::min(n, lo + kRowsAtOnce)).to(f64);
    gram.add_(matmul(rows.t(), rows));
  }
  TACIT_CHECK(std::isfinite(sum(gram).item()), "[rank me] the features hold NaN or infinite values");
  const auto eigenvalues = symmetric_eigenvalues(gram.to_vector<double>(), static_cast<int>(d));
  // Squaring the matrix leaves rounding of relative size 1e-16 d in eigenvalues that are truly 0.
  const double noise = eigenvalues.back() * 1e-15 * static_cast<double>(d);
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
