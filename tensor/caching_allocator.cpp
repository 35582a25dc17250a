#include "tensor/caching_allocator.h"

#include <bit>

namespace tacit {

size_t CachingAllocator::size_class(size_t bytes) {
  if (bytes <= 512) return bytes <= 64 ? 64 : (bytes + 63) / 64 * 64;
  const size_t step = std::bit_floor(bytes - 1) / 8;  // eight classes between one power of two and the next
  return (bytes + step - 1) / step * step;
}

CachingAllocator::~CachingAllocator() { trim(); }

void* CachingAllocator::allocate(size_t bytes) {
  const size_t size = size_class(bytes);
  const std::lock_guard lock(mutex_);
  void* pointer = nullptr;
  if (auto found = free_.find(size); found != free_.end() && !found->second.empty()) {
    pointer = found->second.back();
    found->second.pop_back();
  } else {
    try {
      pointer = backend_.allocate(size);
    } catch (const Error&) {
      free_all_unused();
      pointer = backend_.allocate(size);
    }
    ++statistics_.system_allocations;
    statistics_.reserved_bytes += static_cast<int64_t>(size);
  }
  ++statistics_.allocations;
  statistics_.live_bytes += static_cast<int64_t>(size);
  if (statistics_.live_bytes > statistics_.peak_bytes) statistics_.peak_bytes = statistics_.live_bytes;
  return pointer;
}

void CachingAllocator::deallocate(void* pointer, size_t bytes) noexcept {
  const size_t size = size_class(bytes);
  const std::lock_guard lock(mutex_);
  statistics_.live_bytes -= static_cast<int64_t>(size);
  try {
    free_[size].push_back(pointer);
  } catch (...) {  // no memory for the list's own node: give the block back instead
    backend_.deallocate(pointer, size);
    statistics_.reserved_bytes -= static_cast<int64_t>(size);
  }
}

void CachingAllocator::trim() {
  const std::lock_guard lock(mutex_);
  free_all_unused();
}

void CachingAllocator::free_all_unused() {
  backend_.synchronize();  // kernels still running may use a block that was already handed back
  for (auto& [size, blocks] : free_) {
    for (void* block : blocks) backend_.deallocate(block, size);
    statistics_.reserved_bytes -= static_cast<int64_t>(size * blocks.size());
    blocks.clear();
  }
}

MemoryStatistics CachingAllocator::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  statistics_.peak_bytes = statistics_.live_bytes;
}

}  // namespace tacit
