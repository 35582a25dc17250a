// Branch: an encoder with its projection head, what a momentum method keeps twice. The rule: the online branch learns;
// the other is a Frozen<Branch>, a copy that only the moving average changes.
#pragma once

#include "nn/encoder.h"
#include "nn/mlp.h"

namespace tacit::ssl {

class Branch : public nn::Module {
 public:
  /// `projector` are the head's sizes (0: the encoder's features).
  Branch(nn::Encoder encoder_, const std::vector<int64_t>& projector, const nn::MLPOptions& options)
      : encoder(std::move(encoder_)), projector(encoder.features(), projector, options) {}
  /// Images (N, H, W, C) -> projections (N, D).
  Variable operator()(const Variable& images) { return projector(encoder(images)); }
  void visit(nn::Visitor& v) override {
    v("encoder", encoder);
    v("projector", projector);
  }

  nn::Encoder encoder;
  nn::MLP projector;
};

}  // namespace tacit::ssl
