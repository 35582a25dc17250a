// Network-in-network of RotNet (Gidaris, Singh & Komodakis, "Unsupervised Representation Learning by Predicting Image
// Rotations", ICLR 2018), for images of 32 pixels: blocks of one 5x5 (from the third block on 3x3) and two 1x1
// convolutions, each with batch norm and ReLU. The rule: a block's features are those behind its pooling, if it has
// one; block 2 is where the paper's classifiers read.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "nn/conv.h"
#include "nn/norm.h"
#include "nn/staged.h"

namespace tacit::nn {

struct NinOptions {
  int blocks = 4;       ///< 3 to 5; the paper's RotNet has 4
  int64_t width = 192;  ///< channels out of each convolution; those of block 1 have 1, 5/6 and 1/2 of it (192, 160, 96)
  int64_t channels = 3;
  /// Average pooling behind block 3 too, when there are more; the published 4-block RotNet goes without.
  bool pool_third = false;
  int64_t bn_splits = 0;  ///< BatchNormOptions::splits
  uint64_t seed = 0;
};

/// Three convolutions with norm and ReLU.
class NinBlock : public Module {
 public:
  /// channels: in, and out of each convolution; `kernel` is the first convolution's.
  NinBlock(const std::array<int64_t, 4>& channels, int64_t kernel, int64_t bn_splits);
  Variable operator()(const Variable& x);
  /// Members "conv1", "bn1", … "conv3", "bn3".
  void visit(Visitor& v) override;

 private:
  std::vector<Conv2d> convs_;
  std::vector<BatchNorm2d> norms_;
};

class Nin : public Module, public Staged {
 public:
  explicit Nin(NinOptions = {});
  /// (N, H, W, C) -> (N, width). The map is a quarter of the image's size behind block 2: 3x3 max pooling of stride 2
  /// follows block 1, average pooling block 2.
  Variable operator()(const Variable& images);
  /// block1 … block4.
  std::pair<std::string, int> stages() const override { return {"block", static_cast<int>(blocks_.size())}; }
  Variable stage_map(const Variable& images, int count) override;
  int64_t features() const { return features_; }
  /// The pooling behind block `i` (from 0), where there is one; kPool is its window.
  std::optional<PoolOp> pool_behind(size_t i) const;
  static constexpr PoolOptions kPool{.kernel = 3, .stride = 2, .padding = 1};
  void visit(Visitor& v) override;

 private:
  int64_t features_;
  bool pool_third_;
  std::vector<NinBlock> blocks_;
};

}  // namespace tacit::nn
