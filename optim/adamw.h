// AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019), in torch.optim.AdamW's order of
// operations: p *= 1 - lr weight_decay, then Adam's step with bias-corrected moments.
#pragma once

#include "optim/optimizer.h"

namespace tacit::optim {

struct AdamWOptions {
  double lr = 1e-3;
  double weight_decay = 1e-2;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
};

class AdamW final : public Optimizer {
 public:
  using Options = AdamWOptions;
  /// Over default_groups(): no weight decay on biases and norm weights.
  AdamW(nn::Module&, Options);
  /// Over these groups, each with its own weight decay; options.weight_decay is not used.
  AdamW(std::vector<ParamGroup>, Options);

 protected:
  std::vector<std::string> state_kinds() const override { return {"exp_avg", "exp_avg_sq"}; }
  std::vector<double> hyper() const override;
  void update(const ParamGroup&, std::span<const View> params, std::span<const View> grads,
              std::span<const std::vector<View>> states, Backend&, const View& hyper) override;

 private:
  Options options_;
};

}  // namespace tacit::optim
