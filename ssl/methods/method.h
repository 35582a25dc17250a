// Method: a way to learn from images without labels, as the training loop sees it.
// The rule: a method knows views and modules; it knows nothing of files, loaders or logging.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nn/encoder.h"

namespace tacit::ssl {

/// Where training stands: step of steps (both counted over the whole schedule).
struct Progress {
  int64_t step = 0, steps = 1;
};

class Method : public nn::Module {
 public:
  /// The loss of one batch; views[v] is (B, H, W, C). Records a graph; call backward() on the result.
  virtual Variable loss(const std::vector<Tensor>& views) = 0;
  /// Called after the optimiser's step (EMA, queues).
  virtual void after_step(const Progress&) {}
  /// The network whose features are wanted in the end; with the projection head behind it for `--feature projection`.
  virtual nn::Encoder& encoder() = 0;
  virtual Variable project(const Variable& features) = 0;
  /// Loss of a network that knows nothing, for a batch of this size.
  virtual double chance_level(int64_t batch_size) const = 0;
  /// Numbers of the last loss() worth logging besides the loss ("feature_std", …), as tensors of one element that are
  /// read a step late.
  virtual std::map<std::string, Tensor> metrics() const = 0;
};

}  // namespace tacit::ssl
