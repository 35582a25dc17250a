// Rotation (Gidaris, Singh, Komodakis: "Unsupervised Representation Learning by Predicting Image Rotations", ICLR
// 2018).
//   each image becomes four: turned by 0, 90, 180 and 270 degrees
//   logits = head(encoder(turned image)), one linear layer
//   loss = mean of -log softmax(logits)[turn], over all four turns of all images
// Variants chosen here: all four turns of an image are in one batch, side by side (the paper found this better than a
// random one); turns are transpositions and flips of whole pixels, after the view's crop and normalisation, so nothing
// is interpolated or padded. The paper reads the features of its network-in-network behind block 2 (`--feature
// block2`): its last block knows turns better than things. Which block is best depends on the network; `linear
// --feature all` shows.
#pragma once

#include "nn/linear.h"
#include "ssl/methods/method.h"

namespace tacit::ssl {

struct RotationOptions {
  uint64_t seed = 0;  ///< of the head's initial weights
};

/// Square images (B, S, S, C) -> (4 B, S, S, C): row 4 b + r is image b turned r times by 90 degrees,
/// counter-clockwise. Throws Error for other shapes.
Tensor four_rotations(const Tensor& images);

class Rotation : public Method {
 public:
  Rotation(nn::Encoder encoder, RotationOptions options);
  Variable loss(const std::vector<Tensor>& views, const Progress&) override;
  nn::Encoder& encoder() override { return encoder_; }
  /// The four logits: (N, D) -> (N, 4).
  Variable project(const Variable& features) override { return head_(features); }
  /// log 4 and 1/4.
  Chance chance(int64_t) const override;
  std::string why_not_captured() const override { return ""; }
  std::map<std::string, Tensor> metrics() const override { return metrics_; }
  void visit(nn::Visitor& v) override;

 private:
  nn::Encoder encoder_;
  nn::Linear head_;
  std::map<std::string, Tensor> metrics_;
};

}  // namespace tacit::ssl
