// Copies from the host that nobody waits for: the bytes go to a ring of page-locked memory first, and from there to the
// device in stream order, while the host goes on.
// The rule: a part of the ring is used again when the event behind its copy has passed; only a full ring makes the host
// wait.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

#include "backends/cuda/ring.h"

namespace tacit::cuda {

class Uploads {
 public:
  static constexpr size_t kRingBytes = size_t{64} << 20;  ///< two batches of 512 x 2 views of 32 px, and some
  static constexpr size_t kPiece = size_t{4} << 20;  ///< larger copies go in pieces: one is sent while the next fills

  Uploads();
  ~Uploads();
  Uploads(const Uploads&) = delete;
  Uploads& operator=(const Uploads&) = delete;

  /// Returns when `host` may be changed.
  void copy(void* dst, const void* host, size_t bytes, cudaStream_t stream);

 private:
  cudaEvent_t spare_event();
  /// Room in the ring, waited for if need be; `event` will be behind the copy from it.
  void* piece(size_t bytes, cudaEvent_t event);

  std::mutex mutex_;
  char* memory_ = nullptr;  ///< kRingBytes of page-locked memory, taken at the first copy
  Ring ring_{kRingBytes};
  std::deque<cudaEvent_t> events_;  ///< behind the copies of the ring's parts, oldest first
  std::vector<cudaEvent_t> spare_;
};

}  // namespace tacit::cuda
