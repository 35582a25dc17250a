// Free memory over a backend's allocate/deallocate: a step asks for the sizes of the step before, and gets its buffers.
// Small blocks wait in lists by size; large ones, where the backend allows it, are cut and join again, so that the
// activations of one layer become the gradients of another. The rule: memory goes back to the system only when an
// allocation fails or on trim(); in the steady state system_allocations() stands still. Immediate reuse is safe because
// every backend runs its kernels in order.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tensor/backend.h"
#include "tensor/free_blocks.h"

namespace tacit {

/// What an allocator has handed out.
struct MemoryStatistics {
  int64_t live_bytes = 0;          ///< handed out now, rounded up to size classes
  int64_t peak_bytes = 0;          ///< the largest live_bytes since reset_peak()
  int64_t reserved_bytes = 0;      ///< taken from the backend and not given back
  int64_t allocations = 0;         ///< calls of allocate()
  int64_t system_allocations = 0;  ///< those that had to ask the backend
};

/// Thread-safe. Sizes are rounded up to classes (at most 1/8 above the request), each with its own free list; those
/// from backend.joins_from() on to its kJoinStep.
class CachingAllocator {
 public:
  explicit CachingAllocator(Backend&);
  ~CachingAllocator();
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  /// Never null, also for 0 bytes. Throws Error naming the size when the backend has no more, even after trim().
  void* allocate(size_t bytes);
  void deallocate(void* pointer, size_t bytes) noexcept;
  /// Gives every unused block back to the backend.
  void trim();

  /// Blocks kept apart, for steps that are captured: what a graph works on must not be handed to anyone else. While a
  /// PoolScope lives, its thread's requests are served from the pool, which grows until seal_pool(); after that a
  /// request that it has no block for is an Error. Blocks of the pool come back to it whenever they are freed.
  /// close_pool() makes them ordinary ones. One pool at a time.
  void open_pool();
  void seal_pool();
  void close_pool() noexcept;

  /// The most that this allocator may hold on a device with memory of its own; what lies in main memory is bounded by
  /// set_memory_limit() for all allocators together.
  void set_limit(int64_t bytes);
  MemoryStatistics statistics() const;
  void reset_peak();

  /// What a request below joins_from() is rounded up to: a multiple of 64 bytes, eight classes per power of two.
  static size_t size_class(size_t bytes);

 private:
  bool joins(size_t bytes) const { return bytes >= joins_from_; }
  size_t rounded(size_t bytes) const;
  friend class PoolScope;
  using Blocks = std::unordered_map<size_t, std::vector<void*>>;  // by size class
  struct Pool {
    Blocks free;
    std::unordered_set<void*> all;
    std::thread::id serves;  // none: nobody
    bool sealed = false;
  };
  // With the lock held:
  bool pooled() const { return pool_ && pool_->serves == std::this_thread::get_id(); }
  void* take_from_free(size_t size);
  void* take_from_backend(size_t size);
  void free_all_unused();
  void count(int64_t bytes);
  int64_t left() const;

  Backend& backend_;
  const bool in_main_memory_;
  const size_t joins_from_;
  int64_t limit_ = INT64_MAX;
  mutable std::mutex mutex_;
  Blocks free_;
  FreeBlocks large_;  // those that join
  std::optional<Pool> pool_;
  MemoryStatistics statistics_;
};

/// Serves its thread's requests from an allocator's pool while it lives; one at a time.
class PoolScope {
 public:
  explicit PoolScope(CachingAllocator&);
  ~PoolScope();
  PoolScope(const PoolScope&) = delete;
  PoolScope& operator=(const PoolScope&) = delete;

 private:
  CachingAllocator& allocator_;
};

}  // namespace tacit
