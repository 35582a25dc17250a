// Principal components: the directions in which features vary most, to look at them in two dimensions.
// The rule: a component's sign is free, so its entry of the largest size is made positive; pictures do not flip.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace tacit::ssl {

struct Pca {
  Tensor mean;                    ///< (D) f64
  Tensor components;              ///< (count, D) f64, orthonormal rows, by falling variance
  std::vector<double> explained;  ///< the part of the total variance that each explains; 0 for constant features
  /// (N, D) -> (N, count) f64.
  Tensor project(const Tensor& features) const;
};
/// features (N, D), N >= 2, 1 <= count <= D. Throws Error for values that are not finite.
Pca principal_components(const Tensor& features, int64_t count = 2);

/// Eigenvalues of a symmetric matrix (n, n) f64, ascending; `vectors`: row i becomes the unit eigenvector of value i.
/// LAPACK's dsyev, which OpenBLAS holds.
std::vector<double> symmetric_eigenvalues(const Tensor& matrix, Tensor* vectors = nullptr);

/// sum of (x - shift)ᵀ (x - shift) over the rows of features (N, D), f64; shift (D) or undefined: the Gram matrix.
Tensor gram_matrix(const Tensor& features, const Tensor& shift = {});

}  // namespace tacit::ssl
