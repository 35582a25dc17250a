#include "ssl/evaluate/pca.h"

#include <algorithm>
#include <cmath>

#include "ssl/evaluate/rows_at_once.h"
#include "tensor/ops.h"

// Column-major, as symmetric matrices do not mind: a column of eigenvectors is a row of ours.
extern "C" void dsyev_(const char* job, const char* triangle, const int* n, double* a, const int* lda, double* w,
                       double* work, const int* lwork, int* info);

namespace tacit::ssl {

namespace {

/// The rows as f64 without their shift, a part at a time: f(part, first row).
template <class F>
void for_each_part(const Tensor& features, const Tensor& shift, F&& f) {
  for (int64_t lo = 0; lo < features.size(0); lo += kRowsAtOnce) {
    const Tensor rows = features.slice(0, lo, std::min(features.size(0), lo + kRowsAtOnce)).to(f64);
    f(shift.defined() ? rows - shift : rows, lo);
  }
}

}  // namespace

std::vector<double> symmetric_eigenvalues(const Tensor& matrix, Tensor* vectors) {
  TACIT_CHECK(matrix.rank() == 2 && matrix.size(0) == matrix.size(1) && matrix.dtype() == f64,
              "[eigenvalues] the matrix must be square and f64, got ", matrix.shape(), " of ", matrix.dtype());
  const int n = static_cast<int>(matrix.size(0));
  std::vector<double> a = matrix.to_vector<double>(), values(static_cast<size_t>(n));
  const char* const job = vectors ? "V" : "N";
  double best_size = 0;
  int info = 0, query = -1;
  dsyev_(job, "L", &n, a.data(), &n, values.data(), &best_size, &query, &info);
  std::vector<double> work(static_cast<size_t>(best_size));
  const int size = static_cast<int>(work.size());
  dsyev_(job, "L", &n, a.data(), &n, values.data(), work.data(), &size, &info);
  TACIT_CHECK(info == 0, "[eigenvalues] dsyev of a ", n, " x ", n, " matrix failed with ", info);
  if (vectors) *vectors = Tensor::from(a, {n, n});
  return values;
}

Tensor gram_matrix(const Tensor& features, const Tensor& shift) {
  const int64_t d = features.size(1);
  Tensor gram = Tensor::zeros({d, d}, f64, features.device());
  for_each_part(features, shift, [&](const Tensor& rows, int64_t) { gram.add_(matmul(rows.t(), rows)); });
  return gram;
}

Pca principal_components(const Tensor& features, int64_t count) {
  TACIT_CHECK(features.rank() == 2 && features.size(0) >= 2, "[pca] features must be (N, D) with N >= 2, got shape ",
              features.shape());
  TACIT_CHECK(count >= 1 && count <= features.size(1), "[pca] ", count, " components of ", features.size(1),
              " dimensions");
  Pca pca;
  pca.mean = Tensor::zeros({features.size(1)}, f64, features.device());
  for_each_part(features, {}, [&](const Tensor& rows, int64_t) { pca.mean.add_(sum(rows, {0})); });
  pca.mean = pca.mean / static_cast<double>(features.size(0));
  const Tensor scatter = gram_matrix(features, pca.mean);
  TACIT_CHECK(std::isfinite(sum(scatter).item()), "[pca] the features hold NaN or infinite values");
  Tensor vectors;
  const std::vector<double> values = symmetric_eigenvalues(scatter, &vectors);
  double total = 0;
  for (const double value : values) total += std::max(0.0, value);
  const auto d = values.size();
  const std::vector<double> all = vectors.to_vector<double>();
  std::vector<double> chosen;
  for (size_t c = 0; c < static_cast<size_t>(count); ++c) {
    const size_t at = d - 1 - c;  // values ascend
    std::vector<double> row(all.begin() + static_cast<int64_t>(at * d),
                            all.begin() + static_cast<int64_t>((at + 1) * d));
    const double largest =
        *std::max_element(row.begin(), row.end(), [](double x, double y) { return std::abs(x) < std::abs(y); });
    for (double& x : row) x = largest < 0 ? -x : x;
    chosen.insert(chosen.end(), row.begin(), row.end());
    pca.explained.push_back(total > 0 ? std::max(0.0, values[at]) / total : 0);
  }
  pca.components = Tensor::from(chosen, {count, features.size(1)}, features.device());
  return pca;
}

Tensor Pca::project(const Tensor& features) const {
  TACIT_CHECK(features.rank() == 2 && features.size(1) == mean.size(0), "[pca] the components are of ", mean.size(0),
              " dimensions, features have shape ", features.shape());
  const Tensor out = Tensor::empty({features.size(0), components.size(0)}, f64, features.device());
  for_each_part(features, mean, [&](const Tensor& rows, int64_t lo) {
    out.slice(0, lo, lo + rows.size(0)).copy_(matmul(rows, components.t()));
  });
  return out;
}

}  // namespace tacit::ssl
