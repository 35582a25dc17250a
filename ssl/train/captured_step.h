// CapturedStep: training steps of which the first few are made as usual, the next is captured as a graph, and the rest
// are repetitions of that, which the host begins with one call (--cuda-graph).
// The rule: batches have one shape; what changes from step to step comes by step_input() (tensor/step_input.h); the
// tensors of a step lie in a pool of the allocator that nobody else is served from.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "ssl/data/loader.h"
#include "ssl/methods/method.h"
#include "tensor/step_input.h"

namespace tacit::ssl {

/// What one step is for those who look on: the loss and the figures that were asked for, one number each.
using StepFigures = std::vector<Tensor>;

class CapturedStep {
 public:
  /// `step` makes one whole step, host's numbers aside.
  explicit CapturedStep(std::function<StepFigures(const Batch&, const Progress&)> step);
  ~CapturedStep();
  CapturedStep(const CapturedStep&) = delete;
  CapturedStep& operator=(const CapturedStep&) = delete;

  /// Makes the next step. The figures hold until the one after it. Throws Error where a batch has another shape, or
  /// where the step cannot be captured.
  const StepFigures& operator()(const Batch&, const Progress&);

  static constexpr int kWarmUp = 3;  ///< steps after which memory and plans are what every later one finds

 private:
  void take(const Batch&);

  std::function<StepFigures(const Batch&, const Progress&)> step_;
  CachingAllocator& allocator_;
  int done_ = 0;
  Batch batch_;  // where every batch is copied to
  StepInputs inputs_;
  StepFigures figures_;
  std::unique_ptr<Graph> graph_;
};

}  // namespace tacit::ssl
