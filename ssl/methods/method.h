// Method: a way to learn from images without labels, as the training loop sees it.
// The rule: a method knows views and modules; it knows nothing of files, loaders or logging. Whatever it draws is a
// function of its seed and the step, and whatever lives from step to step is a Parameter or Buffer, so that a
// checkpoint has it.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "nn/encoder.h"

namespace tacit::ssl {

/// Where training stands: this is step `step` (from 0) of `steps` in the whole schedule.
struct Progress {
  int64_t step = 0, steps = 1;
};

/// What a network that knows nothing would get.
struct Chance {
  double loss = 0;
  double top1 = 0;  ///< of the pretext task, a fraction; 0 where it is no classification
};

/// What a method makes of images, for people: images (N, H, W, C) in the scale of its views.
struct PictureColumn {
  std::string name;
  Tensor images;
};

class Method : public nn::Module {
 public:
  /// Called once, before step 0 of a new run: what the method wants to know of the training data goes into its buffers.
  /// Each call of next_views() gives the views of the next batch, in the order of training; there are `images` images.
  virtual void prepare(const std::function<std::vector<Tensor>()>& next_views, int64_t images) {
    (void)next_views, (void)images;
  }
  /// The loss of one batch; views[v] is (B, H, W, C). Records a graph; call backward() on the result.
  virtual Variable loss(const std::vector<Tensor>& views, const Progress&) = 0;
  /// Called after the optimiser's step, with the same progress as its loss().
  virtual void after_step(const Progress&) {}
  /// The network whose features are wanted in the end; with the projection head behind it for `--feature projection`.
  virtual nn::Encoder& encoder() = 0;
  /// The momentum encoder, where there is one; else null.
  virtual nn::Encoder* teacher() { return nullptr; }
  /// The encoder's weights were replaced from outside: copies of them follow.
  virtual void encoder_replaced() {}
  /// What the method's head makes of features (N, D). Throws Error where the head needs more than features.
  virtual Variable project(const Variable& features) = 0;
  /// For a method that predicts pixels: the images (N, H, W, C), what it was shown of them and what it made of that, in
  /// the order to look at them. Whatever is drawn is a function of `seed`. Empty for other methods.
  virtual std::vector<PictureColumn> reconstruct(const Tensor& images, uint64_t seed) {
    (void)images, (void)seed;
    return {};
  }
  /// For a batch of this size.
  virtual Chance chance(int64_t batch_size) const = 0;
  /// Numbers of the last loss() worth logging besides the loss ("feature_std", "pretext_top1", …), as tensors of one
  /// element that are read a step late.
  virtual std::map<std::string, Tensor> metrics() const = 0;
  /// Why a step cannot be captured as a graph (--cuda-graph); "": it can, since whatever its loss() and after_step()
  /// take from the host anew comes by step_input(), and nothing that the host decides there depends on numbers of the
  /// device.
  virtual std::string why_not_captured() const { return "it does not say that its steps can be repeated"; }
  /// What the user should know before the first step: choices that depend on the data, warnings ("warning: …").
  virtual std::vector<std::string> describe(int64_t images, int64_t batch_size) const {
    (void)images, (void)batch_size;
    return {};
  }
};

}  // namespace tacit::ssl
