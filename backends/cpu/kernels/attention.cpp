#include "backends/cpu/kernels/attention.h"

#include "backends/cpu/kernels/run_sum.h"
#include "backends/cpu/kernels/simd.h"
#include "tensor/scalar_ops.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

// Logits are scaled by a pass of their own, so that each is one rounded number. In `scale * s - largest` compilers
// would round once, after the difference, and the largest logit would not be equal to the `largest` that was made of
// it: from 1e7 on, where numbers lie 1 apart, exp() of the difference is anything but 1.

/// s *= scale, and largest[c] = the largest of a column. A NaN may be passed over: it reaches every result through the
/// sum.
template <int W, class T>
void scale_and_find_largest(T* most, T* s, int64_t pitch, int64_t keys, T scale) {
  constexpr int lanes = Simd<T>::kLanes, V = W / lanes;
  Vec<T> m[V];
  TACIT_UNROLL for (int v = 0; v < V; ++v) m[v] = load<Vec<T>>(s + v * lanes) * scale;
  for (int64_t k = 0; k < keys; ++k) TACIT_UNROLL for (int v = 0; v < V; ++v) {
      const Vec<T> x = load<Vec<T>>(s + k * pitch + v * lanes) * scale;
      store(s + k * pitch + v * lanes, x);
      m[v] = x > m[v] ? x : m[v];
    }
  TACIT_UNROLL for (int v = 0; v < V; ++v) store(most + v * lanes, m[v]);
}

template <int W, class T>
void join_columns(T* s, int64_t pitch, int64_t keys, T scale, T* largest, double* sum, T* shrink) {
  T m[W];
  scale_and_find_largest<W>(m, s, pitch, keys, scale);
  for (int c = 0; c < W; ++c) {
    m[c] = largest[c] > m[c] ? largest[c] : m[c];
    shrink[c] = fast_exp(largest[c] - m[c]);
    largest[c] = m[c];
    sum[c] *= static_cast<double>(shrink[c]);
  }
  for (int64_t k0 = 0; k0 < keys; k0 += kRun) {
    const int64_t k1 = k0 + kRun < keys ? k0 + kRun : keys;
    T run[W] = {};
    for (int64_t k = k0; k < k1; ++k)
      for (int c = 0; c < W; ++c) {
        const T p = fast_exp(s[k * pitch + c] - m[c]);
        s[k * pitch + c] = p;
        run[c] += p;
      }
    for (int c = 0; c < W; ++c) sum[c] += static_cast<double>(run[c]);
  }
}

template <class T>
void join_tile(T* s, int64_t pitch, int64_t keys, int64_t queries, T scale, T* largest, double* sum, T* shrink) {
  for (int64_t c = 0; c < queries; c += kQueryStep)
    join_columns<kQueryStep>(s + c, pitch, keys, scale, largest + c, sum + c, shrink + c);
}

template <class T>
void scale_row(T* y, const T* x, int64_t n, T factor) {
  for (int64_t c = 0; c < n; ++c) y[c] = x[c] * factor;
}

template <class T>
void gradient(T* __restrict s, T* __restrict dp, int64_t pitch, int64_t keys, int64_t queries, T scale, const T* lse,
              const T* along) {
  for (int64_t k = 0; k < keys; ++k, s += pitch, dp += pitch) {
    for (int64_t c = 0; c < queries; ++c) s[c] *= scale;
    for (int64_t c = 0; c < queries; ++c) {
      s[c] = fast_exp(s[c] - lse[c]);
      dp[c] = scale * s[c] * (dp[c] - along[c]);
    }
  }
}

/// Short rows: a tree of a vector's lanes is as exact as the products beside it, and a conversion to double would cost
/// more than the sum.
template <class T>
T dot(const T* a, const T* b, int64_t n) {
  constexpr int lanes = Simd<T>::kLanes;
  Vec<T> sums{};
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) sums += load<Vec<T>>(a + i) * load<Vec<T>>(b + i);
  T tree[lanes];
  store(tree, sums);
  TACIT_UNROLL for (int half = lanes / 2; half > 0; half /= 2) {
    TACIT_UNROLL for (int l = 0; l < half; ++l) tree[l] += tree[l + half];
  }
  for (; i < n; ++i) tree[0] += a[i] * b[i];
  return tree[0];
}

template <class T>
constexpr AttentionTable<T> kTable = {join_tile<T>, scale_row<T>, gradient<T>, dot<T>};

}  // namespace

const AttentionTable<float>& attention_table(float) { return kTable<float>; }
const AttentionTable<double>& attention_table(double) { return kTable<double>; }

}  // namespace tacit::cpu::TACIT_ISA
