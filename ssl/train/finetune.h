// Supervised training of a whole network: fine-tuning of a pre-trained encoder, the same network from scratch, and the
// supervised row of the `evaluate` table. The rule: one recipe for all three, so that they can be compared.
#pragma once

#include <functional>
#include <vector>

#include "ssl/evaluate/features.h"
#include "ssl/train/trainer.h"

namespace tacit::ssl {

struct FinetuneOptions {
  int64_t batch_size = 0;    ///< 0: by the number of images, see finetune_batch_size()
  int64_t epochs = 20;       ///< the schedule, but at least min_steps
  int64_t min_steps = 2000;  ///< few images are not an excuse to train for a few steps only
  double lr = 2e-3, weight_decay = 0.05, warmup_fraction = 0.1;  ///< AdamW, cosine to 0
  std::string augmentation = "supervised";                       ///< crops and flips
  uint64_t seed = 0;                                             ///< of the head, the order and the views
};

/// 10, 50, 64 or 128 images a step as there are up to 10, 100, 5,000 or more (never more than there are).
int64_t finetune_batch_size(int64_t images);

/// What a display may want to know: steps of this training.
struct FinetuneObserver {
  std::function<void(int64_t steps, int64_t steps_per_epoch)> begin = [](int64_t, int64_t) {};
  std::function<void(const StepRecord&)> step = [](const StepRecord&) {};
};

struct FinetuneResult {
  double top1 = 0;                   ///< on test, plain views, after the last step
  int64_t steps = 0, epochs = 0;     ///< made; epochs rounded up
  std::vector<int64_t> predictions;  ///< of the test images
};

/// Trains `encoder` (a copy) and a new linear head end to end on the labelled images of `train`; cross-entropy. Crops,
/// then views.normalisation. Throws Error for unlabelled images and for a loss that is not finite.
FinetuneResult finetune(nn::Encoder encoder, const ImageSourcePtr& train, const ImageSourcePtr& test,
                        const PlainViews& views, const FinetuneOptions& = {}, const FinetuneObserver& = {});

}  // namespace tacit::ssl
