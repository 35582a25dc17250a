// The one training loop, for every method, for fine-tuning and for supervised baselines.
// The rule: it knows a loss, an optimiser and callbacks; it knows nothing of methods, files or terminals.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "optim/optimizer.h"
#include "ssl/data/loader.h"
#include "ssl/methods/method.h"

namespace tacit::ssl {

/// What one optimiser step was. Steps and epochs count from 1.
struct StepRecord {
  int64_t step = 0, epoch = 0;
  bool epoch_end = false;  ///< the last step of its epoch
  bool current = true;     ///< the model is as this step left it; false: the next step has begun (Training::late)
  double loss = 0, lr = 0;
  double mean_loss = 0;                   ///< of this epoch's steps so far, of those in this process
  int64_t mean_steps = 0;                 ///< so many
  std::map<std::string, double> metrics;  ///< of the method, and what callbacks add
  // What follows is timing and differs from run to run.
  double seconds = 0;  ///< of this step, waiting for data included
  double waited = 0;   ///< seconds of it that the loader was waited for
  int64_t images = 0;  ///< source images, not views
};

/// Why a training ended.
enum class StopReason : uint8_t { Finished, Interrupted };

/// What the loop is given.
struct Training {
  std::function<Batch()> next;                                  ///< batches in order, from `done` on
  std::function<Variable(const Batch&, const Progress&)> loss;  ///< records a graph
  std::function<void(const Progress&)> after_step;              ///< optional; after the optimiser's step
  std::function<std::map<std::string, Tensor>()> metrics;       ///< optional; of the last loss
  std::function<double(int64_t step)> lr;                       ///< for step 0, 1, …
  optim::Optimizer* optimizer = nullptr;
  int64_t done = 0;                          ///< steps made before (a resume)
  int64_t last = 0;                          ///< stop when this many are done in all
  int64_t steps = 1, steps_per_epoch = 1;    ///< of the whole schedule
  std::function<std::string()> remedy;       ///< optional; what the error of a loss that is not finite advises
  double clip = 0;                           ///< largest gradient norm; 0: none
  std::function<void(StepRecord&)> on_step;  ///< optional; evaluate, log, save
  std::function<bool()> stop;                ///< optional; asked after each step
  /// For devices that compute while the host goes on: a step's figures are read when the next step is on its way, so
  /// that the device never waits for the host. Steps that `needs_model` names (the last one, and one after which `stop`
  /// says so, besides) are read at once, since their on_step looks at the model.
  bool late = false;
  std::function<bool(const StepRecord&)> needs_model;
  /// Steps are captured as a graph and repeated (captured_step.h); needs `late`.
  bool graph = false;
};

/// Runs steps `done` … `last`-1: lr, forward, loss check, backward, clip, optimiser, after_step, on_step. A loss that
/// is not finite throws Error naming the step: before the step changes a weight or, with `late`, before any on_step
/// sees the changed ones. A batch that cannot be read throws after the on_step of the steps before it.
StopReason train(Training&);

}  // namespace tacit::ssl
