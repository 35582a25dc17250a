// How much memory a run may take and will take, so that it is refused with advice instead of being killed.
#pragma once

#include <cstdint>
#include <string>

#include "ssl/evaluate/features.h"
#include "ssl/train/config.h"

namespace tacit::ssl {

/// How much a run may take, and who says so.
struct MemoryLimit {
  int64_t bytes = 0;
  std::string reason;  ///< "--memory-limit", "free under the cgroup's limit", "90 % of what is available", …
};
/// "6G", "512M", "1.5T", "1000000" (bytes); K = 1024. Throws UsageError naming the flag.
int64_t parse_bytes(const std::string& text);
/// As --memory-limit says; empty: the smaller of the cgroup's free memory and 90 % of what the system has available; on
/// a device with memory of its own, 90 % of what is free there.
MemoryLimit memory_limit(const std::string& flag);
/// Bounds the tensors of this process by it, on a device with memory of its own there; main memory is then bounded by
/// its default.
void apply_memory_limit(const std::string& flag);

/// Bytes that pre-training with these settings takes for its tensors, blocks kept for reuse included: whole steps of
/// the method, measured on a throw-away model with few images and extended to what the encoder sees at a time
/// (--batch-size, or --chunk-size), the loader's batches, and similarities of all views by formula. With an evaluation
/// of so many images on the way (0: none) the larger of the two. image_size and channels must be resolved.
int64_t estimate_training_memory(const TrainConfig&, int64_t evaluation_images = 0);
/// What a check found.
struct MemoryFound {
  std::string said;  ///< "about 1.2 GB; the limit is 9 GB (90 % of what is available)"
  int64_t left = 0;  ///< bytes of the limit that training leaves
};
/// Throws Error, with a batch, or chunk, that would fit, where the estimate and what a process takes beside tensors
/// exceed the limit. The measurement itself stays below it.
MemoryFound check_training_memory(const TrainConfig&, int64_t evaluation_images = 0);
/// Throws Error where a batch of plain views through the encoder and so many feature values (f32, with copies in work)
/// would exceed the limit of --memory-limit `flag`; `remedy` says what to use instead.
void check_features_memory(nn::Encoder&, const PlainViews&, int64_t values, const std::string& flag,
                           const std::string& remedy = "--limit for fewer training images");

}  // namespace tacit::ssl
