// Batch norm, layer norm and l2_normalize. Statistics, gamma and beta have the dtype of x, or f32 beside bf16.
#include <array>

#include "autograd/composites.h"
#include "autograd/ops.h"
#include "autograd/over.h"

namespace tacit {

namespace {

// A gain or bias as the kernels take it: dense, of `size` values; an undefined one is `otherwise` everywhere.
Tensor channel_values(const char* op, const char* what, const Tensor& t, const Tensor& x, double otherwise) {
  const int64_t size = x.size(-1);
  const DType dtype = wide_dtype(x.dtype());
  if (!t.defined()) return Tensor::full({size}, otherwise, dtype, x.device());
  TACIT_CHECK(t.dtype() == dtype && t.device() == x.device(), "[", op, "] beside ", x.dtype(), " on ",
              x.device().name(), " ", what, " must be ", dtype, " there, got ", t.dtype(), " on ", t.device().name());
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

// The groups of samples that a batch is normalised in. Kernels want each group dense: consecutive samples are slices of
// the batch, strided ones are brought together by a copy and taken back by another.
class Groups {
 public:
  Groups(const char* op, const Shape& x, const BatchSplit& split)
      : shape_(x), count_(split.groups), strided_(split.strided && split.groups > 1 && x[0] > 0) {
    TACIT_CHECK(count_ >= 1 && (count_ == 1 || x[0] % count_ == 0), "[", op, "] a batch of ", x[0],
                " cannot be cut into ", count_, " equal groups; use a divisor of the batch");
  }
  int64_t count() const { return count_; }
  /// Values of each channel in a group.
  int64_t values() const { return shape_.numel() / std::max<int64_t>(shape_[-1], 1) / count_; }
  /// Samples in the order of groups, dense.
  Tensor gather(const Tensor& t) const {
    if (!strided_ || !t.defined()) return t.defined() ? t.contiguous_copy_if_needed() : t;
    return swap(t, shape_[0] / count_, count_);
  }
  /// Back into the order of the batch.
  Tensor scatter(const Tensor& t) const { return strided_ && t.defined() ? swap(t, count_, shape_[0] / count_) : t; }
  /// Group g of a gathered tensor, or of a tensor of one row for each group.
  View part(const Tensor& t, int64_t g) const {
    if (!t.defined()) return {};
    const int64_t rows = t.size(0) / count_;
    return t.slice(0, g * rows, (g + 1) * rows).view();
  }

 private:
  Tensor swap(const Tensor& t, int64_t outer, int64_t inner) const {
    const Tensor swapped = t.reshape({outer, inner, shape_.numel() / shape_[0]}).transpose(0, 1);
    return swapped.contiguous_copy_if_needed().reshape(shape_);
  }

  Shape shape_;
  int64_t count_;
  bool strided_;
};

/// One row for each group: (groups, C).
struct ChannelStatistics {
  Tensor mean, rstd;
};

// `known`, where given, has the moments of x, one group.
ChannelStatistics batch_statistics(const char* op, const Tensor& x, const Groups& groups, const RunningStats& running,
                                   double eps, const Moments& known) {
  const int64_t n = groups.values();
  TACIT_CHECK(n > 1, "[", op, "] training needs more than one value per channel",
              groups.count() > 1 ? " and group" : "", ", got shape ", x.shape(), " in ", groups.count(),
              groups.count() > 1 ? " groups" : " group", "; use a larger batch, fewer groups or evaluation mode");
  Tensor average, variance;
  if (known.mean.defined()) {
    average = known.mean.unsqueeze(0), variance = known.var.unsqueeze(0);
  } else {
    average = Tensor::empty({groups.count(), x.size(-1)}, wide_dtype(x.dtype()), x.device());
    variance = wanted(true, average);
    for (int64_t g = 0; g < groups.count(); ++g)
      x.backend().moments(groups.part(average, g), groups.part(variance, g), groups.part(x, g));
  }
  if (running.mean.defined()) {
    const double unbiased = static_cast<double>(n) / static_cast<double>(n - 1);
    const auto over_groups = [](const Tensor& t) { return t.size(0) == 1 ? t.select(0, 0) : mean(t, {0}); };
    const std::array<Tensor, 2> kept = {running.mean, running.var},
                                seen = {over_groups(average), over_groups(variance) * unbiased};
    lerp_(kept, seen, Tensor::scalar(running.momentum, f64, x.device()));
  }
  return {average, rsqrt(variance + eps)};
}

void check_batch_norm(const char* op, const Tensor& x, const RunningStats& running, bool training) {
  TACIT_CHECK(x.defined() && x.rank() >= 2, "[", op, "] the input must be (…, C) of rank 2 or more, got ", x.shape());
  check_activations(op, x);
  TACIT_CHECK(running.mean.defined() == running.var.defined(), "[", op, "] one of the running statistics is undefined");
  TACIT_CHECK(training || running.mean.defined(), "[", op, "] evaluation mode needs running statistics");
  if (running.mean.defined()) {
    channel_values(op, "running mean", running.mean, x, 0);
    channel_values(op, "running variance", running.var, x, 1);
  }
}

// The kernel pair of batch_norm and batch_norm_relu. `known`: see batch_statistics.
Variable record_batch_norm(const char* op, const Variable& x, const BatchNormAct& a, const Moments& known) {
  const bool training = a.training, relu = a.relu;
  const RunningStats& running = a.running;
  check_batch_norm(op, x.value(), running, training);
  const Groups groups(op, x.shape(), training ? a.split : BatchSplit{});
  const Tensor dense = groups.gather(x.value()), added = groups.gather(a.residual.value());
  const Tensor gain = channel_values(op, "gamma", a.gamma.value(), dense, 1);
  const Tensor bias = channel_values(op, "beta", a.beta.value(), dense, 0);
  // In evaluation a copy: the next training step writes the running mean in place, perhaps before this backward pass.
  const ChannelStatistics statistics =
      training ? batch_statistics(op, dense, groups, running, a.eps, known)
               : ChannelStatistics{running.mean.clone().unsqueeze(0), rsqrt(running.var + a.eps).unsqueeze(0)};
  const Tensor centre = statistics.mean, rstd = statistics.rstd;
  const auto normalised = [=] {
    const Tensor y = Tensor::empty(dense.shape(), dense.dtype(), dense.device());
    for (int64_t g = 0; g < groups.count() && y.numel() > 0; ++g)
      y.backend().batch_norm({.y = groups.part(y, g),
                              .x = groups.part(dense, g),
                              .mean = groups.part(centre, g),
                              .rstd = groups.part(rstd, g),
                              .gamma = gain.view(),
                              .beta = bias.view(),
                              .residual = groups.part(added, g),
                              .relu = relu});
    return y;
  };
  const Tensor y = normalised();

  // Without a residual the result need not be kept: a pass over x makes it again, and what relu let through with it.
  const bool remade = relu && !a.residual.defined();
  const Tensor kept_y = relu && !remade ? y : Tensor();
  const Variable result =
      record_joint(op, groups.scatter(y), {x, a.gamma, a.beta, a.residual},
                   [=](const Tensor& dy, const std::vector<bool>& needed) -> std::vector<Tensor> {
                     const std::vector<Tensor> d = {needed[0] ? over(dy) : Tensor(), wanted(needed[1], centre),
                                                    wanted(needed[2], centre), wanted(needed[3], dense)};
                     const Tensor dense_dy = groups.gather(dy);
                     if (dy.numel() == 0) zero(d);
                     for (int64_t g = 0; g < groups.count() && dy.numel() > 0; ++g)
                       dy.backend().batch_norm_grad({.dx = groups.part(d[0], g),
                                                     .dgamma = groups.part(d[1], g),
                                                     .dbeta = groups.part(d[2], g),
                                                     .dresidual = groups.part(d[3], g),
                                                     .dy = groups.part(dense_dy, g),
                                                     .x = groups.part(dense, g),
                                                     .y = groups.part(kept_y, g),
                                                     .mean = groups.part(centre, g),
                                                     .rstd = groups.part(rstd, g),
                                                     .gamma = gain.view(),
                                                     .beta = bias.view(),
                                                     .relu = relu,
                                                     .training = training});
                     const auto total = [](const Tensor& t) {
                       if (!t.defined()) return t;
                       return t.size(0) == 1 ? t.select(0, 0) : sum(t, {0});
                     };
                     return {groups.scatter(d[0]), total(d[1]), total(d[2]), groups.scatter(d[3])};
                   });
  if (remade) can_remake(result, [=] { return groups.scatter(normalised()); });
  return result;
}

Variable normalise(const Variable& x, const BatchNormAct& a, const Moments& known = {}) {
  if (a.residual.defined()) {
    TACIT_CHECK(a.relu, "[conv_bn_act] a residual without relu: add it to the result");
    check_same_kind("batch_norm_relu", x.value(), a.residual.value());
    TACIT_CHECK(a.residual.shape() == x.shape(), "[batch_norm_relu] residual ", a.residual.shape(),
                " must have the input's shape ", x.shape());
  }
  if (!a.relu) return record_batch_norm("batch_norm", x, a, known);
  if (x.value().backend().supports(Fused::BatchNormAct)) return record_batch_norm("batch_norm_relu", x, a, known);
  ++composed_ops;
  BatchNormAct alone = a;
  alone.relu = false, alone.residual = {};
  const Variable y = record_batch_norm("batch_norm", x, alone, known);
  return relu(a.residual.defined() ? add(y, a.residual) : y);
}

}  // namespace

Variable batch_norm(const Variable& x, const Variable& gamma, const Variable& beta, const RunningStats& running,
                    bool training, double eps, const BatchSplit& split) {
  return normalise(x, {gamma, beta, running, training, eps, split, false, {}});
}

Variable batch_norm_relu(const Variable& x, const Variable& gamma, const Variable& beta, const Variable& residual,
                         const RunningStats& running, bool training, double eps, const BatchSplit& split) {
  return normalise(x, {gamma, beta, running, training, eps, split, true, residual});
}

Variable batch_norm(const Variable& x, const BatchNormAct& a) { return normalise(x, a); }

Variable conv_bn_act(const Variable& x, const Variable& w, const Conv2dOptions& options, const BatchNormAct& a) {
  Moments moments;
  const bool one_group = a.training && a.split.groups == 1;
  const Variable y = conv2d(x, w, options, one_group ? &moments : nullptr);
  return normalise(y, a, moments);
}

int64_t composites() { return composed_ops.load(); }

Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta, double eps) {
  TACIT_CHECK(x.defined() && x.rank() >= 1 && x.size(-1) > 0, "[layer_norm] needs a last dimension, got ", x.shape());
  check_activations("layer_norm", x.value());
  const Tensor dense = x.value().contiguous_copy_if_needed();
  const Tensor gain = channel_values("layer_norm", "gamma", gamma.value(), dense, 1);
  const Tensor bias = channel_values("layer_norm", "beta", beta.value(), dense, 0);
  const Tensor y = wanted(true, dense);
  const Shape rows = without_dim(dense.shape(), -1);
  const Tensor mean = Tensor::empty(rows, gain.dtype(), y.device()), rstd = wanted(true, mean);
  if (y.numel() > 0)
    y.backend().layer_norm({.y = y.view(),
                            .mean = mean.view(),
                            .rstd = rstd.view(),
                            .x = dense.view(),
                            .gamma = gain.view(),
                            .beta = bias.view(),
                            .eps = eps});

  return record_joint("layer_norm", y, {x, gamma, beta},
                      [=](const Tensor& dy, const std::vector<bool>& needed) -> std::vector<Tensor> {
                        const std::vector<Tensor> d = {needed[0] ? over(dy) : Tensor(), wanted(needed[1], gain),
                                                       wanted(needed[2], bias)};
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

Variable l2_normalize(const Variable& activations, double eps) {
  const Variable x = widen(activations);
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
