// ResNet-18, -34 and -50 (He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016) in the form
// of torchvision: the same names, the same numbers; the stride of a bottleneck is in its 3x3 convolution ("v1.5").
#pragma once

#include <optional>
#include <vector>

#include "nn/conv.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/staged.h"

namespace tacit::nn {

/// What comes before the first stage.
enum class Stem : uint8_t {
  ImageNet,  ///< 7x7 stride 2, then 3x3 max-pooling of stride 2
  Cifar      ///< 3x3 stride 1, no pooling: for images up to 64 pixels
};

/// What follows the first convolution of Stem::ImageNet.
inline constexpr PoolOptions kStemPool{.kernel = 3, .stride = 2, .padding = 1};

struct ResNetOptions {
  int depth = 18;        ///< 18, 34 or 50
  int64_t width = 64;    ///< channels of the first stage
  int64_t channels = 3;  ///< of the images
  Stem stem = Stem::ImageNet;
  int64_t classes = 0;              ///< > 0: with the classifier `fc`; 0: features
  bool zero_init_residual = false;  ///< the last norm of each block starts at 0 (Goyal et al. 2017)
  int64_t bn_splits = 0;            ///< BatchNormOptions::splits of every norm
  bool checkpoint = false;          ///< blocks keep their input alone and are computed again in the backward pass
  uint64_t seed = 0;
};

/// One residual block; `basic` has two 3x3 convolutions, the bottleneck 1x1, 3x3, 1x1 with four times the channels out.
class ResidualBlock : public Module {
 public:
  /// last_gamma: initial weight of the norm just before the addition.
  ResidualBlock(bool bottleneck, int64_t in, int64_t width, int64_t stride, double last_gamma = 1,
                int64_t bn_splits = 0);
  Variable operator()(const Variable& x);
  void visit(Visitor& v) override;
  static int64_t expansion(bool bottleneck) { return bottleneck ? 4 : 1; }

 private:
  std::vector<Conv2d> convs_;       // conv1, conv2, (conv3)
  std::vector<BatchNorm2d> norms_;  // bn1, bn2, (bn3)
  std::optional<Conv2d> downsample_conv_;
  std::optional<BatchNorm2d> downsample_norm_;
};

class ResNet : public Module, public Staged {
 public:
  explicit ResNet(ResNetOptions = {});
  /// (N, H, W, C) -> (N, features()), or (N, classes) with a classifier.
  Variable operator()(const Variable& images);
  /// layer1 … layer4.
  std::pair<std::string, int> stages() const override { return {"layer", static_cast<int>(stages_.size())}; }
  Variable stage_map(const Variable& images, int count) override;
  int64_t features() const { return features_; }
  Stem stem() const { return stem_; }
  void visit(Visitor& v) override;

 private:
  Stem stem_;
  bool checkpoint_;
  int64_t features_ = 0;
  Conv2d conv1_;
  BatchNorm2d bn1_;
  std::vector<std::vector<ResidualBlock>> stages_;  // layer1 … layer4
  std::optional<Linear> fc_;
};

}  // namespace tacit::nn
