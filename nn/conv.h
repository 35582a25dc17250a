// Conv2d over (N, H, W, C).
// The rule: weights lie (out, kernel, kernel, in / groups) in memory and (out, in / groups, kernel, kernel) in files.
#pragma once

#include "nn/init.h"
#include "tensor/ops.h"

namespace tacit::nn {

struct ConvOptions {
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
  bool bias = true;
  Init init = Init::torch_default();
};

/// x (N, H, W, in) -> (N, H', W', out) with H' = (H + 2 padding - dilation (kernel - 1) - 1) / stride + 1.
class Conv2d : public Module {
 public:
  Conv2d(int64_t in, int64_t out, int64_t kernel, ConvOptions options = {});
  Variable operator()(const Variable& x) const;
  void visit(Visitor& v) override;
  void reset(const Initializer&) override;
  const Conv2dOptions& geometry() const { return geometry_; }

  Parameter weight, bias;

 private:
  Conv2dOptions geometry_;
  Init init_;
};

}  // namespace tacit::nn
