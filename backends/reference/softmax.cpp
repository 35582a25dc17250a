// Softmax and cross-entropy over the last dimension. The largest element is subtracted before exp, which changes
// nothing but keeps every exp at or below 1. A row of nothing but -inf gives NaN, as in torch.
#include <cmath>

#include "backends/reference/backend.h"
#include "backends/reference/loops.h"

namespace tacit::reference {

namespace {

template <class T>
double largest(const T* x, int64_t n) {
  auto most = static_cast<double>(x[0]);
  for (int64_t i = 1; i < n; ++i)
    if (static_cast<double>(x[i]) > most) most = static_cast<double>(x[i]);
  return most;
}

/// The largest element of a row, and the sum of exp(x - largest).
struct RowSum {
  template <class T>
  RowSum(const T* x, int64_t n) : largest(reference::largest(x, n)) {
    for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[i]) - largest);
  }
  double largest, sum = 0;
};

}  // namespace

// y = exp(x - m) / sum exp(x - m);  log: y = x - m - log(sum exp(x - m));  m = max(x)
void ReferenceBackend::softmax(const View& y, const View& x, bool log) {
  const Rows rows(x.shape);
  visit_floating("softmax", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t r = 0; r < rows.count; ++r) {
      const T* const in = x.ptr<T>() + r * rows.size;
      T* const out = y.ptr<T>() + r * rows.size;
      const RowSum row(in, rows.size);
      for (int64_t i = 0; i < rows.size; ++i) {
        const double shifted = static_cast<double>(in[i]) - row.largest;
        out[i] = static_cast<T>(log ? shifted - std::log(row.sum) : std::exp(shifted) / row.sum);
      }
    }
  });
}

// dx = y (dy - sum(dy y));  log: dx = dy - exp(y) sum(dy)
void ReferenceBackend::softmax_grad(const View& dx, const View& dy, const View& y, bool log) {
  const Rows rows(y.shape);
  visit_floating("softmax_grad", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t r = 0; r < rows.count; ++r) {
      const int64_t first = r * rows.size;
      const auto value = [&](int64_t i) { return static_cast<double>(y.ptr<T>()[first + i]); };
      const auto gradient = [&](int64_t i) { return static_cast<double>(dy.ptr<T>()[first + i]); };
      double sum = 0;
      for (int64_t i = 0; i < rows.size; ++i) sum += log ? gradient(i) : gradient(i) * value(i);
      for (int64_t i = 0; i < rows.size; ++i)
        dx.ptr<T>()[first + i] =
            static_cast<T>(log ? gradient(i) - std::exp(value(i)) * sum : value(i) * (gradient(i) - sum));
    }
  });
}

// log_sum = log sum exp(x - m);  loss = m + log_sum - (1 - smoothing) x[label] - smoothing mean(x);  m = max(x)
void ReferenceBackend::cross_entropy(const View& loss, const View& log_sum, const View& logits, const View& labels,
                                     double smoothing) {
  const Rows rows(logits.shape);
  visit_floating("cross_entropy", logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t r = 0; r < rows.count; ++r) {
      const T* const x = logits.ptr<T>() + r * rows.size;
      const RowSum row(x, rows.size);
      const double log_of_sum = std::log(row.sum);
      double value = row.largest + log_of_sum - (1 - smoothing) * static_cast<double>(x[labels.ptr<int64_t>()[r]]);
      if (smoothing != 0) {  // 0 times a mean of -inf would be NaN: masked logits go with smoothing 0 only
        double sum = 0;
        for (int64_t i = 0; i < rows.size; ++i) sum += static_cast<double>(x[i]);
        value -= smoothing * sum / static_cast<double>(rows.size);
      }
      loss.ptr<T>()[r] = static_cast<T>(value);
      log_sum.ptr<T>()[r] = static_cast<T>(log_of_sum);
    }
  });
}

// dlogits[c] = dloss (exp(x[c] - m - log_sum) - (1 - smoothing) [c = label] - smoothing / C). Two subtractions: m +
// log_sum in one number would lose log_sum beside a large m.
void ReferenceBackend::cross_entropy_grad(const View& dlogits, const View& dloss, const View& logits,
                                          const View& log_sum, const View& labels, double smoothing) {
  const Rows rows(logits.shape);
  visit_floating("cross_entropy_grad", logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t r = 0; r < rows.count; ++r) {
      const T* const x = logits.ptr<T>() + r * rows.size;
      const double m = largest(x, rows.size);
      const auto log_of_sum = static_cast<double>(log_sum.ptr<T>()[r]), scale = static_cast<double>(dloss.ptr<T>()[r]);
      for (int64_t c = 0; c < rows.size; ++c) {
        const double probability = std::exp(static_cast<double>(x[c]) - m - log_of_sum);
        const double hit = c == labels.ptr<int64_t>()[r] ? 1 - smoothing : 0;
        dlogits.ptr<T>()[r * rows.size + c] =
            static_cast<T>(scale * (probability - hit - smoothing / static_cast<double>(rows.size)));
      }
    }
  });
}

}  // namespace tacit::reference
