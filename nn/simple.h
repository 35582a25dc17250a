// Modules without parameters, for use in a Sequential: activations, pooling, flatten. Images are (N, H, W, C).
#pragma once

#include "autograd/ops.h"
#include "nn/module.h"

namespace tacit::nn {

/// What has nothing to visit.
class Stateless : public Module {
 public:
  void visit(Visitor&) override {}
};

/// A function of one Variable as a module.
template <Variable (*Function)(const Variable&)>
struct Activation : Stateless {
  Variable operator()(const Variable& x) const { return Function(x); }
};
using ReLU = Activation<&tacit::relu>;
using GELU = Activation<&tacit::gelu>;  ///< exact (erf)
using SiLU = Activation<&tacit::silu>;
using Tanh = Activation<&tacit::tanh>;
using Sigmoid = Activation<&tacit::sigmoid>;
using Softplus = Activation<&tacit::softplus>;
/// (N, H, W, C) -> (N, C).
using GlobalAvgPool = Activation<&tacit::global_avg_pool>;

/// max_pool2d() as a module.
struct MaxPool2d : Stateless {
  explicit MaxPool2d(PoolOptions o = {}) : options(o) {}
  Variable operator()(const Variable& x) const { return max_pool2d(x, options); }
  PoolOptions options;
};

/// avg_pool2d() as a module.
struct AvgPool2d : Stateless {
  explicit AvgPool2d(PoolOptions o = {}) : options(o) {}
  Variable operator()(const Variable& x) const { return avg_pool2d(x, options); }
  PoolOptions options;
};

/// adaptive_avg_pool2d() as a module; out_h x out_w pixels come out.
struct AdaptiveAvgPool2d : Stateless {
  AdaptiveAvgPool2d(int64_t height, int64_t width) : out_h(height), out_w(width) {}
  Variable operator()(const Variable& x) const { return adaptive_avg_pool2d(x, out_h, out_w); }
  int64_t out_h, out_w;
};

/// (N, …) -> (N, product of the rest), in memory order: (H, W, C), where torch has (C, H, W).
struct Flatten : Stateless {
  Variable operator()(const Variable& x) const { return flatten(x, 1); }
};

}  // namespace tacit::nn
