// The decoder of colorization: from an encoder's last map to a prediction for every stride-th pixel.
// The rule: row i of an encoder's map stands for row i * (image / map) of the image, so doubling the map and cutting
// off what lies beyond the image's edge keeps predictions and pixels together for every image size.
#pragma once

#include <vector>

#include "nn/conv.h"
#include "nn/norm.h"

namespace tacit::ssl {

struct ColorDecoderOptions {
  int64_t in = 0;      ///< channels of the encoder's map
  int64_t map = 0;     ///< its side
  int64_t target = 0;  ///< side of the prediction, at least that of the map
  int64_t width = 64;  ///< channels between
  int64_t out = 0;
  uint64_t seed = 0;
};

/// (nearest-neighbour doubling, 3x3 convolution, batch norm, ReLU) until the target's size is reached, at least one
/// convolution, then a 1x1 convolution to the outputs.
class ColorDecoder : public nn::Module {
 public:
  explicit ColorDecoder(ColorDecoderOptions);
  /// (N, map, map, in) -> (N, target, target, out).
  Variable operator()(const Variable& map);
  /// Members "conv1", "bn1", …, "head".
  void visit(nn::Visitor& v) override;

 private:
  int64_t target_;
  std::vector<nn::Conv2d> convs_;
  std::vector<nn::BatchNorm2d> norms_;
  nn::Conv2d head_;
};

/// Every pixel of (N, H, W, C) twice each way: (N, 2 H, 2 W, C).
Variable doubled(const Variable& x);

/// How often a map of this side is doubled until it covers the target.
int64_t doublings(int64_t map, int64_t target);

}  // namespace tacit::ssl
