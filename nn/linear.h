// Linear: y = x wᵀ + b over the last dimension.
#pragma once

#include "nn/init.h"

namespace tacit::nn {

struct LinearOptions {
  bool bias = true;
  Init init = Init::torch_default();
  bool zero_bias = false;  ///< the bias starts at 0, not at torch's draw
};

/// x (…, in) -> (…, out). weight (out, in), bias (out): torch's names, shapes and initial values.
class Linear : public Module {
 public:
  Linear(int64_t in, int64_t out, LinearOptions options = {});
  Variable operator()(const Variable& x) const;
  void visit(Visitor& v) override;
  void reset(const Initializer&) override;

  Parameter weight, bias;

 private:
  Init init_;
  bool zero_bias_;
};

/// torch's initial values of a bias: uniform in ±1 / sqrt(fan_in of the weight beside it).
Init default_bias_init(const Parameter& weight);

}  // namespace tacit::nn
