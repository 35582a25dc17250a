#include "backends/cpu/kernels/attention.h"

#include "backends/cpu/kernels/largest.h"
#include "backends/cpu/kernels/run_sum.h"
#include "tensor/scalar_ops.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

template <class T>
void join_tile(T* __restrict s, int64_t n, T scale, T* largest_yet, double* sum, T* __restrict y, int64_t size) {
  const T here = scale * largest(s, n), before = *largest_yet;
  const T m = before > here ? before : here;
  if (y != nullptr && m != before) {
    const T shrink = fast_exp(before - m);
    *sum *= static_cast<double>(shrink);
    for (int64_t c = 0; c < size; ++c) y[c] *= shrink;
  }
  *largest_yet = m;
  *sum += run_sum<T>(n, [&](int64_t i) { return s[i] = fast_exp(scale * s[i] - m); });
}

template <class T>
T finish(T* y, int64_t size, T largest_of_row, double sum) {
  const T factor = static_cast<T>(1 / sum);
  for (int64_t c = 0; c < size; ++c) y[c] *= factor;
  return static_cast<T>(static_cast<double>(largest_of_row) + ::log(sum));
}

template <class T>
void gradient(T* __restrict s, T* __restrict dp, int64_t n, T scale, T lse, T along) {
  for (int64_t i = 0; i < n; ++i) {
    s[i] = fast_exp(scale * s[i] - lse);
    dp[i] = scale * s[i] * (dp[i] - along);
  }
}

template <class T>
T dot(const T* a, const T* b, int64_t n) {
  return static_cast<T>(run_sum<T>(n, [&](int64_t i) { return a[i] * b[i]; }));
}

template <class T>
constexpr AttentionTable<T> kTable = {join_tile<T>, finish<T>, gradient<T>, dot<T>};

}  // namespace

const AttentionTable<float>& attention_table(float) { return kTable<float>; }
const AttentionTable<double>& attention_table(double) { return kTable<double>; }

}  // namespace tacit::cpu::TACIT_ISA
