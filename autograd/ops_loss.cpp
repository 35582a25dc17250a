// Softmax, cross-entropy, dropout and drop path.
#include "autograd/ops.h"

namespace tacit {

namespace {
Variable record_softmax(const char* op, const Variable& x, bool log) {
  const Tensor y = log ? log_softmax(x.value()) : softmax(x.value());
  return record(op, y, {{x, [y, log](const Tensor& dy) {
                           const Tensor dense = dy.contiguous_copy_if_needed();
                           const Tensor dx = Tensor::empty(y.shape(), y.dtype(), y.device());
                           if (dx.numel() > 0) dx.backend().softmax_grad(dx.view(), dense.view(), y.view(), log);
                           return dx;
                         }}});
}

void check_labels(const Tensor& labels, const Tensor& logits) {
  TACIT_CHECK(logits.defined() && logits.rank() == 2 && logits.numel() > 0,
              "[cross_entropy] logits must be (N, C) and not empty, got ", logits.shape());
  TACIT_CHECK(logits.dtype() == f32 || logits.dtype() == f64, "[cross_entropy] needs f32 or f64, got ", logits.dtype());
  TACIT_CHECK(labels.defined() && labels.dtype() == i64 && labels.shape() == Shape{logits.size(0)},
              "[cross_entropy] labels must be i64 of shape (", logits.size(0), "), got ", labels.dtype(), " of shape ",
              labels.shape());
  TACIT_CHECK(labels.device() == logits.device(), "[cross_entropy] devices differ: ", logits.device().name(), " and ",
              labels.device().name());
  if (labels.backend().checks_indices()) return;
  for (const int64_t label : labels.to_vector<int64_t>())
    TACIT_CHECK(label >= 0 && label < logits.size(1), out_of_range(Indexed::CrossEntropy, label, logits.size(1)));
}
}  // namespace

Variable softmax(const Variable& x) { return record_softmax("softmax", widen(x), false); }
Variable log_softmax(const Variable& x) { return record_softmax("log_softmax", widen(x), true); }

Variable cross_entropy(const Variable& activations, const Tensor& labels, double smoothing) {
  TACIT_CHECK(activations.defined(), "[cross_entropy] the logits are undefined");
  const Variable x = widen(activations);
  check_labels(labels, x.value());
  TACIT_CHECK(smoothing >= 0 && smoothing <= 1, "[cross_entropy] smoothing ", smoothing, " is not in [0, 1]");
  const Tensor logits = x.value().contiguous_copy_if_needed(), dense_labels = labels.contiguous_copy_if_needed();
  const Shape rows{logits.size(0)};
  const Tensor losses = Tensor::empty(rows, logits.dtype(), logits.device());
  const Tensor log_sum = Tensor::empty(rows, logits.dtype(), logits.device());
  logits.backend().cross_entropy(losses.view(), log_sum.view(), logits.view(), dense_labels.view(), smoothing);
  return record("cross_entropy", mean(losses),
                {{x, [=](const Tensor& dy) {
                    const Tensor dloss = (dy / static_cast<double>(rows[0])).broadcast_to(rows).clone();
                    const Tensor dx = Tensor::empty(logits.shape(), logits.dtype(), logits.device());
                    dx.backend().cross_entropy_grad(dx.view(), dloss.view(), logits.view(), log_sum.view(),
                                                    dense_labels.view(), smoothing);
                    return dx;
                  }}});
}

namespace {

// x with what a mask of `shape`, broadcast to x, keeps, times 1 / (1 - p).
Variable drop(const char* op, const Variable& x, const Shape& shape, double p, uint64_t seed, uint64_t stream,
              int64_t step) {
  TACIT_CHECK(p >= 0 && p < 1, "[", op, "] p = ", p, " is not in [0, 1)");
  if (p == 0) return x;
  const Device device = x.value().device();
  // Always drawn in f32: a model in f64 drops the same elements.
  const Tensor uniform = Tensor::empty(shape, f32, device);
  const Tensor counter = Tensor::from(std::vector<int64_t>{step}, {1}, device);
  if (uniform.numel() > 0) device.backend().random(Distribution::Uniform, uniform.view(), seed, stream, counter.view());
  const Tensor kept = greater_equal(uniform, Tensor::scalar(p, f32, device));
  const Tensor zero = Tensor::zeros({}, x.dtype(), device);
  return record(op, where(kept, x.value() / (1 - p), zero),
                {{x, [=](const Tensor& dy) { return where(kept, dy / (1 - p), zero); }}});
}

}  // namespace

Variable dropout(const Variable& x, double p, uint64_t seed, uint64_t stream, int64_t step) {
  return drop("dropout", x, x.shape(), p, seed, stream, step);
}

Variable drop_path(const Variable& x, double p, uint64_t seed, uint64_t stream, int64_t step) {
  TACIT_CHECK(x.rank() >= 1, "[drop_path] needs a dimension of samples, got a scalar");
  Shape samples = x.shape();
  for (int d = 1; d < samples.rank(); ++d) samples[d] = 1;
  return drop("drop_path", x, samples, p, seed, stream, step);
}

}  // namespace tacit
