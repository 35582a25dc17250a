// Encoder: any network from images to feature vectors, as one copyable value, and the table of those known by name.
// Adding one: write the module, give it features(), a line in encoder.cpp's table and a graph in
// ssl/train/export_onnx.cpp.
#pragma once

#include <string>
#include <vector>

#include "nn/any_module.h"

namespace tacit::nn {

/// Which network make_encoder() makes, and for which images.
struct EncoderOptions {
  std::string name = "resnet18";  ///< resnet18 resnet34 resnet50 small_cnn nin vit_micro vit_tiny vit_small vit_base
  /// Channels of the first stage; 0: the published number (64; small_cnn 32; nin 192). ViTs: the dimension of a token
  /// (micro 128, tiny 192, small 384, base 768), in heads of the published size (64; micro 32), or one head if it is a
  /// smaller multiple of 4.
  int64_t width = 0;
  std::string stem = "auto";  ///< ResNets: cifar, imagenet, or auto: cifar for images up to 64 pixels
  int64_t image_size = 32;
  int64_t channels = 3;
  bool zero_init_residual = false;      ///< ResNets: see ResNetOptions
  bool checkpoint_activations = false;  ///< ResNets and ViTs: blocks are computed again in the backward pass
  int64_t bn_splits = 0;     ///< > 1: SplitBatchNorm everywhere, at most so many groups (BatchNormOptions::splits)
  int64_t patch_size = 0;    ///< ViTs; 0: default_patch_size(image_size)
  std::string pool = "cls";  ///< ViTs: cls, mean (of the patch tokens, then fc_norm), or mean-after-norm (of the
                             ///< normalised patch tokens)
  std::string position = "sincos";  ///< ViTs: sincos (fixed), or learned
  double drop_path = 0;             ///< ViTs, of the last block; see set_dropout_step in nn/dropout.h
  uint64_t seed = 0;                ///< of the initial weights
};

/// Holds a module M with `Variable operator()(const Variable&)` (images (N,H,W,C) -> (N, D)) and `int64_t features()`.
class Encoder : public AnyModule {
 public:
  template <class M>
  requires std::is_base_of_v<Module, M>
  explicit Encoder(M module) : Encoder(module.features(), std::move(module)) {}
  /// images (N, H, W, C) -> features (N, D), f32 also where activations are bf16.
  Variable operator()(const Variable& images);
  /// D, the size of a feature vector.
  int64_t features() const { return features_; }
  /// The names that stage() knows ("layer1" … "layer4", "block1" …), from the image on; none where M is not Staged.
  std::vector<std::string> stages();
  /// images (N, H, W, C) -> features of that stage, (N, its channels), f32 likewise. Throws Error listing the names.
  Variable stage(const std::string& name, const Variable& images);
  /// images (N, H, W, C) -> (N, h, w, its channels): what stage() averages, in the dtype it was made in. Throws Error
  /// for a stage that has no such map (a ViT's).
  Variable stage_map(const std::string& name, const Variable& images);
  /// images (N, H, W, C) -> (N, h, w, features()): the last map, whose average over h and w is the features. Throws
  /// Error for an encoder without one.
  Variable map(const Variable& images);

 private:
  template <class M>
  Encoder(int64_t features, M&& module) : AnyModule(std::move(module)), features_(features) {}

  /// From 1. Throws Error listing the names.
  int stage_number(const std::string& name);

  int64_t features_;
};

/// Of a ResNet: "cifar" for images up to 64 pixels, else "imagenet".
std::string default_stem(int64_t image_size);

/// Of one image (1, image_size, image_size, channels) through the encoder in evaluation mode: see
/// tensor/multiply_adds.h. Twice as many are floating-point operations.
int64_t multiply_adds(Encoder&, int64_t image_size, int64_t channels);

/// Above 64 pixels 16; else the divisor of the image's side that is nearest to an eighth of it, the larger of two (32
/// and 28 pixels: 4; 64: 8).
int64_t default_patch_size(int64_t image_size);
/// Whether the encoder of that name is a Vision Transformer.
bool is_vit(const std::string& name);
/// Whether it is a ResNet.
bool is_resnet(const std::string& name);
/// What EncoderOptions::width 0 stands for. Throws Error listing the known names.
int64_t published_width(const std::string& name);
/// Throws Error where the encoder of that name cannot have that EncoderOptions::width.
void check_encoder_width(const std::string& name, int64_t width);
/// Throws Error listing the known names.
Encoder make_encoder(const EncoderOptions&);
/// The names that EncoderOptions takes.
std::vector<std::string> encoder_names();

}  // namespace tacit::nn
