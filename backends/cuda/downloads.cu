#include "backends/cuda/downloads.h"

#include <utility>

#include "backends/cuda/launch.h"

namespace tacit::cuda {

class Downloads::Late final : public Download {
 public:
  Late(Downloads& owner, std::function<void(cudaEvent_t)> wait, std::function<void(const Fault&)> found)
      : owner_(owner), slot_(owner.take()), wait_(std::move(wait)), found_(std::move(found)) {}
  ~Late() override { owner_.give(slot_); }

  const char* bytes() override {
    if (wait_) {
      std::exchange(wait_, nullptr)(slot_.event);
      found_(*reinterpret_cast<const Fault*>(slot_.memory));
    }
    return slot_.memory + sizeof(Fault);
  }
  void copy(size_t at, const void* from, size_t bytes, cudaStream_t stream) {
    check(cudaMemcpyAsync(slot_.memory + at, from, bytes, cudaMemcpyDeviceToHost, stream), "download");
  }
  void copied(cudaStream_t stream) { check(cudaEventRecord(slot_.event, stream), "download"); }

 private:
  Downloads& owner_;
  Slot slot_;
  std::function<void(cudaEvent_t)> wait_;
  std::function<void(const Fault&)> found_;
};

Downloads::~Downloads() {
  for (const Slot& slot : all_) {
    cudaFreeHost(slot.memory);
    cudaEventDestroy(slot.event);
  }
}

Downloads::Slot Downloads::take() {
  const std::lock_guard lock(mutex_);
  if (spare_.empty()) {
    void* memory = nullptr;
    Slot slot;
    check(cudaMallocHost(&memory, sizeof(Fault) + kBytes), "page-locked memory");
    slot.memory = static_cast<char*>(memory);
    check(cudaEventCreateWithFlags(&slot.event, cudaEventDisableTiming), "event");
    all_.push_back(slot);
    return slot;
  }
  const Slot slot = spare_.back();
  spare_.pop_back();
  return slot;
}

void Downloads::give(const Slot& slot) {
  const std::lock_guard lock(mutex_);
  spare_.push_back(slot);
}

std::unique_ptr<Download> Downloads::start(std::span<const View> views, const Fault* fault, cudaStream_t stream,
                                           std::function<void(cudaEvent_t)> wait,
                                           std::function<void(const Fault&)> found) {
  auto late = std::make_unique<Late>(*this, std::move(wait), std::move(found));
  late->copy(0, fault, sizeof *fault, stream);
  size_t at = sizeof(Fault);
  for (const View& view : views) {
    const size_t bytes = static_cast<size_t>(view.numel()) * size_of(view.dtype);
    TACIT_CHECK(at + bytes <= sizeof(Fault) + kBytes, "[cuda] a late download has at most ", kBytes, " bytes");
    late->copy(at, view.data, bytes, stream);
    at += bytes;
  }
  late->copied(stream);
  return late;
}

}  // namespace tacit::cuda
