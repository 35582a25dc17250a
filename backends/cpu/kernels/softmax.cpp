#include "backends/cpu/kernels/softmax.h"

#include "backends/cpu/kernels/largest.h"
#include "backends/cpu/kernels/run_sum.h"
#include "tensor/scalar_ops.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

// y = exp(x - m) / sum;  log: y = x - m - log(sum)
template <class T>
void row(T* __restrict y, const T* __restrict x, int64_t n, bool log) {
  const T m = largest(x, n);
  if (log) {
    const double sum = run_sum<T>(n, [&](int64_t i) { return fast_exp(x[i] - m); });
    const T shift = static_cast<T>(::log(sum));
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] - m - shift;
  } else {
    const double sum = run_sum<T>(n, [&](int64_t i) { return y[i] = fast_exp(x[i] - m); });
    const T scale = static_cast<T>(1 / sum);
    for (int64_t i = 0; i < n; ++i) y[i] *= scale;
  }
}

// dx = y (dy - sum(dy y));  log: dx = dy - exp(y) sum(dy)
template <class T>
void row_grad(T* dx, const T* dy, const T* y, int64_t n, bool log) {
  if (log) {
    const T sum = static_cast<T>(run_sum<T>(n, [&](int64_t i) { return dy[i]; }));
    for (int64_t i = 0; i < n; ++i) dx[i] = dy[i] - fast_exp(y[i]) * sum;
  } else {
    const T sum = static_cast<T>(run_sum<T>(n, [&](int64_t i) { return dy[i] * y[i]; }));
    for (int64_t i = 0; i < n; ++i) dx[i] = y[i] * (dy[i] - sum);
  }
}

// log_sum = log(sum exp(x - m));  loss = m + log_sum - (1 - smoothing) x[label] - smoothing mean(x)
template <class T>
void cross_entropy(T* loss, T* log_sum, const T* x, int64_t n, int64_t label, double smoothing) {
  const T m = largest(x, n);
  const double sum = run_sum<T>(n, [&](int64_t i) { return fast_exp(x[i] - m); });
  const double log_of_sum = ::log(sum);
  double value = static_cast<double>(m) + log_of_sum - (1 - smoothing) * static_cast<double>(x[label]);
  if (smoothing != 0)  // 0 times a mean of -inf would be NaN: masked logits go with smoothing 0 only
    value -= smoothing * run_sum<T>(n, [&](int64_t i) { return x[i]; }) / static_cast<double>(n);
  *loss = static_cast<T>(value);
  *log_sum = static_cast<T>(log_of_sum);
}

// dx[c] = dloss (exp(x[c] - m - log_sum) - (1 - smoothing) [c = label] - smoothing / n)
template <class T>
void cross_entropy_grad(T* dx, const T* x, int64_t n, T dloss, T log_sum, int64_t label, double smoothing) {
  const double spread = smoothing / static_cast<double>(n);
  const T rounded = static_cast<T>(spread), m = largest(x, n);
  for (int64_t i = 0; i < n; ++i) dx[i] = dloss * (fast_exp(x[i] - m - log_sum) - rounded);
  const double hit = static_cast<double>(fast_exp(x[label] - m - log_sum)) - (1 - smoothing) - spread;
  dx[label] = dloss * static_cast<T>(hit);
}

template <class T>
constexpr SoftmaxTable<T> kTable = {row<T>, row_grad<T>, cross_entropy<T>, cross_entropy_grad<T>};

}  // namespace

const SoftmaxTable<float>& softmax_table(float) { return kTable<float>; }
const SoftmaxTable<double>& softmax_table(double) { return kTable<double>; }

}  // namespace tacit::cpu::TACIT_ISA
