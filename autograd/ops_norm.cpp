// Batch norm, layer norm and l2_normalize. Statistics, gamma and beta have the dtype of x (f32 or f64).
#include <array>
#include <atomic>

#include "autograd/ops.h"

namespace tacit {

namespace {

std::atomic<int64_t> composed{0};

// A gain or bias as the kernels take it: dense, of `size` values; an undefined one is `otherwise` everywhere.
Tensor channel_values(const char* op, const char* what, const Tensor& t, const Tensor& x, double otherwise) {
  const int64_t size = x.size(-1);
  if (!t.defined()) return Tensor::full({size}, otherwise, x.dtype(), x.device());
  check_same_kind(op, x, t);
  TACIT_CHECK(t.shape() == Shape{size}, "[", op, "] ", what, " has shape ", t.shape(), ", the input ", x.shape(),
              " has ", size, " channels in its last dimension");
  return t.contiguous_copy_if_needed();
}

// An output of a gradient kernel: undefined, which is "not wanted", unless needed.
Tensor wanted(bool needed, const Tensor& like) {
  return needed ? Tensor::empty(like.shape(), like.dtype(), like.device()) : Tensor();
}

// What the gradients of an empty batch are: sums of nothing.
void zero(const std::vector<Tensor>& gradients) {
  for (Tensor g : gradients)
    if (g.defined()) g.fill_(0);
}

struct ChannelStatistics {
  Tensor mean, rstd;
};

ChannelStatistics batch_statistics(const char* op, const Tensor& x, const RunningStats& running, double eps) {
  const int64_t n = x.numel() / std::max<int64_t>(x.size(-1), 1);
  TACIT_CHECK(n > 1, "[", op, "] training needs more than one value per channel, got shape ", x.shape(),
              "; use a larger batch or evaluation mode");
  const std::pair<Tensor, Tensor> batch = moments(x);
  if (running.mean.defined()) {
    const double unbiased = static_cast<double>(n) / static_cast<double>(n - 1);
    const std::array<Tensor, 2> kept = {running.mean, running.var}, seen = {batch.first, batch.second * unbiased};
    lerp_(kept, seen, Tensor::scalar(running.momentum, f64, x.device()));
  }
  return {batch.first, rsqrt(batch.second + eps)};
}

ChannelStatistics statistics_of(const char* op, const Tensor& x, const RunningStats& running, bool training,
                                double eps) {
  TACIT_CHECK(x.defined() && x.rank() >= 2, "[", op, "] the input must be (…, C) of rank 2 or more, got ", x.shape());
  TACIT_CHECK(x.dtype() == f32 || x.dtype() == f64, "[", op, "] needs f32 or f64, got ", x.dtype());
  TACIT_CHECK(running.mean.defined() == running.var.defined(), "[", op, "] one of the running statistics is undefined");
  TACIT_CHECK(training || running.mean.defined(), "[", op, "] evaluation mode needs running statistics");
  if (running.mean.defined()) {
    channel_values(op, "running mean", running.mean, x, 0);
    channel_values(op, "running variance", running.var, x, 1);
  }
  if (training) return batch_statistics(op, x, running, eps);
  // A copy: the next training step writes the running mean in place, perhaps before this graph's backward pass.
  return {running.mean.clone(), rsqrt(running.var + eps)};
}

// The kernel pair of batch_norm and batch_norm_relu.
Variable record_batch_norm(const char* op, const Variable& x, const Variable& gamma, const Variable& beta,
                           const Variable& residual, const RunningStats& running, bool training, double eps,
                           bool relu) {
  const ChannelStatistics statistics = statistics_of(op, x.value(), running, training, eps);
  const Tensor mean = statistics.mean, rstd = statistics.rstd, dense = x.value().contiguous_copy_if_needed();
  const Tensor gain = channel_values(op, "gamma", gamma.value(), dense, 1);
  const Tensor bias = channel_values(op, "beta", beta.value(), dense, 0);
  const Tensor added = residual.defined() ? residual.value().contiguous_copy_if_needed() : Tensor();
  const Tensor y = Tensor::empty(dense.shape(), dense.dtype(), dense.device());
  if (y.numel() > 0)
    y.backend().batch_norm({.y = y.view(),
                            .x = dense.view(),
                            .mean = mean.view(),
                            .rstd = rstd.view(),
                            .gamma = gain.view(),
                            .beta = bias.view(),
                            .residual = added.view(),
                            .relu = relu});

  const Tensor kept_y = relu ? y : Tensor();
  return record_joint(op, y, {x, gamma, beta, residual},
                      [=](const Tensor& dy, const std::vector<bool>& needed) -> std::vector<Tensor> {
                        const std::vector<Tensor> d = {wanted(needed[0], dense), wanted(needed[1], gain),
                                                       wanted(needed[2], bias), wanted(needed[3], dense)};
                        const Tensor dense_dy = dy.contiguous_copy_if_needed();
                        if (dy.numel() == 0) {
                          zero(d);
                        } else {
                          dy.backend().batch_norm_grad({.dx = d[0].view(),
                                                        .dgamma = d[1].view(),
                                                        .dbeta = d[2].view(),
                                                        .dresidual = d[3].view(),
                                                        .dy = dense_dy.view(),
                                                        .x = dense.view(),
                                                        .y = kept_y.view(),
                                                        .mean = mean.view(),
                                                        .rstd = rstd.view(),
                                                        .gamma = gain.view(),
                                                        .relu = relu,
                                                        .training = training});
                        }
                        return d;
                      });
}

}  // namespace

Variable batch_norm(const Variable& x, const Variable& gamma, const Variable& beta, const RunningStats& running,
                    bool training, double eps) {
  return record_batch_norm("batch_norm", x, gamma, beta, {}, running, training, eps, false);
}

Variable batch_norm_relu(const Variable& x, const Variable& gamma, const Variable& beta, const Variable& residual,
                         const RunningStats& running, bool training, double eps) {
  if (residual.defined()) {
    check_same_kind("batch_norm_relu", x.value(), residual.value());
    TACIT_CHECK(residual.shape() == x.shape(), "[batch_norm_relu] residual ", residual.shape(),
                " must have the input's shape ", x.shape());
  }
  if (x.value().backend().supports(Fused::BatchNormAct))
    return record_batch_norm("batch_norm_relu", x, gamma, beta, residual, running, training, eps, true);
  ++composed;
  const Variable y = batch_norm(x, gamma, beta, running, training, eps);
  return relu(residual.defined() ? add(y, residual) : y);
}

int64_t composites() { return composed.load(); }

Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta, double eps) {
  TACIT_CHECK(x.defined() && x.rank() >= 1 && x.size(-1) > 0, "[layer_norm] needs a last dimension, got ", x.shape());
  TACIT_CHECK(x.dtype() == f32 || x.dtype() == f64, "[layer_norm] needs f32 or f64, got ", x.dtype());
  const Tensor dense = x.value().contiguous_copy_if_needed();
  const Tensor gain = channel_values("layer_norm", "gamma", gamma.value(), dense, 1);
  const Tensor bias = channel_values("layer_norm", "beta", beta.value(), dense, 0);
  const Tensor y = wanted(true, dense);
  const Shape rows = without_dim(dense.shape(), -1);
  const Tensor mean = Tensor::empty(rows, y.dtype(), y.device()), rstd = Tensor::empty(rows, y.dtype(), y.device());
  if (y.numel() > 0)
    y.backend().layer_norm({.y = y.view(),
                            .mean = mean.view(),
                            .rstd = rstd.view(),
                            .x = dense.view(),
                            .gamma = gain.view(),
                            .beta = bias.view(),
                            .eps = eps});

  return record_joint(
      "layer_norm", y, {x, gamma, beta}, [=](const Tensor& dy, const std::vector<bool>& needed) -> std::vector<Tensor> {
        const std::vector<Tensor> d = {wanted(needed[0], dense), wanted(needed[1], gain), wanted(needed[2], bias)};
        const Tensor dense_dy = dy.contiguous_copy_if_needed();
        if (dy.numel() == 0) {
          zero(d);
        } else {
          dy.backend().layer_norm_grad({.dx = d[0].view(),
                                        .dgamma = d[1].view(),
                                        .dbeta = d[2].view(),
                                        .dy = dense_dy.view(),
                                        .x = dense.view(),
                                        .mean = mean.view(),
                                        .rstd = rstd.view(),
                                        .gamma = gain.view()});
        }
        return d;
      });
}

Variable l2_normalize(const Variable& x, double eps) {
  TACIT_CHECK(x.rank() >= 1 && eps > 0, "[l2_normalize] needs at least one dimension and eps > 0, got ", x.shape(),
              " and ", eps);
  const Tensor norm = sqrt(sum(square(x.value()), {-1}, true));
  const Tensor least = Tensor::scalar(eps, x.dtype(), x.value().device());
  const Tensor divisor = maximum(norm, least), y = x.value() / divisor;
  return record("l2_normalize", y, {{x, [=](const Tensor& dy) {
                                       // Below eps the divisor is constant, so nothing is projected out.
                                       const Tensor along = sum(dy * y, {-1}, true);
                                       const Tensor radial =
                                           where(greater(norm, least), along, Tensor::zeros({}, y.dtype(), y.device()));
                                       return (dy - y * radial) / divisor;
                                     }}});
}

}  // namespace tacit
