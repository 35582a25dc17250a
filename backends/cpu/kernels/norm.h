// Batch and layer normalisation over blocks of rows; x is (rows, columns), dense. Sums are made in runs of 64 rows, the
// runs in double.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/dispatch.h"

namespace tacit::cpu {

/// Where relu let a value through: where y > 0, or, without y, where (x - mean) * scale + shift > 0.
template <class T>
struct ReluMask {
  bool relu;  ///< else everywhere
  const T *y, *scale, *shift;
};

template <class T>
struct NormTable {
  /// acc[c] += sum over rows of (x[r][c] - centre[c])^2.
  void (*centred_squares)(const T* x, int64_t rows, int64_t columns, const T* centre, double* acc);
  /// y = relu?((x - mean) * scale + shift + residual?), residual may be null.
  void (*apply)(T* y, const T* x, const T* residual, int64_t rows, int64_t columns, const T* mean, const T* scale,
                const T* shift, bool relu);
  /// With g = dy where relu let x through, else 0: sum_g[c] += sum g, sum_gx[c] += sum g (x - mean).
  void (*grad_sums)(const T* dy, const T* x, const ReluMask<T>& mask, int64_t rows, int64_t columns, const T* mean,
                    double* sum_g, double* sum_gx);
  /// dx = scale (g - c1 - (x - mean) c2), dresidual = g; either may be null.
  void (*grad_apply)(T* dx, T* dresidual, const T* dy, const T* x, const ReluMask<T>& mask, int64_t rows,
                     int64_t columns, const T* mean, const T* scale, const T* c1, const T* c2);
  /// One row of layer norm.
  void (*layer_row)(T* y, T* mean, T* rstd, const T* x, int64_t n, const T* gamma, const T* beta, double eps);
  void (*layer_row_grad)(T* dx, const T* dy, const T* x, int64_t n, T mean, T rstd, const T* gamma);
  /// dgamma[d] += sum over rows of dy xhat, dbeta[d] += sum of dy.
  void (*layer_grad_sums)(const T* dy, const T* x, const T* mean, const T* rstd, int64_t rows, int64_t n,
                          double* dgamma, double* dbeta);
};

TACIT_ISA_TABLES(NormTable, norm_table)

}  // namespace tacit::cpu
