// MAE (He, Chen, Xie, Li, Dollár, Girshick: "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022).
//   hide 75 % of the patches, for each image others
//   latent = ViT(visible patches with their positions)                     the encoder never sees a mask token
//   pred   = decoder([latent, a mask token for each hidden patch], with positions), of the hidden patches
//   target = the hidden patches, each (x - its mean) / sqrt(its variance + 1e-6)
//   loss   = mean of (pred - target)²
// Variants chosen here are the official code's (facebookresearch/mae, models_mae.py): the order is the argsort of
// uniforms; the class token joins after the masking; the target is made of the images as the network sees them
// (augmented and normalised), its variance is unbiased; the decoder has fixed sin-cos positions of its own. Any grid,
// any number of channels.
#pragma once

#include "nn/vit.h"
#include "ssl/methods/mae_decoder.h"
#include "ssl/methods/method.h"
#include "ssl/methods/patches.h"

namespace tacit::ssl {

struct MAEOptions {
  double mask_ratio = 0.75;
  MAEDecoderOptions decoder = {};
  bool norm_pixels = true;  ///< targets normalised patch by patch (the official --norm_pix_loss)
  uint64_t seed = 0;
};

/// (x - mean) / sqrt(variance + 1e-6) of every patch (last dimension, at least 2 numbers), the variance unbiased.
Tensor normalize_patches(const Tensor& patches);

/// Images (N, H, W, C) as the encoder is shown them in step `step`, for people: hidden patches at the mean colour, 0.
Tensor masked_images(const Tensor& images, int64_t patch, const MAEOptions&, int64_t step);

class MAE : public Method {
 public:
  /// The encoder must hold a ViT whose tokens are normalised before they are pooled (no ViTOptions::fc_norm with
  /// Pool::Mean).
  MAE(nn::Encoder encoder, MAEOptions options);
  Variable loss(const std::vector<Tensor>& views, const Progress&) override;
  /// Columns "image", "masked" (hidden patches at the mean colour, 0) and "reconstruction" (visible patches as they
  /// are, hidden ones as predicted; with norm_pixels the patch's own mean and deviation, which the network does not
  /// predict, are put back).
  std::vector<PictureColumn> reconstruct(const Tensor& images, uint64_t seed) override;

  nn::Encoder& encoder() override { return encoder_; }
  /// There is no head behind the features: Error.
  Variable project(const Variable& features) override;
  /// A network that predicts every patch's mean: of n normalised numbers with unbiased variance the mean square is
  /// 1 - 1/n (constant patches, whose target is 0, lower it). Without norm_pixels one that predicts the data's mean
  /// colour: 1, as far as the policy's statistics are the data's.
  Chance chance(int64_t batch_size) const override;
  /// feature_std: of the features of the visible patches.
  std::string why_not_captured() const override { return ""; }
  std::map<std::string, Tensor> metrics() const override { return metrics_; }
  std::vector<std::string> describe(int64_t images, int64_t batch_size) const override;
  void visit(nn::Visitor& v) override;

 private:
  nn::ViT& vit() { return *encoder_.as<nn::ViT>(); }
  /// Throws Error, naming what is wrong, unless the method can be made of these.
  static const nn::ViTOptions& checked(nn::Encoder&, const MAEOptions&);
  /// The encoder's tokens (N, 1 + V, D) of the visible patches only: its cost falls with the mask ratio.
  Variable encode(const Tensor& images, const Tensor& keep);
  Masking draw(const Tensor& images, uint64_t seed, uint64_t stream) const;

  MAEOptions options_;
  nn::Encoder encoder_;
  nn::ViTOptions vit_options_;
  int64_t patches_;
  MAEDecoder decoder_;
  std::map<std::string, Tensor> metrics_;
};

}  // namespace tacit::ssl
