// BYOL (Grill et al.: "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning", NeurIPS 2020).
//   z = online projector(encoder(view)), p = predictor(z);  z' = target projector(encoder(view)), a constant
//   loss = |p1/|p1| - z2'/|z2'||² + |p2/|p2| - z1'/|z1'||², mean over the batch
//   after the step: target = tau target + (1 - tau) online, tau = 1 - (1 - tau0) (cos(pi k / K) + 1) / 2
// There is no negative: predictor, stop-gradient and slow target keep it from giving every image one feature. Take one
// away (the two switches below) and watch `projection_std` fall to 0.
// Variants chosen here: the average runs after the optimiser's step, over parameters; the target is in training mode
// and keeps its own batch norm statistics (the official code's choice); heads are linear, batch norm, ReLU, linear
// without a norm at the end, the last linear without bias, the first without the bias that its norm would remove.
#pragma once

#include <optional>

#include "ssl/methods/branch.h"
#include "ssl/methods/method.h"

namespace tacit::ssl {

struct BYOLOptions {
  double target_momentum = 0.996;  ///< tau0; 0: the target is the online network of the step before (SimSiam's case)
  std::vector<int64_t> projector = {4096, 256}, predictor = {4096, 256};
  bool use_predictor = true;  ///< false shows a collapse
  bool stop_gradient = true;  ///< false: the online network is its own target, with gradient; shows a collapse
  uint64_t seed = 0;
};

class BYOL : public Method {
 public:
  BYOL(nn::Encoder encoder, BYOLOptions options);
  Variable loss(const std::vector<Tensor>& views, const Progress&) override;
  void after_step(const Progress&) override;
  nn::Encoder& encoder() override { return online_.encoder; }
  nn::Encoder* teacher() override { return &target_.module().encoder; }
  void encoder_replaced() override { target_.module() = online_; }
  Variable project(const Variable& features) override { return online_.projector(features); }
  /// 4: two directions, each 2 - 2 cos of unrelated vectors.
  Chance chance(int64_t) const override { return {4, 0}; }
  std::string why_not_captured() const override { return ""; }
  std::map<std::string, Tensor> metrics() const override { return metrics_; }
  std::vector<std::string> describe(int64_t images, int64_t batch_size) const override;
  void visit(nn::Visitor& v) override;

 private:
  BYOLOptions options_;
  Branch online_;
  nn::Frozen<Branch> target_;
  std::optional<nn::MLP> predictor_;
  std::map<std::string, Tensor> metrics_;
};

}  // namespace tacit::ssl
