#include "tensor/caching_allocator.h"

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdio>

#include "tensor/memory_limit.h"

namespace tacit {

namespace {

std::atomic<int64_t> memory_limit{INT64_MAX}, reserved{0};  // of all allocators in main memory

}  // namespace

std::string readable_bytes(int64_t bytes) {
  const double value = static_cast<double>(bytes);
  char text[40];
  if (bytes >= int64_t{1} << 30)
    std::snprintf(text, sizeof text, "%.1f GiB", value / (1 << 30));
  else
    std::snprintf(text, sizeof text, "%.0f MiB", std::ceil(value / (1 << 20)));
  return text;
}

void set_memory_limit(int64_t bytes) { memory_limit = bytes; }
int64_t reserved_memory() { return reserved; }

MemoryLimitScope::MemoryLimitScope(int64_t more) : before_(memory_limit) {
  const int64_t held = reserved;
  if (more < before_ - held) set_memory_limit(held + more);
}

size_t CachingAllocator::size_class(size_t bytes) {
  if (bytes <= 512) return bytes <= 64 ? 64 : (bytes + 63) / 64 * 64;
  const size_t step = std::bit_floor(bytes - 1) / 8;  // eight classes between one power of two and the next
  return (bytes + step - 1) / step * step;
}

CachingAllocator::CachingAllocator(Backend& backend)
    : backend_(backend), in_main_memory_(backend.available_memory() == 0), joins_from_(backend.joins_from()) {}

CachingAllocator::~CachingAllocator() { trim(); }

size_t CachingAllocator::rounded(size_t bytes) const {
  constexpr size_t kStep = Backend::kJoinStep;
  return joins(bytes) ? (bytes + kStep - 1) / kStep * kStep : size_class(bytes);
}

void* CachingAllocator::take_from_free(size_t size) {
  if (joins(size)) return large_.take(size);  // there is no pool then
  Blocks& free = pooled() ? pool_->free : free_;
  const auto found = free.find(size);
  if (found == free.end() || found->second.empty()) return nullptr;
  void* const block = found->second.back();
  found->second.pop_back();
  return block;
}

void* CachingAllocator::take_from_backend(size_t size) {
  const auto more = static_cast<int64_t>(size);
  if (more > left()) free_all_unused();
  if (more > left())
    throw MemoryLimitError("[memory] a tensor of " + readable_bytes(more) + " would pass the limit of " +
                           readable_bytes(in_main_memory_ ? memory_limit.load() : limit_) +
                           " for all tensors (--memory-limit); use a smaller --batch-size, " +
                           "--image-size or --limit");
  void* block = nullptr;
  try {
    block = backend_.allocate(size);
  } catch (const Error&) {
    free_all_unused();
    block = backend_.allocate(size);
  }
  ++statistics_.system_allocations;
  count(more);
  return block;
}

void* CachingAllocator::allocate(size_t bytes) {
  const size_t size = rounded(bytes);
  const std::lock_guard lock(mutex_);
  void* block = take_from_free(size);
  if (block == nullptr) {
    TACIT_CHECK(!pooled() || !pool_->sealed, "[memory] a captured step asks for a tensor of ", bytes,
                " bytes that the steps before it did not need");
    block = take_from_backend(size);
    if (pooled()) pool_->all.insert(block);
  }
  ++statistics_.allocations;
  statistics_.live_bytes += static_cast<int64_t>(size);
  if (statistics_.live_bytes > statistics_.peak_bytes) statistics_.peak_bytes = statistics_.live_bytes;
  return block;
}

void CachingAllocator::deallocate(void* pointer, size_t bytes) noexcept {
  const size_t size = rounded(bytes);
  const std::lock_guard lock(mutex_);
  statistics_.live_bytes -= static_cast<int64_t>(size);
  try {
    if (pool_ && pool_->all.count(pointer) > 0)
      pool_->free[size].push_back(pointer);
    else if (joins(size))
      large_.give(pointer, size);
    else
      free_[size].push_back(pointer);
  } catch (...) {  // no memory for the list's own node: give the block back instead
    joins(size) ? backend_.deallocate_joined(pointer, size) : backend_.deallocate(pointer, size);
    count(-static_cast<int64_t>(size));
  }
}

void CachingAllocator::open_pool() {
  const std::lock_guard lock(mutex_);
  TACIT_CHECK(!pool_ && joins_from_ == SIZE_MAX, "[memory] there is a pool already, or blocks that join");
  pool_ = Pool{{}, {}, {}, false};  // (clang 14 does not see that Pool() exists while its class is incomplete)
}
void CachingAllocator::seal_pool() {
  const std::lock_guard lock(mutex_);
  pool_->sealed = true;
}
void CachingAllocator::close_pool() noexcept {
  const std::lock_guard lock(mutex_);
  if (!pool_) return;
  for (auto& [size, blocks] : pool_->free) {
    auto& free = free_[size];
    free.insert(free.end(), blocks.begin(), blocks.end());
  }
  pool_.reset();
}

PoolScope::PoolScope(CachingAllocator& allocator) : allocator_(allocator) {
  const std::lock_guard lock(allocator_.mutex_);
  allocator_.pool_->serves = std::this_thread::get_id();
}
PoolScope::~PoolScope() {
  const std::lock_guard lock(allocator_.mutex_);
  allocator_.pool_->serves = std::thread::id();
}

void CachingAllocator::count(int64_t bytes) {
  statistics_.reserved_bytes += bytes;
  if (in_main_memory_) reserved += bytes;
}

int64_t CachingAllocator::left() const {
  return in_main_memory_ ? memory_limit - reserved : limit_ - statistics_.reserved_bytes;
}

void CachingAllocator::set_limit(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  limit_ = bytes;
}

void CachingAllocator::trim() {
  const std::lock_guard lock(mutex_);
  free_all_unused();
}

void CachingAllocator::free_all_unused() {
  backend_.synchronize();  // kernels still running may use a block that was already handed back
  for (auto& [size, blocks] : free_) {
    for (void* block : blocks) backend_.deallocate(block, size);
    count(-static_cast<int64_t>(size * blocks.size()));
    blocks.clear();
  }
  large_.empty([this](void* block, size_t size) {
    backend_.deallocate_joined(block, size);
    count(-static_cast<int64_t>(size));
  });
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
