// Pre-training from a complete configuration: data, method, loop and run directory put together.
#pragma once

#include <functional>
#include <string>

#include "ssl/train/resolve.h"
#include "ssl/train/trainer.h"

namespace tacit::ssl {

/// What a display needs to know of a run before its first step.
struct RunPlan {
  int64_t done = 0;                                    ///< steps made before
  int64_t last = 0;                                    ///< this process stops there
  int64_t steps = 0, steps_per_epoch = 0, epochs = 0;  ///< of the whole schedule
  Chance chance;                                       ///< of a network that knows nothing
};
/// Who is told of a run as it goes.
struct PretrainObserver {
  std::function<void(const std::string& line)> say = [](const std::string&) {};
  std::function<void(const RunPlan&)> begin = [](const RunPlan&) {};
  std::function<void(const StepRecord&)> step = [](const StepRecord&) {};
};
struct PretrainResult {
  StopReason reason = StopReason::Finished;
  int64_t step = 0, steps = 0;  ///< made in all; of the whole schedule
  StepRecord last;              ///< of this process; step 0 when it made none
};

/// Trains `config` (resolved: image_size and channels set) on `source` into the run directory config.out. With
/// config.resume and a checkpoint it goes on from there, without one it begins. SIGINT and SIGTERM end it after a step,
/// saved. Throws UsageError or Error; what was saved before stays.
PretrainResult pretrain(const TrainConfig& config, const ImageSourcePtr& source, const PretrainObserver& observer = {});

}  // namespace tacit::ssl
