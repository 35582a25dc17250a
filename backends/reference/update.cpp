// Kernels over many tensors at once: sum of squares, moving averages, optimiser steps.
// Each element is computed in double and rounded when it is stored.
#include <cmath>

#include "backends/reference/backend.h"

namespace tacit::reference {

// out = sum of x^2 over all elements of all tensors
void ReferenceBackend::sum_squares(const View& out, std::span<const View> xs) {
  double sum = 0;
  for (const View& x : xs)
    visit_floating("sum_squares", x.dtype, [&](auto zero) {
      using T = decltype(zero);
      for (int64_t i = 0; i < x.numel(); ++i) {
        const auto value = static_cast<double>(x.ptr<T>()[i]);
        sum += value * value;
      }
    });
  *out.ptr<double>() = sum;
}

// target += weight (source - target)
void ReferenceBackend::lerp(std::span<const View> targets, std::span<const View> sources, const View& weight) {
  const double w = *weight.ptr<double>();
  for (size_t t = 0; t < targets.size(); ++t)
    visit_floating("lerp", targets[t].dtype, [&](auto zero) {
      using T = decltype(zero);
      T* const target = targets[t].ptr<T>();
      const T* const source = sources[t].ptr<T>();
      for (int64_t i = 0; i < targets[t].numel(); ++i) {
        const auto old = static_cast<double>(target[i]);
        target[i] = static_cast<T>(old + w * (static_cast<double>(source[i]) - old));
      }
    });
}

// g = grad + weight_decay p;  with momentum: b = momentum b + g, g = nesterov ? g + momentum b : b;  p -= lr g
void ReferenceBackend::update(const SgdArgs& a) {
  const double lr = *a.hyper.ptr<double>();
  for (size_t t = 0; t < a.params.size(); ++t)
    visit_floating("sgd", a.params[t].dtype, [&](auto zero) {
      using T = decltype(zero);
      T* const param = a.params[t].ptr<T>();
      const T* const grad = a.grads[t].ptr<T>();
      for (int64_t i = 0; i < a.params[t].numel(); ++i) {
        const auto p = static_cast<double>(param[i]);
        double g = static_cast<double>(grad[i]) + a.weight_decay * p;
        if (a.momentum != 0) {
          T& buffer = a.momentum_buffers[t].ptr<T>()[i];
          const double b = a.momentum * static_cast<double>(buffer) + g;
          buffer = static_cast<T>(b);
          g = a.nesterov ? g + a.momentum * b : b;
        }
        param[i] = static_cast<T>(p - lr * g);
      }
    });
}

// p *= 1 - lr weight_decay;  m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2
// p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
void ReferenceBackend::update(const AdamWArgs& a) {
  const double lr = a.hyper.ptr<double>()[0], bias1 = a.hyper.ptr<double>()[1], bias2 = a.hyper.ptr<double>()[2];
  for (size_t t = 0; t < a.params.size(); ++t)
    visit_floating("adamw", a.params[t].dtype, [&](auto zero) {
      using T = decltype(zero);
      for (int64_t i = 0; i < a.params[t].numel(); ++i) {
        T& param = a.params[t].ptr<T>()[i];
        T& exp_avg = a.exp_avg[t].ptr<T>()[i];
        T& exp_avg_sq = a.exp_avg_sq[t].ptr<T>()[i];
        const auto g = static_cast<double>(a.grads[t].ptr<T>()[i]);
        const double decayed = static_cast<double>(param) * (1 - lr * a.weight_decay);
        const double m = static_cast<double>(exp_avg) + (1 - a.beta1) * (g - static_cast<double>(exp_avg));
        const double v = a.beta2 * static_cast<double>(exp_avg_sq) + (1 - a.beta2) * g * g;
        exp_avg = static_cast<T>(m);
        exp_avg_sq = static_cast<T>(v);
        param = static_cast<T>(decayed - lr / bias1 * m / (std::sqrt(v) / std::sqrt(bias2) + a.eps));
      }
    });
}

// d = grad + weight_decay p;  q = eta |p| / |d|, 1 where one of the norms is 0 or without `adapt`
// m = momentum m + q d, p -= lr m;  with lr_in_buffer: m = momentum m + lr q d, p -= m
void ReferenceBackend::update(const LarsArgs& a) {
  const double lr = *a.hyper.ptr<double>();
  for (size_t t = 0; t < a.params.size(); ++t)
    visit_floating("lars", a.params[t].dtype, [&](auto zero) {
      using T = decltype(zero);
      const int64_t n = a.params[t].numel();
      const auto p = [&](int64_t i) { return static_cast<double>(a.params[t].ptr<T>()[i]); };
      const auto d = [&](int64_t i) { return static_cast<double>(a.grads[t].ptr<T>()[i]) + a.weight_decay * p(i); };
      double p_squares = 0, d_squares = 0;
      for (int64_t i = 0; i < n; ++i) {
        p_squares += p(i) * p(i);
        d_squares += d(i) * d(i);
      }
      const double q =
          a.adapt && p_squares > 0 && d_squares > 0 ? a.eta * std::sqrt(p_squares) / std::sqrt(d_squares) : 1;
      for (int64_t i = 0; i < n; ++i) {
        T& buffer = a.momentum_buffers[t].ptr<T>()[i];
        const double m = a.momentum * static_cast<double>(buffer) + (a.lr_in_buffer ? lr * q : q) * d(i);
        a.params[t].ptr<T>()[i] = static_cast<T>(p(i) - (a.lr_in_buffer ? m : lr * m));
        buffer = static_cast<T>(m);
      }
    });
}

}  // namespace tacit::reference
