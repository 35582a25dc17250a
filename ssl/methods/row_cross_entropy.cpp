#include "ssl/methods/row_cross_entropy.h"

#include <algorithm>

#include "autograd/ops.h"
#include "ssl/methods/batch_metrics.h"

namespace tacit::ssl {

RowCrossEntropy row_cross_entropy(const std::vector<int64_t>& labels, int64_t columns,
                                  const std::function<Tensor(int64_t lo, int64_t hi)>& logits,
                                  const std::function<void(int64_t lo, int64_t hi, const Tensor& d)>& gradient) {
  const auto rows = static_cast<int64_t>(labels.size());
  TACIT_CHECK(rows > 0 && columns > 0, "[row_cross_entropy] needs rows and columns, got ", rows, " and ", columns);
  const int64_t block = std::clamp<int64_t>(kLogitsAtATime / columns, 1, rows);
  RowCrossEntropy result;
  for (int64_t lo = 0; lo < rows; lo += block) {
    const int64_t hi = std::min(rows, lo + block);
    const double share = static_cast<double>(hi - lo) / static_cast<double>(rows);
    const Tensor values = logits(lo, hi);
    const Tensor right =
        Tensor::from(std::vector<int64_t>(labels.begin() + lo, labels.begin() + hi), {hi - lo}, values.device());
    const Variable x = gradient ? Variable::leaf(values) : Variable(values);
    const Variable loss = cross_entropy(x, right) * share;
    const Tensor top1 = top1_of(values, right) * share;
    result.loss = lo == 0 ? loss.value() : result.loss + loss.value();
    result.top1 = lo == 0 ? top1 : result.top1 + top1;
    if (!gradient) continue;
    loss.backward();
    gradient(lo, hi, x.grad());
  }
  return result;
}

Variable info_nce(const Variable& queries, const Tensor& candidates, const Tensor& positives,
                  const std::vector<int64_t>& labels, double temperature, Tensor* top1) {
  const Variable q = widen(queries);
  const Tensor k = widen(candidates), positive = positives.defined() ? widen(positives) : positives;
  TACIT_CHECK(temperature > 0, "[info_nce] the temperature must be above 0, got ", temperature);
  TACIT_CHECK(q.rank() == 2 && k.rank() == 2 && q.size(1) == k.size(1) &&
                  static_cast<int64_t>(labels.size()) == q.size(0) &&
                  (!positive.defined() || positive.shape() == q.shape()),
              "[info_nce] queries ", q.shape(), ", candidates ", k.shape(), ", positives ", positive.shape(), " and ",
              labels.size(), " labels do not belong together");
  const Tensor scaled = q.value() / temperature;
  const auto logits = [&](int64_t lo, int64_t hi) {
    const Tensor rows = scaled.slice(0, lo, hi);
    const Tensor against = matmul(rows, k.t());
    if (!positive.defined()) return against;
    return concatenate(std::vector<Tensor>{sum(rows * positive.slice(0, lo, hi), {1}, true), against}, 1);
  };
  const bool wanted = grad_enabled() && q.requires_grad();
  const Tensor dq = wanted ? Tensor::empty(q.shape(), q.dtype(), q.value().device()) : Tensor();
  const auto gradient = [&](int64_t lo, int64_t hi, const Tensor& d) {
    const int64_t first = positive.defined() ? 1 : 0;
    Tensor part = matmul(d.slice(1, first, d.size(1)), k);
    if (positive.defined()) part.add_(d.slice(1, 0, 1) * positive.slice(0, lo, hi));
    dq.slice(0, lo, hi).copy_(part / temperature);
  };
  const RowCrossEntropy result =
      row_cross_entropy(labels, k.size(0) + (positive.defined() ? 1 : 0), logits,
                        wanted ? gradient : std::function<void(int64_t, int64_t, const Tensor&)>());
  if (top1) *top1 = result.top1;
  return record("info_nce", result.loss, {{q, [dq](const Tensor& dy) { return dq * dy; }}});
}

}  // namespace tacit::ssl
