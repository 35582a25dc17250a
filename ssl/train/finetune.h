// Supervised training of a whole network: fine-tuning of a pre-trained encoder, the same network from scratch, and the
// supervised row of the `evaluate` table. The rule: one recipe for all three, so that they can be compared; every
// random choice is a function of (seed, step).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ssl/evaluate/features.h"
#include "ssl/train/mixup.h"
#include "ssl/train/trainer.h"

namespace tacit::ssl {

struct FinetuneOptions {
  int64_t batch_size = 0;    ///< 0: by the number of images, see finetune_batch_size()
  int64_t epochs = 20;       ///< the schedule, but at least min_steps
  int64_t min_steps = 2000;  ///< few images are not an excuse to train for a few steps only
  /// AdamW's peak, cosine to 0: lr, or base_lr * batch / 256; one of the two.
  std::optional<double> lr = 2e-3, base_lr = {};
  double weight_decay = 0.05, beta1 = 0.9, beta2 = 0.999, warmup_fraction = 0.1;
  double layer_decay = 1;  ///< lr of a layer: lr * layer_decay^(layers above it), nn/encoder_layers.h
  double label_smoothing = 0;
  MixOptions mix;
  double random_erasing = 0;                ///< probability
  std::string erase_with = "noise";         ///< noise: N(0, 1) a value; mean
  std::string augmentation = "supervised";  ///< crops and flips
  std::vector<int64_t> hidden = {};         ///< layers of the head before its last, with batch norm and ReLU
  /// A stage of the encoder (Encoder::stages): the encoder stays as it is, in evaluation mode, and only the head
  /// learns, of that stage's whole map. How Gidaris et al. 2018 judge RotNet (hidden layers of 200). "": all learns.
  std::string frozen = {};
  double head_std = 0;  ///< of the head's initial weights, truncated normal; 0: torch's default
  // Of a ViT, see finetuning_encoder():
  std::string pool = "run";  ///< run: as it was pre-trained; cls, mean
  double drop_path = 0;      ///< of the last block
  bool learn_positions = false;
  uint64_t seed = 0;  ///< of the head, the order, the views, the mixing and what is dropped
};

/// "default": FinetuneOptions as they are; "mixup": with mixup 0.8 and CutMix 1.0, MAE's, for networks that learn few
/// images by heart (ViTs); "mae": ViT-B's of MAE's FINETUNE.md. Throws Error listing the names.
FinetuneOptions finetune_recipe(const std::string& name);
/// The names that finetune_recipe() takes.
std::vector<std::string> finetune_recipe_names();
/// Throws UsageError where the recipe is of ViTs and the encoder of that name is none.
void check_finetune_recipe(const std::string& recipe, const std::string& encoder);

/// 10, 50, 64 or 128 images a step as there are up to 10, 100, 5,000 or more (never more than there are).
int64_t finetune_batch_size(int64_t images);

/// `encoder`, made by these EncoderOptions, with the drop path, pooling and positions of the FinetuneOptions. All
/// weights are carried over but, where the pooling changes from class token to mean, that of `norm`: `fc_norm` starts
/// afresh, as in MAE. Positions that become learned start from the fixed ones. What pre-training froze (MoCo's
/// --stop-grad-conv1) learns again. Throws Error where drop path, pooling or positions are asked of an encoder that is
/// no ViT.
nn::Encoder finetuning_encoder(const nn::Encoder& encoder, const nn::EncoderOptions&, const FinetuneOptions&);

/// What a display may want to know: steps of this training.
struct FinetuneObserver {
  std::function<void(int64_t steps, int64_t steps_per_epoch)> begin = [](int64_t, int64_t) {};
  std::function<void(const StepRecord&)> step = [](const StepRecord&) {};
};

struct FinetuneResult {
  double top1 = 0;                   ///< on test, plain views, after the last step
  double lr = 0;                     ///< the peak
  int64_t steps = 0, epochs = 0;     ///< made; epochs rounded up
  std::vector<int64_t> predictions;  ///< of the test images
};

/// Trains `encoder` (a copy) and a new head end to end, or the head alone, on the labelled images of `train`;
/// cross-entropy. Crops, then views.normalisation. Throws Error for unlabelled images and for a loss that is not
/// finite.
FinetuneResult finetune(nn::Encoder encoder, const ImageSourcePtr& train, const ImageSourcePtr& test,
                        const PlainViews& views, const FinetuneOptions& = {}, const FinetuneObserver& = {});

}  // namespace tacit::ssl
