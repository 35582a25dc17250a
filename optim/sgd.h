// SGD with momentum, in torch.optim.SGD's order of operations: weight decay enters the gradient (L2), then
// buffer = momentum buffer + gradient, then p -= lr buffer (nesterov: lr (gradient + momentum buffer)).
#pragma once

#include "optim/optimizer.h"

namespace tacit::optim {

struct SGDOptions {
  double lr = 0.1;
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;  ///< needs momentum > 0
};

class SGD final : public Optimizer {
 public:
  using Options = SGDOptions;
  /// Over default_groups(): no weight decay on biases and norm weights.
  SGD(nn::Module&, Options);
  /// Over these groups, each with its own weight decay; options.weight_decay is not used.
  SGD(std::vector<ParamGroup>, Options);

 protected:
  std::vector<std::string> state_kinds() const override;
  void update(const ParamGroup&, std::span<const View> params, std::span<const View> grads,
              std::span<const std::vector<View>> states, Backend&, const View& hyper) override;

 private:
  Options options_;
};

}  // namespace tacit::optim
