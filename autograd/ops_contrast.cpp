// Contrastive losses: NT-Xent and InfoNCE, by one kernel pair where the backend has it, else in blocks of rows
// (row_cross_entropy.h). Their gradients are made with their values, since losses are scalars: known up to a factor.
#include <limits>

#include "autograd/composites.h"
#include "autograd/ops.h"
#include "autograd/row_cross_entropy.h"
#include "tensor/multiply_adds.h"

namespace tacit {

namespace {

using Gradient = std::function<void(int64_t lo, int64_t hi, const Tensor& d)>;

// Rows a against rows b (see ContrastArgs), by the backend's kernels.
RowCrossEntropy fused(const Tensor& a, const Tensor& b, const Tensor& positive, const std::vector<int64_t>& labels,
                      double temperature, bool among_themselves, const Tensor& da) {
  const Shape rows{a.size(0)};
  const Tensor on_device = Tensor::from(labels, rows, a.device()), loss = Tensor::empty(rows, a.dtype(), a.device()),
               largest = Tensor::empty(rows, a.dtype(), a.device()),
               log_sum = Tensor::empty(rows, a.dtype(), a.device()), hit = Tensor::empty(rows, f32, a.device());
  a.backend().contrast({.loss = loss.view(),
                        .largest = largest.view(),
                        .log_sum = log_sum.view(),
                        .hit = hit.view(),
                        .a = a.view(),
                        .b = b.view(),
                        .positive = positive.view(),
                        .labels = on_device.view(),
                        .scale = 1 / temperature,
                        .among_themselves = among_themselves});
  const int64_t logits = rows[0] * (b.size(0) + (positive.defined() ? 1 : 0));
  MultiplyAdds::add(logits, a.size(1));
  if (da.defined()) {
    a.backend().contrast_grad({.da = da.view(),
                               .a = a.view(),
                               .b = b.view(),
                               .positive = positive.view(),
                               .labels = on_device.view(),
                               .largest = largest.view(),
                               .log_sum = log_sum.view(),
                               .scale = 1 / temperature,
                               .among_themselves = among_themselves});
    MultiplyAdds::add(2 * logits, a.size(1));  // the logits again, and da
  }
  return {mean(loss), mean(hit)};
}

// s = z zᵀ / temperature without its diagonal. With d = d loss / d s, d loss / d z = (d + dᵀ) z / temperature: a block
// of rows of d gives its rows of the first product and its share of the second.
RowCrossEntropy nt_xent_by_rows(const Tensor& z, const std::vector<int64_t>& partner, double temperature,
                                const Tensor& dz) {
  const int64_t rows = z.size(0);
  const Tensor scaled = z / temperature;
  const auto similarities = [&](int64_t lo, int64_t hi) {
    const Tensor s = matmul(scaled.slice(0, lo, hi), z.t());
    // Row i's similarity with itself is element i rows + i of them all: one in rows + 1.
    Tensor self = s.reshape({-1}).slice(0, lo, (hi - lo - 1) * (rows + 1) + lo + 1, rows + 1);
    self.fill_(-std::numeric_limits<double>::infinity());
    return s;
  };
  const auto gradient = [&](int64_t lo, int64_t hi, const Tensor& d) {
    dz.slice(0, lo, hi).add_(matmul(d, scaled));
    Tensor(dz).add_(matmul(d.t(), scaled.slice(0, lo, hi)));
  };
  if (dz.defined()) Tensor(dz).fill_(0);
  return row_cross_entropy(partner, rows, similarities, dz.defined() ? gradient : Gradient());
}

// logits = [q · positive, q kᵀ] / temperature;  dq = [d_0 positive + d kᵀ] / temperature, for d = d loss / d logits
RowCrossEntropy info_nce_by_rows(const Tensor& q, const Tensor& k, const Tensor& positive,
                                 const std::vector<int64_t>& labels, double temperature, const Tensor& dq) {
  const int64_t first = positive.defined() ? 1 : 0;
  const Tensor scaled = q / temperature;
  const auto logits = [&](int64_t lo, int64_t hi) {
    const Tensor rows = scaled.slice(0, lo, hi);
    const Tensor against = matmul(rows, k.t());
    if (!positive.defined()) return against;
    return concatenate(std::vector<Tensor>{sum(rows * positive.slice(0, lo, hi), {1}, true), against}, 1);
  };
  const auto gradient = [&](int64_t lo, int64_t hi, const Tensor& d) {
    Tensor part = matmul(d.slice(1, first, d.size(1)), k);
    if (positive.defined()) part.add_(d.slice(1, 0, 1) * positive.slice(0, lo, hi));
    dq.slice(0, lo, hi).copy_(part / temperature);
  };
  return row_cross_entropy(labels, k.size(0) + first, logits, dq.defined() ? gradient : Gradient());
}

bool has_kernels(const Tensor& x) {
  const bool supported = x.backend().supports(Fused::Contrast);
  if (!supported) ++composed_ops;
  return supported;
}

Tensor gradient_of(const Variable& x) {
  const Tensor& value = x.value();
  return grad_enabled() && x.requires_grad() ? Tensor::empty(value.shape(), value.dtype(), value.device()) : Tensor();
}

}  // namespace

Variable nt_xent(const Variable& embeddings, double temperature, Tensor* top1) {
  const Variable z = widen(embeddings);
  TACIT_CHECK(temperature > 0, "[nt_xent] the temperature must be above 0, got ", temperature);
  TACIT_CHECK(z.rank() == 2 && z.size(0) % 2 == 0 && z.size(0) >= 4, "[nt_xent] needs the views of at least 2 images, ",
              "(2N, D) with N >= 2, got ", z.shape(), "; with one image there is no negative to tell it from");
  check_floating("nt_xent", z.value());
  TACIT_CHECK(z.size(1) > 0, "[nt_xent] the rows are empty: ", z.shape());
  const int64_t rows = z.size(0);
  std::vector<int64_t> partner(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; ++i) partner[static_cast<size_t>(i)] = (i + rows / 2) % rows;
  const Tensor dense = z.value().contiguous_copy_if_needed(), dz = gradient_of(z);
  const RowCrossEntropy result = has_kernels(dense) ? fused(dense, dense, {}, partner, temperature, true, dz)
                                                    : nt_xent_by_rows(dense, partner, temperature, dz);
  if (top1) *top1 = result.top1;
  return record("nt_xent", result.loss, {{z, [dz](const Tensor& dy) { return dz * dy; }}});
}

Variable info_nce(const Variable& queries, const Tensor& candidates, const Tensor& positives,
                  const std::vector<int64_t>& labels, double temperature, Tensor* top1) {
  const Variable q = widen(queries);
  const Tensor k = widen(candidates), positive = positives.defined() ? widen(positives) : positives;
  TACIT_CHECK(temperature > 0, "[info_nce] the temperature must be above 0, got ", temperature);
  TACIT_CHECK(q.rank() == 2 && k.rank() == 2 && q.size(1) == k.size(1) && q.value().numel() > 0 && k.numel() > 0 &&
                  static_cast<int64_t>(labels.size()) == q.size(0) &&
                  (!positive.defined() || positive.shape() == q.shape()),
              "[info_nce] queries ", q.shape(), ", candidates ", k.shape(), ", positives ", positive.shape(), " and ",
              labels.size(), " labels do not belong together");
  check_same_kind("info_nce", q.value(), k);
  if (positive.defined()) check_same_kind("info_nce", q.value(), positive);
  check_floating("info_nce", q.value());
  const int64_t columns = k.size(0) + (positive.defined() ? 1 : 0);
  for (const int64_t label : labels)
    TACIT_CHECK(label >= 0 && label < columns, "[info_nce] label ", label, " is out of range for ", columns,
                " candidates");
  const Tensor dq = gradient_of(q);
  const auto dense = [](const Tensor& t) { return t.defined() ? t.contiguous_copy_if_needed() : t; };
  const RowCrossEntropy result =
      has_kernels(k) ? fused(dense(q.value()), dense(k), dense(positive), labels, temperature, false, dq)
                     : info_nce_by_rows(q.value(), k, positive, labels, temperature, dq);
  if (top1) *top1 = result.top1;
  return record("info_nce", result.loss, {{q, [dq](const Tensor& dy) { return dq * dy; }}});
}

}  // namespace tacit
