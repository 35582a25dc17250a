// Encoder: any network from images to feature vectors, as one copyable value, and the table of those known by name.
// Adding one: write the module, give it features() and a line in encoder.cpp's table.
#pragma once

#include <string>
#include <vector>

#include "nn/any_module.h"

namespace tacit::nn {

struct EncoderOptions {
  std::string name = "resnet18";  ///< resnet18 resnet34 resnet50 small_cnn nin
  int64_t width = 0;              ///< channels of the first stage; 0: the published one (64; small_cnn 32; nin 192)
  std::string stem = "auto";      ///< cifar, imagenet, or auto: cifar for images up to 64 pixels
  int64_t image_size = 32;
  int64_t channels = 3;
  int64_t bn_splits = 0;  ///< > 1: SplitBatchNorm everywhere, with at most that many groups (BatchNormOptions::splits)
  uint64_t seed = 0;      ///< of the initial weights
};

/// Holds a module M with `Variable operator()(const Variable&)` (images (N,H,W,C) -> (N, D)) and `int64_t features()`.
class Encoder : public AnyModule {
 public:
  template <class M>
  requires std::is_base_of_v<Module, M>
  explicit Encoder(M module) : Encoder(module.features(), std::move(module)) {}
  /// D, the size of a feature vector.
  int64_t features() const { return features_; }
  /// The names that stage() knows ("layer1" … "layer4", "block1" …), from the image on; none where M is not Staged.
  std::vector<std::string> stages();
  /// images (N, H, W, C) -> features of that stage, (N, its channels). Throws Error listing the names.
  Variable stage(const std::string& name, const Variable& images);
  /// images (N, H, W, C) -> (N, h, w, features()): the last map, whose average over h and w is the features. Throws
  /// Error for an encoder without one.
  Variable map(const Variable& images);

 private:
  template <class M>
  Encoder(int64_t features, M&& module) : AnyModule(std::move(module)), features_(features) {}

  int64_t features_;
};

/// Throws Error listing the known names.
Encoder make_encoder(const EncoderOptions&);
std::vector<std::string> encoder_names();

}  // namespace tacit::nn
