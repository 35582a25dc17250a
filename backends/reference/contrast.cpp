// Contrastive losses: each row against candidates, one of which is right.
#include <cmath>
#include <vector>

#include "backends/reference/backend.h"

namespace tacit::reference {

namespace {

/// The candidates of row i in the order of labels: calls f(column, candidate row, logit) for each that counts.
template <class T, class Args, class F>
void each_logit(const Args& x, int64_t i, F&& f) {
  const int64_t size = x.a.shape[1], first = x.positive.defined() ? 1 : 0;
  const T* const row = x.a.template ptr<T>() + i * size;
  const auto give = [&](int64_t column, const T* candidate) {
    double dot = 0;
    for (int64_t d = 0; d < size; ++d) dot += static_cast<double>(row[d]) * static_cast<double>(candidate[d]);
    f(column, candidate, x.scale * dot);
  };
  if (first == 1) give(0, x.positive.template ptr<T>() + i * size);
  for (int64_t j = 0; j < x.b.shape[0]; ++j)
    if (!(x.among_themselves && i == j)) give(j + first, x.b.template ptr<T>() + j * size);
}

}  // namespace

// loss = m + log_sum - s[label];  log_sum = log sum exp(s - m);  m = max(s)
void ReferenceBackend::contrast(const ContrastArgs& x) {
  visit_floating("contrast", x.a.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < x.a.shape[0]; ++i) {
      const int64_t label = x.labels.ptr<int64_t>()[i];
      std::vector<double> logits;
      double largest = 0, right = 0, sum = 0;
      int64_t best = -1;
      each_logit<T>(x, i, [&](int64_t column, const T*, double s) {
        if (best < 0 || beats(ReduceOp::Max, s, largest)) largest = s, best = column;
        if (column == label) right = s;
        logits.push_back(s);
      });
      for (const double s : logits) sum += std::exp(s - largest);
      x.loss.ptr<T>()[i] = static_cast<T>(largest - right + std::log(sum));
      x.largest.ptr<T>()[i] = static_cast<T>(largest);
      x.log_sum.ptr<T>()[i] = static_cast<T>(std::log(sum));
      x.hit.ptr<float>()[i] = best == label ? 1.0f : 0.0f;
    }
  });
}

// da_i = scale / R sum over candidates c of (p_ic - [c = label_i]) c,  p_ij = exp(s_ij - m_i - log_sum_i).
// Among themselves s_ij = s_ji, and a_i is a candidate of row j: (p_ij - [j = label_i] + p_ji - [i = label_j]) a_j.
void ReferenceBackend::contrast_grad(const ContrastGradArgs& x) {
  visit_floating("contrast_grad", x.a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t rows = x.a.shape[0], size = x.a.shape[1];
    const int64_t* const labels = x.labels.ptr<int64_t>();
    // As candidate c of row i.
    const auto weight = [&](int64_t i, int64_t c, double s) {
      const double p =
          std::exp(s - static_cast<double>(x.largest.ptr<T>()[i]) - static_cast<double>(x.log_sum.ptr<T>()[i]));
      return p - (c == labels[i] ? 1 : 0);
    };
    for (int64_t i = 0; i < rows; ++i) {
      std::vector<double> sum(static_cast<size_t>(size), 0.0);
      each_logit<T>(x, i, [&](int64_t column, const T* candidate, double s) {
        const double w = weight(i, column, s) + (x.among_themselves ? weight(column, i, s) : 0);
        for (int64_t d = 0; d < size; ++d) sum[static_cast<size_t>(d)] += w * static_cast<double>(candidate[d]);
      });
      for (int64_t d = 0; d < size; ++d)
        x.da.ptr<T>()[i * size + d] = static_cast<T>(x.scale / static_cast<double>(rows) * sum[static_cast<size_t>(d)]);
    }
  });
}

}  // namespace tacit::reference
