// Batch and layer normalisation. Throughout, xhat = (x - mean) * rstd.
#include <cmath>
#include <vector>

#include "backends/reference/backend.h"
#include "backends/reference/loops.h"

namespace tacit::reference {

// mean[c] = 1/n sum x[., c];  var[c] = 1/n sum (x[., c] - mean[c])^2
void ReferenceBackend::moments(const View& mean, const View& var, const View& x) {
  const Rows rows(x.shape);
  visit_floating("moments", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const in = x.ptr<T>();
    for (int64_t c = 0; c < rows.size; ++c) {
      const auto n = static_cast<double>(rows.count);
      double sum = 0, squares = 0;
      for (int64_t r = 0; r < rows.count; ++r) sum += static_cast<double>(in[r * rows.size + c]);
      for (int64_t r = 0; r < rows.count; ++r) {
        const double centred = static_cast<double>(in[r * rows.size + c]) - sum / n;
        squares += centred * centred;
      }
      mean.ptr<T>()[c] = static_cast<T>(sum / n);
      var.ptr<T>()[c] = static_cast<T>(squares / n);
    }
  });
}

// y = relu?(gamma xhat + beta + residual?)
void ReferenceBackend::batch_norm(const BatchNormArgs& a) {
  const Rows rows(a.x.shape);
  visit_floating("batch_norm", a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t r = 0; r < rows.count; ++r)
      for (int64_t c = 0; c < rows.size; ++c) {
        const int64_t i = r * rows.size + c;
        const double xhat = (static_cast<double>(a.x.ptr<T>()[i]) - static_cast<double>(a.mean.ptr<T>()[c])) *
                            static_cast<double>(a.rstd.ptr<T>()[c]);
        double value = static_cast<double>(a.gamma.ptr<T>()[c]) * xhat + static_cast<double>(a.beta.ptr<T>()[c]);
        if (a.residual.defined()) value += static_cast<double>(a.residual.ptr<T>()[i]);
        a.y.ptr<T>()[i] = static_cast<T>(a.relu && value < 0 ? 0.0 : value);
      }
  });
}

// With g = dy where relu let the value through (y > 0), else 0, and sums over the n elements of a channel:
//   dresidual = g;  dbeta = sum g;  dgamma = sum g xhat
//   dx = gamma rstd (g - dbeta / n - xhat dgamma / n) in training, when mean and rstd depended on x, else gamma rstd g
void ReferenceBackend::batch_norm_grad(const BatchNormGradArgs& a) {
  const Rows rows(a.x.shape);
  visit_floating("batch_norm_grad", a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t c = 0; c < rows.size; ++c) {
      const auto mean = static_cast<double>(a.mean.ptr<T>()[c]), rstd = static_cast<double>(a.rstd.ptr<T>()[c]);
      const auto n = static_cast<double>(rows.count);
      const auto xhat = [&](int64_t i) { return (static_cast<double>(a.x.ptr<T>()[i]) - mean) * rstd; };
      const auto y = [&](int64_t i) {
        if (a.y.defined()) return a.y.ptr<T>()[i];
        return static_cast<T>(static_cast<double>(a.gamma.ptr<T>()[c]) * xhat(i) +
                              static_cast<double>(a.beta.ptr<T>()[c]));
      };
      const auto g = [&](int64_t i) { return a.relu && !(y(i) > T(0)) ? 0.0 : static_cast<double>(a.dy.ptr<T>()[i]); };

      double dbeta = 0, dgamma = 0;
      for (int64_t r = 0; r < rows.count; ++r) {
        const int64_t i = r * rows.size + c;
        dbeta += g(i);
        dgamma += g(i) * xhat(i);
      }
      if (a.dbeta.defined()) a.dbeta.ptr<T>()[c] = static_cast<T>(dbeta);
      if (a.dgamma.defined()) a.dgamma.ptr<T>()[c] = static_cast<T>(dgamma);

      const double scale = static_cast<double>(a.gamma.ptr<T>()[c]) * rstd;
      for (int64_t r = 0; r < rows.count; ++r) {
        const int64_t i = r * rows.size + c;
        const double centred = a.training ? g(i) - dbeta / n - xhat(i) * dgamma / n : g(i);
        if (a.dresidual.defined()) a.dresidual.ptr<T>()[i] = static_cast<T>(g(i));
        if (a.dx.defined()) a.dx.ptr<T>()[i] = static_cast<T>(scale * centred);
      }
    }
  });
}

// Per row of D elements: mean = 1/D sum x;  rstd = 1 / sqrt(1/D sum (x - mean)^2 + eps);  y = gamma xhat + beta
void ReferenceBackend::layer_norm(const LayerNormArgs& a) {
  const Rows rows(a.x.shape);
  visit_floating("layer_norm", a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t r = 0; r < rows.count; ++r) {
      const T* const x = a.x.ptr<T>() + r * rows.size;
      T* const y = a.y.ptr<T>() + r * rows.size;
      const auto n = static_cast<double>(rows.size);
      double sum = 0, squares = 0;
      for (int64_t d = 0; d < rows.size; ++d) sum += static_cast<double>(x[d]);
      const double mean = sum / n;
      for (int64_t d = 0; d < rows.size; ++d) {
        const double centred = static_cast<double>(x[d]) - mean;
        squares += centred * centred;
      }
      const double rstd = 1 / std::sqrt(squares / n + a.eps);
      for (int64_t d = 0; d < rows.size; ++d)
        y[d] = static_cast<T>((static_cast<double>(x[d]) - mean) * rstd * static_cast<double>(a.gamma.ptr<T>()[d]) +
                              static_cast<double>(a.beta.ptr<T>()[d]));
      a.mean.ptr<T>()[r] = static_cast<T>(mean);
      a.rstd.ptr<T>()[r] = static_cast<T>(rstd);
    }
  });
}

// With g = gamma dy and means over the D elements of a row:
//   dx = rstd (g - mean(g) - xhat mean(g xhat));  dgamma = sum over rows of dy xhat;  dbeta = sum over rows of dy
void ReferenceBackend::layer_norm_grad(const LayerNormGradArgs& a) {
  const Rows rows(a.x.shape);
  visit_floating("layer_norm_grad", a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    std::vector<double> dgamma(static_cast<size_t>(rows.size)), dbeta(static_cast<size_t>(rows.size));
    for (int64_t r = 0; r < rows.count; ++r) {
      const T* const x = a.x.ptr<T>() + r * rows.size;
      const T* const dy = a.dy.ptr<T>() + r * rows.size;
      const auto mean = static_cast<double>(a.mean.ptr<T>()[r]), rstd = static_cast<double>(a.rstd.ptr<T>()[r]);
      const auto n = static_cast<double>(rows.size);
      const auto g = [&](int64_t d) { return static_cast<double>(a.gamma.ptr<T>()[d]) * static_cast<double>(dy[d]); };
      const auto xhat = [&](int64_t d) { return (static_cast<double>(x[d]) - mean) * rstd; };

      double sum_g = 0, sum_g_xhat = 0;
      for (int64_t d = 0; d < rows.size; ++d) {
        sum_g += g(d);
        sum_g_xhat += g(d) * xhat(d);
        dgamma[static_cast<size_t>(d)] += static_cast<double>(dy[d]) * xhat(d);
        dbeta[static_cast<size_t>(d)] += static_cast<double>(dy[d]);
      }
      if (!a.dx.defined()) continue;
      for (int64_t d = 0; d < rows.size; ++d)
        a.dx.ptr<T>()[r * rows.size + d] = static_cast<T>(rstd * (g(d) - sum_g / n - xhat(d) * sum_g_xhat / n));
    }
    for (size_t d = 0; d < dgamma.size(); ++d) {
      if (a.dgamma.defined()) a.dgamma.ptr<T>()[d] = static_cast<T>(dgamma[d]);
      if (a.dbeta.defined()) a.dbeta.ptr<T>()[d] = static_cast<T>(dbeta[d]);
    }
  });
}

}  // namespace tacit::reference
