// Attention: for each query a softmax over the keys, whose probabilities weigh the values.
#include <cmath>
#include <vector>

#include "backends/reference/backend.h"
#include "backends/reference/loops.h"

namespace tacit::reference {

namespace {

/// One head of one sample: rows of a view (N, heads, tokens, size).
template <class T>
struct Head {
  Head(const View& view, int64_t n, int64_t h)
      : data(view.ptr<T>() + n * view.strides[0] + h * view.strides[1]), stride(view.strides[2]) {}
  T* row(int64_t i) const { return data + i * stride; }
  double at(int64_t i, int64_t c) const { return static_cast<double>(row(i)[c]); }

  T* data;
  int64_t stride;
};

template <class T>
double dot(const Head<T>& a, int64_t i, const Head<T>& b, int64_t j, int64_t size) {
  double sum = 0;
  for (int64_t c = 0; c < size; ++c) sum += a.at(i, c) * b.at(j, c);
  return sum;
}

}  // namespace

// s[j] = scale q[i] · k[j];  lse = log sum_j exp(s[j]);  y[i] = sum_j exp(s[j] - lse) v[j]
void ReferenceBackend::attention(const AttentionArgs& a) {
  const int64_t heads = a.q.shape[1], queries = a.q.shape[2], keys = a.k.shape[2];
  const int64_t size = a.q.shape[3], values = a.v.shape[3];
  visit_floating("attention", a.y.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t nh = 0; nh < a.q.shape[0] * heads; ++nh) {
      const Head<T> y(a.y, nh / heads, nh % heads), q(a.q, nh / heads, nh % heads), k(a.k, nh / heads, nh % heads),
          v(a.v, nh / heads, nh % heads);
      std::vector<double> p(static_cast<size_t>(keys));
      for (int64_t i = 0; i < queries; ++i) {
        double largest = -INFINITY, sum = 0;
        for (int64_t j = 0; j < keys; ++j) {
          double& s = p[static_cast<size_t>(j)];
          s = a.scale * dot(q, i, k, j, size);
          if (s > largest) largest = s;
        }
        for (double& s : p) sum += s = std::exp(s - largest);
        for (int64_t c = 0; c < values; ++c) {
          double weighted = 0;
          for (int64_t j = 0; j < keys; ++j) weighted += p[static_cast<size_t>(j)] * v.at(j, c);
          y.row(i)[c] = static_cast<T>(weighted / sum);
        }
        a.lse.ptr<T>()[nh * queries + i] = static_cast<T>(largest + std::log(sum));
      }
    }
  });
}

// p[j] = exp(s[j] - lse);  ds[j] = scale p[j] (dy[i] · v[j] - dy[i] · y[i]);
// dq[i] = sum_j ds[j] k[j];  dk[j] = sum_i ds[j] q[i];  dv[j] = sum_i p[j] dy[i]
void ReferenceBackend::attention_grad(const AttentionGradArgs& a) {
  const int64_t heads = a.q.shape[1], queries = a.q.shape[2], keys = a.k.shape[2];
  const int64_t size = a.q.shape[3], values = a.v.shape[3];
  visit_floating("attention_grad", a.dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t nh = 0; nh < a.q.shape[0] * heads; ++nh) {
      const auto head = [&](const View& view) { return Head<T>(view, nh / heads, nh % heads); };
      const Head<T> dy = head(a.dy), q = head(a.q), k = head(a.k), v = head(a.v), y = head(a.y);
      std::vector<double> dq(static_cast<size_t>(size)), dk(static_cast<size_t>(keys * size)),
          dv(static_cast<size_t>(keys * values));
      for (int64_t i = 0; i < queries; ++i) {
        const auto lse = static_cast<double>(a.lse.ptr<T>()[nh * queries + i]);
        const double along = dot(dy, i, y, i, values);
        std::fill(dq.begin(), dq.end(), 0.0);
        for (int64_t j = 0; j < keys; ++j) {
          const double p = std::exp(a.scale * dot(q, i, k, j, size) - lse);
          const double ds = a.scale * p * (dot(dy, i, v, j, values) - along);
          for (int64_t c = 0; c < size; ++c) {
            dq[static_cast<size_t>(c)] += ds * k.at(j, c);
            dk[static_cast<size_t>(j * size + c)] += ds * q.at(i, c);
          }
          for (int64_t c = 0; c < values; ++c) dv[static_cast<size_t>(j * values + c)] += p * dy.at(i, c);
        }
        if (!a.dq.defined()) continue;
        for (int64_t c = 0; c < size; ++c) head(a.dq).row(i)[c] = static_cast<T>(dq[static_cast<size_t>(c)]);
      }
      const auto write = [&](const View& out, const std::vector<double>& sums) {
        if (!out.defined()) return;
        const int64_t n = out.shape[3];
        for (int64_t j = 0; j < keys; ++j)
          for (int64_t c = 0; c < n; ++c) head(out).row(j)[c] = static_cast<T>(sums[static_cast<size_t>(j * n + c)]);
      };
      write(a.dk, dk);
      write(a.dv, dv);
    }
  });
}

}  // namespace tacit::reference
