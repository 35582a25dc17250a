// Checkpoints: one safetensors file with everything that the future of a run depends on, and nothing else: no thread
// count, no time, no path. Tensors are "model.<name>" and "optim.<name>"; the rest is metadata.
// The rule: a checkpoint alone suffices to rebuild the model; two runs with the same numbers write the same bytes.
#pragma once

#include <string>
#include <vector>

#include "nn/module.h"
#include "ssl/train/config.h"

namespace tacit::ssl {

/// Written by this version; a file with a higher one is refused.
inline constexpr int64_t kCheckpointFormat = 1;

/// What a checkpoint says beside its tensors.
struct CheckpointInfo {
  TrainConfig config;  ///< what changes numbers; data, paths and device are not in a checkpoint
  int64_t step = 0;    ///< optimiser steps done
  int64_t steps_per_epoch = 1;
  int64_t images = 0;                                          ///< in the training data
  std::string fingerprint;                                     ///< data_fingerprint() of it; "": of an older run
  std::vector<int64_t> damaged;                                ///< indices of images met that could not be read
  std::vector<float> mean, std;                                ///< of the views, per channel
  int64_t epoch() const { return step / steps_per_epoch; }     ///< epochs done
  int64_t position() const { return step % steps_per_epoch; }  ///< batches done of the next one
};

struct Checkpoint {
  CheckpointInfo info;
  nn::StateDict model, optimizer;
};

/// Atomic: on any failure the file that was there stays. Throws Error when a weight is not finite, or for no space.
void save_checkpoint(const std::string& path, const Checkpoint&);
/// Throws Error naming the file: not a checkpoint, damaged (tensor data has a checksum), or of a newer format (naming
/// both versions).
Checkpoint load_checkpoint(const std::string& path);
/// The same without the tensors.
CheckpointInfo load_checkpoint_info(const std::string& path);

/// RUN may be a run directory or a checkpoint file: the checkpoint's path. Throws Error when there is none.
std::string checkpoint_path(const std::string& run);

/// Throws Error, naming the file and the tensor, for NaN and infinity. Loading a checkpoint checks its weights so.
void check_finite(const std::string& file, const nn::StateDict&);

}  // namespace tacit::ssl
