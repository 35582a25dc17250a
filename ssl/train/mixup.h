// Batch-level mixing for training with labels: mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019), as
// timm's Mixup in batch mode does them for MAE's fine-tuning: one lambda a step, every image's partner is its mirror in
// the batch (image i with image B - 1 - i).
// The rule: what is mixed is a function of (seed, step); images and labels must be mixed by the same Mix.
#pragma once

#include "autograd/variable.h"

namespace tacit::ssl {

/// How images are mixed.
struct MixOptions {
  double mixup = 0, cutmix = 0;  ///< alpha of lambda ~ Beta(alpha, alpha); 0: not this one
  double cutmix_share = 0.5;     ///< probability of CutMix where both are on

  bool on() const { return mixup > 0 || cutmix > 0; }
};

/// One step's choice. lambda is the share of the image itself in its label.
struct Mix {
  double lambda = 1;
  bool cut = false;
  int64_t top = 0, left = 0, height = 0, width = 0;  ///< of a cut: the box that comes from the partner
};
/// For images of H x W pixels.
Mix draw_mix(const MixOptions&, int64_t height, int64_t width, uint64_t seed, int64_t step);
/// CutMix's box around a centre: of the image's shape, 1 - lambda of its area, clipped to the image. The Mix's lambda
/// is 1 - what is left of that area.
Mix cut_box(double lambda, int64_t height, int64_t width, int64_t centre_y, int64_t centre_x);

/// (B, H, W, C) -> the same: lambda x + (1 - lambda) partner, or x with the partner's box.
Tensor mix_images(const Tensor& images, const Mix&);
/// lambda CE(logits, labels) + (1 - lambda) CE(logits, partners' labels): cross-entropy with the mixed soft labels.
/// labels (B) i64; smoothing as in cross_entropy().
Variable mixed_cross_entropy(const Variable& logits, const Tensor& labels, const Mix&, double smoothing = 0);

}  // namespace tacit::ssl
