#include "backends/cuda/uploads.h"

#include <algorithm>
#include <cstring>

#include "backends/cuda/launch.h"

namespace tacit::cuda {

Uploads::Uploads() = default;

Uploads::~Uploads() {
  for (const cudaEvent_t event : events_) spare_.push_back(event);
  for (const cudaEvent_t event : spare_) cudaEventDestroy(event);
  if (memory_ != nullptr) cudaFreeHost(memory_);
}

cudaEvent_t Uploads::spare_event() {
  cudaEvent_t event = nullptr;
  if (spare_.empty()) {
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event");
  } else {
    event = spare_.back();
    spare_.pop_back();
  }
  return event;
}

void* Uploads::piece(size_t bytes, cudaEvent_t event) {
  for (;;) {
    if (const auto at = ring_.take(bytes)) {
      events_.push_back(event);
      return memory_ + *at;
    }
    check(cudaEventSynchronize(events_.front()), "upload");
    spare_.push_back(events_.front());
    events_.pop_front();
    ring_.release();
  }
}

void Uploads::copy(void* dst, const void* host, size_t bytes, cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  if (memory_ == nullptr) {
    void* memory = nullptr;
    check(cudaMallocHost(&memory, kRingBytes), "page-locked memory");
    memory_ = static_cast<char*>(memory);
  }
  for (size_t done = 0; done < bytes;) {
    const size_t size = std::min(kPiece, bytes - done);
    const cudaEvent_t event = spare_event();
    void* const from = piece(size, event);
    std::memcpy(from, static_cast<const char*>(host) + done, size);
    check(cudaMemcpyAsync(static_cast<char*>(dst) + done, from, size, cudaMemcpyHostToDevice, stream), "upload");
    check(cudaEventRecord(event, stream), "upload");
    done += size;
  }
}

}  // namespace tacit::cuda
