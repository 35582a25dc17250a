// LARS (You, Gitman & Ginsburg, "Large Batch Training of Convolutional Networks", 2017): momentum SGD whose step on
// each tensor is scaled by a trust ratio q = eta |p| / |g + weight_decay p|, or 1 where one of the two norms is 0. The
// rule: biases and norm weights get neither weight decay nor a ratio; they move as plain momentum SGD. Published
// implementations differ, and learning rates do not carry over from one to the other, so here is which this is:
//   default       BYOL, MoCo-v3, Barlow Twins:  m = momentum m + q (g + weight_decay p);  p -= lr m
//   lr_in_buffer  SimCLR:                       m = momentum m + lr q (g + weight_decay p);  p -= m
// The two differ only while the learning rate changes. Weight decay enters before the norm is taken in both.
#pragma once

#include "optim/optimizer.h"

namespace tacit::optim {

struct LARSOptions {
  double lr = 0.1;
  double momentum = 0.9;
  double weight_decay = 0;
  double eta = 1e-3;          ///< the trust coefficient
  bool lr_in_buffer = false;  ///< SimCLR's order
};

class LARS final : public Optimizer {
 public:
  using Options = LARSOptions;
  /// Over default_groups().
  LARS(nn::Module&, Options);
  /// Over these groups, each with its own weight decay, and with trust ratios where `adapt` says so;
  /// options.weight_decay is not used.
  LARS(std::vector<ParamGroup>, Options);

 protected:
  std::vector<std::string> state_kinds() const override { return {"momentum_buffer"}; }
  void update(const ParamGroup&, std::span<const View> params, std::span<const View> grads,
              std::span<const std::vector<View>> states, Backend&, const View& hyper) override;

 private:
  Options options_;
};

}  // namespace tacit::optim
