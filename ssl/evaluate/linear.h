// Linear probe: one linear layer and softmax cross-entropy on frozen, standardised features.
// Standardising by the training images' statistics is what MAE's batch norm without affine parameters does before its
// classifier (but for dimensions that hardly vary, see Standardizer), so no method needs a norm of its own here. The
// rule: the learning rate is chosen on a held-out part of train, then train is used whole; test is looked at once.
#pragma once

#include <vector>

#include "ssl/evaluate/features.h"

namespace tacit::ssl {

struct LinearProbeOptions {
  std::vector<double> learning_rates = {1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2};
  int64_t epochs = 30;
  int64_t batch_size = 1024;
  /// Of every class of train, held out during the sweep. 0: no sweep; there must be a single rate.
  double validation_fraction = 0.1;
  uint64_t seed = 0;  ///< of the held-out part and of the order of the batches
};
/// A learning rate, and the accuracy on the held-out part of train.
struct SweepPoint {
  double lr = 0, validation_top1 = 0;
};
struct LinearProbeResult {
  double top1 = 0;  ///< on test, trained with best_lr on all of train
  double best_lr = 0;
  std::vector<SweepPoint> sweep;     ///< in the order of the options' learning_rates
  std::vector<int64_t> predictions;  ///< of the test images
};
/// AdamW without weight decay, cosine to 0, zero initial weights. All learning rates train side by side as one wide
/// matrix. Throws Error for unlabelled sets and where some class has fewer than two training images.
LinearProbeResult linear_probe(const FeatureSet& train, const FeatureSet& test, const LinearProbeOptions& = {});

}  // namespace tacit::ssl
