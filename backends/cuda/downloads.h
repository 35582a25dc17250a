// Small copies to the host that it waits for later: into slots of page-locked memory, each with the event behind its
// copy. The rule: a slot is used again when its Download is gone; the stream keeps the order of the copies into it.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "backends/cuda/faults.h"
#include "tensor/backend.h"

namespace tacit::cuda {

class Downloads {
 public:
  static constexpr size_t kBytes = 4096;  ///< of one download

  Downloads() = default;
  ~Downloads();
  Downloads(const Downloads&) = delete;
  Downloads& operator=(const Downloads&) = delete;

  /// Copies the views and the device's fault. `wait(event)` is how the host waits, `found(fault)` is then told of that.
  std::unique_ptr<Download> start(std::span<const View> views, const Fault* fault, cudaStream_t stream,
                                  std::function<void(cudaEvent_t)> wait, std::function<void(const Fault&)> found);

 private:
  struct Slot {
    char* memory = nullptr;  ///< a Fault, then kBytes
    cudaEvent_t event = nullptr;
  };
  class Late;
  Slot take();
  void give(const Slot&);

  std::mutex mutex_;
  std::vector<Slot> all_, spare_;
};

}  // namespace tacit::cuda
