// How much memory a run may take and will take, so that it is refused with advice instead of being killed.
#pragma once

#include <cstdint>
#include <string>

#include "ssl/train/config.h"

namespace tacit::ssl {

struct MemoryLimit {
  int64_t bytes = 0;
  std::string reason;  ///< "--memory-limit", "the cgroup's limit" or "90 % of what is available"
};
/// "6G", "512M", "1.5T", "1000000" (bytes); K = 1024. Throws UsageError naming the flag.
int64_t parse_bytes(const std::string& text);
/// As --memory-limit says; empty: the smaller of the cgroup's free memory and 90 % of what the system has available.
MemoryLimit memory_limit(const std::string& flag);
/// "1.5 GB".
std::string readable_bytes(int64_t bytes);

/// Bytes that pre-training with these settings takes beyond the data: measured on a throw-away model with two small
/// batches and extrapolated to what the encoder sees at a time (--batch-size, or --chunk-size); the views themselves
/// and a contrastive loss' similarities are added by formula.
/// image_size and channels must be resolved.
int64_t estimate_training_memory(const TrainConfig&, int64_t views);
/// Throws Error, with a batch, or chunk, that would fit, where the estimate exceeds the limit.
void check_training_memory(const TrainConfig&, int64_t views);

}  // namespace tacit::ssl
