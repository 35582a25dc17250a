// small_cnn: four 3x3 convolutions of stride 2 with batch norm and ReLU, then a global average pool. 0.39 million
// parameters at width 32; made for images of 28 to 64 pixels and CPUs with few cores.
#pragma once

#include <vector>

#include "nn/conv.h"
#include "nn/norm.h"
#include "nn/staged.h"

namespace tacit::nn {

struct SmallCnnOptions {
  int64_t width = 32;  ///< channels of the first layer; each further layer doubles them
  int64_t channels = 3;
  int64_t bn_splits = 0;  ///< BatchNormOptions::splits of every norm
  uint64_t seed = 0;
};

class SmallCnn : public Module, public Staged {
 public:
  explicit SmallCnn(SmallCnnOptions = {});
  /// (N, H, W, C) -> (N, 8 width).
  Variable operator()(const Variable& images);
  /// block1 … block4: after each convolution with its norm and ReLU.
  std::pair<std::string, int> stages() const override { return {"block", static_cast<int>(convs_.size())}; }
  Variable stage_map(const Variable& images, int count) override;
  int64_t features() const { return features_; }
  /// Members "conv1", "bn1", … "conv4", "bn4".
  void visit(Visitor& v) override;

 private:
  int64_t features_;
  std::vector<Conv2d> convs_;
  std::vector<BatchNorm2d> norms_;
};

}  // namespace tacit::nn
