#include "nn/norm.h"

#include <algorithm>
#include <utility>

#include "autograd/ops.h"
#include "nn/conv.h"
#include "nn/init.h"

namespace tacit::nn {

namespace {
thread_local bool keep_running_statistics = false;
}

KeepRunningStatistics::KeepRunningStatistics() : before_(std::exchange(keep_running_statistics, true)) {}
KeepRunningStatistics::~KeepRunningStatistics() { keep_running_statistics = before_; }
bool KeepRunningStatistics::active() { return keep_running_statistics; }

int64_t split_groups(int64_t batch, int64_t splits) {
  TACIT_CHECK(splits >= 0, "[split_groups] the number of splits must not be negative, got ", splits);
  int64_t groups = std::max<int64_t>(1, std::min(batch, splits));
  while (batch % groups != 0) --groups;
  return groups;
}

BatchNorm::BatchNorm(int64_t channels, BatchNormOptions options) : options_(options) {
  TACIT_CHECK(channels > 0, "[BatchNorm] the number of channels must be positive, got ", channels);
  TACIT_CHECK(options.eps > 0 && options.momentum >= 0 && options.momentum <= 1, "[BatchNorm] eps ", options.eps,
              " must be above 0 and momentum ", options.momentum, " in [0, 1]");
  TACIT_CHECK(options.splits >= 0, "[BatchNorm] the number of splits must not be negative, got ", options.splits);
  if (options.affine) {
    weight = Parameter(Tensor::full({channels}, options.gamma));
    bias = Parameter(Tensor::zeros({channels}));
  }
  if (options.track) {
    running_mean = Buffer(Tensor::zeros({channels}));
    running_var = Buffer(Tensor::ones({channels}));
    num_batches_tracked = Buffer(Tensor::zeros({}, i64));
  }
}

BatchNormAct BatchNorm::act(int64_t samples, bool relu, const Variable& residual) {
  const bool batch = training() || !options_.track, kept = KeepRunningStatistics::active();
  if (options_.track && batch && !kept)
    num_batches_tracked.value().add_(Tensor::ones({}, i64, num_batches_tracked.value().device()));
  return {.gamma = weight,
          .beta = bias,
          .running = batch && kept ? RunningStats{} : RunningStats{running_mean, running_var, options_.momentum},
          .training = batch,
          .eps = options_.eps,
          .split = {split_groups(samples, options_.splits), options_.strided},
          .relu = relu,
          .residual = residual};
}

namespace {
int64_t samples_of(const Variable& x) { return x.rank() > 0 ? x.size(0) : 1; }

Variable behind(const Conv2d& conv, const Variable& x, const BatchNormAct& a) {
  return conv.bias.defined() ? batch_norm(conv(x), a) : conv_bn_act(x, conv.weight, conv.geometry(), a);
}
}  // namespace

Variable BatchNorm::operator()(const Variable& x) { return batch_norm(x, act(samples_of(x), false)); }

Variable BatchNorm::relu(const Variable& x, const Variable& residual) {
  return batch_norm(x, act(samples_of(x), true, residual));
}

Variable BatchNorm::operator()(const Conv2d& conv, const Variable& x) {
  return behind(conv, x, act(samples_of(x), false));
}

Variable BatchNorm::relu(const Conv2d& conv, const Variable& x, const Variable& residual) {
  return behind(conv, x, act(samples_of(x), true, residual));
}

void BatchNorm::visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
  v("running_mean", running_mean);
  v("running_var", running_var);
  v("num_batches_tracked", num_batches_tracked);
}

void BatchNorm::reset(const Initializer& init) {
  init("weight", weight, Init::constant(options_.gamma));
  init("bias", bias, Init::constant(0));
  if (!options_.track) return;
  running_mean.value().fill_(0);
  running_var.value().fill_(1);
  num_batches_tracked.value().fill_(0);
}

LayerNorm::LayerNorm(int64_t size, double eps) : eps_(eps) {
  TACIT_CHECK(size > 0, "[LayerNorm] the size must be positive, got ", size);
  weight = Parameter(Tensor::ones({size}));
  bias = Parameter(Tensor::zeros({size}));
}

Variable LayerNorm::operator()(const Variable& x) const { return layer_norm(x, weight, bias, eps_); }

void LayerNorm::visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
}

void LayerNorm::reset(const Initializer& init) {
  init("weight", weight, Init::constant(1));
  init("bias", bias, Init::constant(0));
}

}  // namespace tacit::nn
