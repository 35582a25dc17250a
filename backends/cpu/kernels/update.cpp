#include "backends/cpu/kernels/update.h"

#include "backends/cpu/kernels/run_sum.h"
#include "tensor/scalar_ops.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

template <class T>
void lerp(T* __restrict target, const T* __restrict source, int64_t n, double weight) {
  const T w = static_cast<T>(weight);
  for (int64_t i = 0; i < n; ++i) target[i] += w * (source[i] - target[i]);
}

template <class T>
void sgd(T* __restrict param, const T* __restrict grad, T* __restrict buffer, int64_t n, double lr_, double momentum,
         double weight_decay, bool nesterov) {
  const T lr = static_cast<T>(lr_), mu = static_cast<T>(momentum), wd = static_cast<T>(weight_decay);
  if (!buffer) {
    for (int64_t i = 0; i < n; ++i) param[i] -= lr * (grad[i] + wd * param[i]);
  } else if (nesterov) {
    for (int64_t i = 0; i < n; ++i) {
      const T g = grad[i] + wd * param[i], b = mu * buffer[i] + g;
      buffer[i] = b;
      param[i] -= lr * (g + mu * b);
    }
  } else {
    for (int64_t i = 0; i < n; ++i) {
      const T b = mu * buffer[i] + (grad[i] + wd * param[i]);
      buffer[i] = b;
      param[i] -= lr * b;
    }
  }
}

template <class T>
void adamw(T* __restrict param, const T* __restrict grad, T* __restrict exp_avg, T* __restrict exp_avg_sq, int64_t n,
           double beta1, double beta2, double eps_, double decay_, double step_, double root_) {
  const T rest1 = static_cast<T>(1 - beta1), keep2 = static_cast<T>(beta2), rest2 = static_cast<T>(1 - beta2);
  const T eps = static_cast<T>(eps_), decay = static_cast<T>(decay_), step = static_cast<T>(step_);
  const T root = static_cast<T>(root_);
  for (int64_t i = 0; i < n; ++i) {
    const T g = grad[i];
    const T m = exp_avg[i] + rest1 * (g - exp_avg[i]);
    const T v = keep2 * exp_avg_sq[i] + rest2 * g * g;
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    param[i] = param[i] * decay - step * m / (libm_sqrt(v) / root + eps);
  }
}

template <class T>
void lars_squares(const T* param, const T* grad, int64_t n, double weight_decay, double* squares) {
  squares[0] = run_sum<double>(n, [&](int64_t i) {
    const auto p = static_cast<double>(param[i]);
    return p * p;
  });
  squares[1] = run_sum<double>(n, [&](int64_t i) {
    const double d = static_cast<double>(grad[i]) + weight_decay * static_cast<double>(param[i]);
    return d * d;
  });
}

template <class T>
void lars(T* __restrict param, const T* __restrict grad, T* __restrict buffer, int64_t n, double lr_, double momentum,
          double weight_decay, double gain_) {
  const T lr = static_cast<T>(lr_), mu = static_cast<T>(momentum), wd = static_cast<T>(weight_decay);
  const T gain = static_cast<T>(gain_);
  for (int64_t i = 0; i < n; ++i) {
    const T m = mu * buffer[i] + gain * (grad[i] + wd * param[i]);
    buffer[i] = m;
    param[i] -= lr * m;
  }
}

template <class T>
constexpr UpdateTable<T> kTable = {lerp<T>, sgd<T>, adamw<T>, lars_squares<T>, lars<T>};

}  // namespace

const UpdateTable<float>& update_table(float) { return kTable<float>; }
const UpdateTable<double>& update_table(double) { return kTable<double>; }

}  // namespace tacit::cpu::TACIT_ISA
