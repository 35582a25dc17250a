// From settings to objects: the method, its optimiser and schedule, and a whole model from a checkpoint.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "optim/optimizer.h"
#include "ssl/evaluate/features.h"
#include "ssl/methods/method.h"
#include "ssl/train/checkpoint.h"
#include "ssl/train/picture.h"

namespace tacit::ssl {

/// How images enter the method's encoder without augmentation, given the mean and std of its views.
PlainViews plain_views(const TrainConfig&, const std::vector<float>& mean, const std::vector<float>& std);
/// How they enter the method itself; differs where the encoder sees their lightness.
PlainViews method_views(const TrainConfig&, PlainViews of_encoder);
/// A fresh method with its encoder; config.image_size and config.channels must be resolved. Throws UsageError for a
/// method that this version lacks.
std::unique_ptr<Method> make_method(const TrainConfig&);
/// By config.optimizer, weight_decay and decay_all.
std::unique_ptr<optim::Optimizer> make_optimizer(const TrainConfig&, nn::Module&);
/// The learning rate of step 0, 1, … of `steps`: linear warm-up, then cosine to 0 or drops.
std::function<double(int64_t)> make_schedule(const TrainConfig&, int64_t steps);

/// How the method's network is shown views: masked, cut, turned. Empty where it is the views themselves.
ShownViews shown_views(const TrainConfig&);

/// A model as a checkpoint describes it.
struct Pretrained {
  CheckpointInfo info;
  std::unique_ptr<Method> method;
  PlainViews views;         ///< how images enter its encoder
  PlainViews method_views;  ///< how they enter the method itself
};
/// RUN may be a run directory or a checkpoint file. Throws Error naming the file.
Pretrained load_pretrained(const std::string& run);

}  // namespace tacit::ssl
