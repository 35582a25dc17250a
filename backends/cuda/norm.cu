// Batch and layer normalisation. Throughout, xhat = (x - mean) * rstd. Sums are taken in f64. S is the type of
// activations and their gradients, T that of statistics and parameters (ArithmeticOf<S>).
#include "backends/cuda/backend.h"
#include "backends/cuda/combine.h"

namespace tacit::cuda {

namespace {

// ---- moments

template <class S>
struct Value {
  const S* x;
  int64_t columns;
  TACIT_HD void operator()(int64_t r, int64_t c, double (&out)[1]) const {
    out[0] = convert<double>(x[r * columns + c]);
  }
};
template <class T>
struct StoreMean {
  T* mean;
  double* exact;
  double n;
  TACIT_HD void operator()(int64_t c, const double (&total)[1]) const {
    exact[c] = total[0] / n;
    mean[c] = static_cast<T>(exact[c]);
  }
};
template <class S>
struct CentredSquare {
  const S* x;
  const double* mean;
  int64_t columns;
  TACIT_HD void operator()(int64_t r, int64_t c, double (&out)[1]) const {
    const double centred = convert<double>(x[r * columns + c]) - mean[c];
    out[0] = centred * centred;
  }
};
template <class T>
struct StoreVariance {
  T* var;
  double n;
  TACIT_HD void operator()(int64_t c, const double (&total)[1]) const { var[c] = static_cast<T>(total[0] / n); }
};

// ---- batch norm

/// What relu sees of element i of channel c, without a residual.
template <class S, class T>
TACIT_HD T normalised(const S* x, const T* mean, const T* rstd, const T* gamma, const T* beta, int64_t i, int64_t c) {
  return (convert<T>(x[i]) - mean[c]) * rstd[c] * gamma[c] + beta[c];
}

template <class S, class T = ArithmeticOf<S>>
struct BatchNorm {
  S* y;
  const S* x;
  const T *mean, *rstd, *gamma, *beta;
  const S* residual;
  int64_t columns;
  bool relu;
  TACIT_HD void operator()(int64_t i) const {
    const int64_t c = i % columns;
    T value = normalised(x, mean, rstd, gamma, beta, i, c);
    if (residual != nullptr) value += convert<T>(residual[i]);
    y[i] = convert<S>(relu && value < T(0) ? T(0) : value);
  }
};

/// g and g xhat of an element, where g = dy where relu let the value through (y > 0), else 0.
template <class S, class T = ArithmeticOf<S>>
struct BatchNormTerms {
  const S *dy, *x, *y;  // y: null where it is made again
  const T *mean, *rstd, *gamma, *beta;
  int64_t columns;
  bool relu;
  TACIT_HD double g(int64_t i, int64_t c) const {
    const bool kept = !relu || (y != nullptr ? convert<T>(y[i]) : normalised(x, mean, rstd, gamma, beta, i, c)) > T(0);
    return kept ? convert<double>(dy[i]) : 0.0;
  }
  TACIT_HD double xhat(int64_t i, int64_t c) const {
    return (convert<double>(x[i]) - static_cast<double>(mean[c])) * static_cast<double>(rstd[c]);
  }
  TACIT_HD void operator()(int64_t r, int64_t c, double (&out)[2]) const {
    const int64_t i = r * columns + c;
    out[0] = g(i, c);
    out[1] = out[0] * xhat(i, c);
  }
};
/// dbeta = sum g; dgamma = sum g xhat; both also kept in f64 for dx.
template <class T>
struct StoreAffineGrad {
  T *dbeta, *dgamma;
  double* sums;  // (C, 2), or null
  TACIT_HD void operator()(int64_t c, const double (&totals)[2]) const {
    if (dbeta != nullptr) dbeta[c] = static_cast<T>(totals[0]);
    if (dgamma != nullptr) dgamma[c] = static_cast<T>(totals[1]);
    if (sums != nullptr) sums[2 * c] = totals[0], sums[2 * c + 1] = totals[1];
  }
};
template <class S>
struct BatchNormDx {
  S *dx, *dresidual;
  BatchNormTerms<S> terms;
  const double* sums;
  double n;
  bool training;
  TACIT_HD void operator()(int64_t i) const {
    const int64_t c = i % terms.columns;
    const double g = terms.g(i, c);
    if (dresidual != nullptr) dresidual[i] = convert<S>(g);
    if (dx == nullptr) return;
    const double centred = training ? g - sums[2 * c] / n - terms.xhat(i, c) * sums[2 * c + 1] / n : g;
    dx[i] = convert<S>(static_cast<double>(terms.gamma[c]) * static_cast<double>(terms.rstd[c]) * centred);
  }
};

// ---- layer norm: a block of kBlock threads a row

template <class S, int kBlock, class T = ArithmeticOf<S>>
__global__ void layer_norm_kernel(int64_t size, double eps, const S* x, const T* gamma, const T* beta, S* y, T* mean,
                                  T* rstd) {
  const int64_t row = blockIdx.x, first = row * size;
  double sum = 0;
  for (int64_t d = threadIdx.x; d < size; d += kBlock) sum += convert<double>(x[first + d]);
  const double average = over_block<SumOf, kBlock>(sum) / static_cast<double>(size);
  double squares = 0;
  for (int64_t d = threadIdx.x; d < size; d += kBlock) {
    const double centred = convert<double>(x[first + d]) - average;
    squares += centred * centred;
  }
  const double scale = 1 / sqrt(over_block<SumOf, kBlock>(squares) / static_cast<double>(size) + eps);
  for (int64_t d = threadIdx.x; d < size; d += kBlock)
    y[first + d] = convert<S>(static_cast<T>((convert<double>(x[first + d]) - average) * scale) * gamma[d] + beta[d]);
  if (threadIdx.x == 0) {
    mean[row] = static_cast<T>(average);
    rstd[row] = static_cast<T>(scale);
  }
}

// With g = gamma dy and means over the row: dx = rstd (g - mean(g) - xhat mean(g xhat))
template <class S, int kBlock, class T = ArithmeticOf<S>>
__global__ void layer_norm_dx_kernel(int64_t size, const S* dy, const S* x, const T* mean, const T* rstd,
                                     const T* gamma, S* dx) {
  const int64_t row = blockIdx.x, first = row * size;
  const auto m = static_cast<double>(mean[row]), scale = static_cast<double>(rstd[row]);
  const auto g = [&](int64_t d) { return static_cast<double>(gamma[d]) * convert<double>(dy[first + d]); };
  const auto xhat = [&](int64_t d) { return (convert<double>(x[first + d]) - m) * scale; };
  double sum_g = 0, sum_g_xhat = 0;
  for (int64_t d = threadIdx.x; d < size; d += kBlock) {
    sum_g += g(d);
    sum_g_xhat += g(d) * xhat(d);
  }
  const double mean_g = over_block<SumOf, kBlock>(sum_g) / static_cast<double>(size);
  const double mean_g_xhat = over_block<SumOf, kBlock>(sum_g_xhat) / static_cast<double>(size);
  for (int64_t d = threadIdx.x; d < size; d += kBlock)
    dx[first + d] = convert<S>(scale * (g(d) - mean_g - xhat(d) * mean_g_xhat));
}

template <class S, class T = ArithmeticOf<S>>
struct LayerNormTerms {
  const S *dy, *x;
  const T *mean, *rstd;
  int64_t size;
  TACIT_HD void operator()(int64_t r, int64_t d, double (&out)[2]) const {
    out[0] = convert<double>(dy[r * size + d]);
    out[1] = out[0] * (convert<double>(x[r * size + d]) - static_cast<double>(mean[r])) * static_cast<double>(rstd[r]);
  }
};

template <class T>
T* pointer_or_null(const View& v) {
  return v.defined() ? v.ptr<T>() : nullptr;
}

}  // namespace

// mean[c] = 1/n sum x[., c];  var[c] = 1/n sum (x[., c] - mean[c])^2
void CudaBackend::moments(const View& mean, const View& var, const View& x) {
  const Rows rows(x.shape);
  const auto n = static_cast<double>(rows.count);
  visit_activations("moments", x.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    Scratch scratch(stream());
    double* const exact = scratch.take<double>(rows.size);
    combine_columns<SumOf, 1>(stream(), rows.count, rows.size, Value<S>{x.ptr<S>(), rows.size},
                              StoreMean<T>{mean.ptr<T>(), exact, n});
    combine_columns<SumOf, 1>(stream(), rows.count, rows.size, CentredSquare<S>{x.ptr<S>(), exact, rows.size},
                              StoreVariance<T>{var.ptr<T>(), n});
  });
}

// y = relu?(gamma xhat + beta + residual?)
void CudaBackend::batch_norm(const BatchNormArgs& a) {
  visit_activations("batch_norm", a.x.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    for_each_index(stream(), a.x.numel(),
                   BatchNorm<S>{a.y.ptr<S>(), a.x.ptr<S>(), a.mean.ptr<T>(), a.rstd.ptr<T>(), a.gamma.ptr<T>(),
                                a.beta.ptr<T>(), pointer_or_null<S>(a.residual), a.x.shape[-1], a.relu});
  });
}

// dresidual = g;  dbeta = sum g;  dgamma = sum g xhat
// dx = gamma rstd (g - dbeta / n - xhat dgamma / n) in training, when mean and rstd depended on x, else gamma rstd g
void CudaBackend::batch_norm_grad(const BatchNormGradArgs& a) {
  const Rows rows(a.x.shape);
  visit_activations("batch_norm_grad", a.x.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    const BatchNormTerms<S> terms{a.dy.ptr<S>(),   a.x.ptr<S>(),     pointer_or_null<S>(a.y),    a.mean.ptr<T>(),
                                  a.rstd.ptr<T>(), a.gamma.ptr<T>(), pointer_or_null<T>(a.beta), rows.size,
                                  a.relu};
    Scratch scratch(stream());
    double* const sums = scratch.take<double>(2 * rows.size);
    combine_columns<SumOf, 2>(stream(), rows.count, rows.size, terms,
                              StoreAffineGrad<T>{pointer_or_null<T>(a.dbeta), pointer_or_null<T>(a.dgamma), sums});
    if (!a.dx.defined() && !a.dresidual.defined()) return;
    for_each_index(stream(), a.x.numel(),
                   BatchNormDx<S>{pointer_or_null<S>(a.dx), pointer_or_null<S>(a.dresidual), terms, sums,
                                  static_cast<double>(rows.count), a.training});
  });
}

// Per row of D elements: mean = 1/D sum x;  rstd = 1 / sqrt(1/D sum (x - mean)^2 + eps);  y = gamma xhat + beta
void CudaBackend::layer_norm(const LayerNormArgs& a) {
  const Rows rows(a.x.shape);
  visit_activations("layer_norm", a.x.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    with_row_block(rows.size, [&](auto block) {
      launch(stream(), layer_norm_kernel<S, decltype(block)::value>, Grid{rows.count}, dim3(decltype(block)::value), 0,
             rows.size, a.eps, a.x.ptr<S>(), a.gamma.ptr<T>(), a.beta.ptr<T>(), a.y.ptr<S>(), a.mean.ptr<T>(),
             a.rstd.ptr<T>());
    });
  });
}

// dx as above;  dgamma = sum over rows of dy xhat;  dbeta = sum over rows of dy
void CudaBackend::layer_norm_grad(const LayerNormGradArgs& a) {
  const Rows rows(a.x.shape);
  visit_activations("layer_norm_grad", a.x.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    if (a.dgamma.defined() || a.dbeta.defined())
      combine_columns<SumOf, 2>(
          stream(), rows.count, rows.size,
          LayerNormTerms<S>{a.dy.ptr<S>(), a.x.ptr<S>(), a.mean.ptr<T>(), a.rstd.ptr<T>(), rows.size},
          StoreAffineGrad<T>{pointer_or_null<T>(a.dbeta), pointer_or_null<T>(a.dgamma), nullptr});
    if (a.dx.defined())  // last: dx may be dy
      with_row_block(rows.size, [&](auto block) {
        launch(stream(), layer_norm_dx_kernel<S, decltype(block)::value>, Grid{rows.count},
               dim3(decltype(block)::value), 0, rows.size, a.dy.ptr<S>(), a.x.ptr<S>(), a.mean.ptr<T>(),
               a.rstd.ptr<T>(), a.gamma.ptr<T>(), a.dx.ptr<S>());
      });
  });
}

}  // namespace tacit::cuda
