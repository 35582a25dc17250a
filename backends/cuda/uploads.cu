#include "backends/cuda/uploads.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "backends/cuda/launch.h"

namespace tacit::cuda {

Events::~Events() {
  for (const cudaEvent_t event : all_) cudaEventDestroy(event);
}

cudaEvent_t Events::take() {
  if (spare_.empty()) {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event");
    all_.push_back(event);
    return event;
  }
  const cudaEvent_t event = spare_.back();
  spare_.pop_back();
  return event;
}

size_t EventRing::take(size_t bytes, const std::function<void(cudaEvent_t)>& wait) {
  for (;;) {
    if (const auto at = ring_.take(bytes)) return *at;
    wait(behind_.front());
    events_.give(behind_.front());
    behind_.pop_front();
    ring_.release();
  }
}

cudaEvent_t EventRing::in_use(cudaStream_t stream) {
  behind_.push_back(events_.take());
  check(cudaEventRecord(behind_.back(), stream), "upload");
  return behind_.back();
}

Constants::Constants() {
  void* memory = nullptr;
  check(cudaMallocHost(&memory, kBytes), "page-locked memory");
  memory_ = static_cast<char*>(memory);
}

Constants::~Constants() { cudaFreeHost(memory_); }

const void* Constants::keep(const void* host, size_t bytes) {
  constexpr size_t kAlign = 256;
  TACIT_CHECK(bytes <= kBytes - used_, "[cuda] a step that is captured as a graph uploads more than ", kBytes,
              " bytes");
  char* const at = memory_ + used_;
  std::memcpy(at, host, bytes);
  used_ = std::min(kBytes, (used_ + bytes + kAlign - 1) / kAlign * kAlign);
  return at;
}

Uploads::~Uploads() {
  if (copies_ != nullptr) cudaStreamSynchronize(copies_), cudaStreamDestroy(copies_);
  cudaFree(staging_);
  for (const Locked* const locked : {&small_, &large_})
    if (locked->memory != nullptr) cudaFreeHost(locked->memory);
}

const void* Uploads::Locked::keep(const char* host, size_t size, const std::function<void(cudaEvent_t)>& wait) {
  if (memory == nullptr) {
    void* block = nullptr;
    check(cudaMallocHost(&block, bytes), "page-locked memory");
    memory = static_cast<char*>(block);
  }
  char* const at = memory + ring.take(size, wait);
  std::memcpy(at, host, size);
  return at;
}

// Of four times the largest copy: two views of two steps.
bool Uploads::make_staging(size_t bytes) {
  const size_t size = std::clamp(std::bit_ceil(4 * bytes), kLeastStaging, kMostStaging);
  if (no_staging_ || size <= staging_bytes_) return !no_staging_;
  if (copies_ == nullptr) check(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking), "copy stream");
  staged_.reset();
  check(cudaFree(staging_), "staging memory");  // waits for all that still reads it
  void* block = nullptr;
  no_staging_ = cudaMalloc(&block, size) != cudaSuccess;
  if (no_staging_) cudaGetLastError();
  staging_ = static_cast<char*>(block);
  staging_bytes_ = no_staging_ ? 0 : size;
  staged_.emplace(events_, staging_bytes_);
  return !no_staging_;
}

void Uploads::copy(void* dst, const void* host, size_t bytes, cudaStream_t compute,
                   const std::function<void(cudaEvent_t)>& wait) {
  const std::lock_guard lock(mutex_);
  if (constants_ != nullptr) {
    check(cudaMemcpyAsync(dst, constants_->keep(host, bytes), bytes, cudaMemcpyHostToDevice, compute), "upload");
    return;
  }
  const bool aside = bytes >= kLarge && make_staging(bytes);
  Locked& locked = bytes >= kLarge ? large_ : small_;
  for (size_t done = 0; done < bytes;) {
    const size_t size = std::min(kPiece, bytes - done);
    char* const to = static_cast<char*>(dst) + done;
    const void* const from = locked.keep(static_cast<const char*>(host) + done, size, wait);
    if (aside) {
      char* const staged = staging_ + staged_->take(size, [this](cudaEvent_t event) {
        check(cudaStreamWaitEvent(copies_, event, 0), "upload");
      });
      check(cudaMemcpyAsync(staged, from, size, cudaMemcpyHostToDevice, copies_), "upload");
      check(cudaStreamWaitEvent(compute, locked.ring.in_use(copies_), 0), "upload");
      check(cudaMemcpyAsync(to, staged, size, cudaMemcpyDeviceToDevice, compute), "upload");
      staged_->in_use(compute);
    } else {
      check(cudaMemcpyAsync(to, from, size, cudaMemcpyHostToDevice, compute), "upload");
      locked.ring.in_use(compute);
    }
    done += size;
  }
}

}  // namespace tacit::cuda
