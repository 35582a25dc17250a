// BatchNorm and LayerNorm over the last dimension (channels come last everywhere).
// The rule (torch's): momentum 0.1 means new = 0.9 old + 0.1 batch; a batch is normalised by its biased variance, the
// running variance receives the unbiased one.
#pragma once

#include "nn/module.h"

namespace tacit {
struct BatchNormAct;  // autograd/ops.h
}  // namespace tacit

namespace tacit::nn {

class Conv2d;

struct BatchNormOptions {
  double eps = 1e-5, momentum = 0.1;
  bool affine = true;  ///< weight and bias exist; false is what some projection heads end in
  bool track = true;   ///< running statistics exist; without them evaluation uses the batch's own
  double gamma = 1;    ///< initial weight; 0 makes a residual branch start as nothing (zero_init_residual)
  /// > 1: SplitBatchNorm. In training the batch is cut into split_groups(N, splits) groups, each normalised by its own
  /// statistics, as if it sat on a device of its own; the running statistics receive the mean over the groups.
  int64_t splits = 0;
  bool strided = false;  ///< sample i belongs to group i mod groups, as in MoCo's CIFAR demo; else groups are stretches
};

/// While one lives on this thread, batch norms in training mode leave their running statistics and counts as they are:
/// for a forward pass that will be made again (cached gradients, recomputation), so that each batch counts once.
class KeepRunningStatistics {
 public:
  KeepRunningStatistics();
  ~KeepRunningStatistics();
  KeepRunningStatistics(const KeepRunningStatistics&) = delete;
  KeepRunningStatistics& operator=(const KeepRunningStatistics&) = delete;
  static bool active();

 private:
  bool before_;
};

/// How many groups SplitBatchNorm makes of a batch: its largest divisor <= splits; 1 when splits is 0 or 1.
int64_t split_groups(int64_t batch, int64_t splits);

/// Ioffe & Szegedy 2015. x (…, C); one value per channel (and group) in training is an error.
class BatchNorm : public Module {
 public:
  explicit BatchNorm(int64_t channels, BatchNormOptions options = {});
  Variable operator()(const Variable& x);
  /// relu(batch_norm(x) + residual) in one kernel pair where the backend has it; residual may be undefined.
  Variable relu(const Variable& x, const Variable& residual = {});
  /// Both of conv(x) (conv_bn_act): the statistics come out of the convolution where the backend can.
  Variable operator()(const Conv2d& conv, const Variable& x);
  Variable relu(const Conv2d& conv, const Variable& x, const Variable& residual = {});
  void visit(Visitor& v) override;
  void reset(const Initializer&) override;
  const BatchNormOptions& options() const { return options_; }

  Parameter weight, bias;
  Buffer running_mean, running_var, num_batches_tracked;

 private:
  /// What this layer is to a batch of `samples`; in training it counts the batch, unless statistics are kept as they
  /// are.
  BatchNormAct act(int64_t samples, bool relu, const Variable& residual = {});

  BatchNormOptions options_;
};
using BatchNorm1d = BatchNorm;  ///< for (N, C)
using BatchNorm2d = BatchNorm;  ///< for (N, H, W, C)

/// Ba, Kiros & Hinton 2016, over the last dimension. ViTs use eps 1e-6.
class LayerNorm : public Module {
 public:
  explicit LayerNorm(int64_t size, double eps = 1e-5);
  Variable operator()(const Variable& x) const;
  void visit(Visitor& v) override;
  void reset(const Initializer&) override;
  double eps() const { return eps_; }

  Parameter weight, bias;

 private:
  double eps_;
};

}  // namespace tacit::nn
