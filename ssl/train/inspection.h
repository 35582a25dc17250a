// What a run shows of its insides now and then: histograms of features and gradients, and what the method predicts.
// The rule: looking changes nothing that the run depends on, and a step without a look does nothing here.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "optim/optimizer.h"
#include "ssl/evaluate/features.h"
#include "ssl/train/config.h"
#include "ssl/train/run_directory.h"

namespace tacit::ssl {

/// "gradients/MODULE", the module by its path up to its first number ("encoder.layer1", "online.projector"): the
/// gradients of the last step, after clipping, in the optimiser's order.
std::vector<std::pair<std::string, Histogram>> gradient_histograms(const optim::Optimizer&);

class Inspection {
 public:
  /// `views`: how images enter the encoder; `method_views`: how they enter the method. Reads no image yet.
  Inspection(const TrainConfig&, ImageSourcePtr train, PlainViews views, PlainViews method_views);
  /// After the first step, and at the end of at most a hundred epochs, evenly spaced, the last among them.
  bool due(const StepRecord&) const;
  /// Writes the events "features" (of some training images, without augmentation, as an evaluation sees them) and
  /// "gradients/…", and the picture "reconstruction" of a method that predicts pixels; the same images each time.
  void look(int64_t step, Method&, const optim::Optimizer&, RunDirectory&);

 private:
  void choose_images();

  ImageSourcePtr train_, images_;  // images_: those that are looked at; none before the first look
  PlainViews views_, method_views_;
  int64_t epochs_, batch_, seed_;
};

}  // namespace tacit::ssl
