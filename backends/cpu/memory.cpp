#include "backends/cpu/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "tensor/error.h"

namespace tacit::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kAddressSpace = size_t{1} << 47;
constexpr size_t kSmallest = size_t{64} << 10;

// Four sizes between a power of two and the next.
struct SizeClass {
  explicit SizeClass(size_t wanted) {
    wanted = std::max(wanted, kSmallest);
    const int power = std::bit_width(wanted - 1) - 1;
    const size_t quarter = size_t{1} << (power - 2);
    bytes = (wanted + quarter - 1) / quarter * quarter;
    index = power * 4 + static_cast<int>(bytes / quarter) - 5;
  }
  size_t bytes;
  int index;
};

// Free blocks by their size. Never destroyed: kernels may still run while the process ends.
struct Pool {
  std::mutex mutex;
  std::array<std::vector<void*>, 256> free;
  int64_t bytes = 0;
};
Pool& pool() {
  static Pool& pool = *new Pool;
  return pool;
}

}  // namespace

void* map_pages(size_t bytes) {
  // Where the next pages are asked for: at first the start of a gap so wide that nothing else will lie in the way.
  static std::atomic<char*> next = [] {
    constexpr size_t kGap = size_t{1} << 40;
    void* const gap = mmap(nullptr, kGap, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (gap == MAP_FAILED) return static_cast<char*>(nullptr);
    munmap(gap, kGap);
    return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(gap) + kHugePage - 1) / kHugePage * kHugePage);
  }();
  void* const pages = bytes >= kAddressSpace
                          ? MAP_FAILED
                          : mmap(next.load(), bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TACIT_CHECK(pages != MAP_FAILED, "[cpu] out of memory: ", bytes, " bytes were asked for; use a smaller batch");
  next = static_cast<char*>(pages) + bytes;
  madvise(pages, bytes, MADV_HUGEPAGE);  // best effort
  return pages;
}

void unmap_pages(void* pages, size_t bytes) noexcept { munmap(pages, bytes); }

void* system_allocate(size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  TACIT_CHECK(bytes < kAddressSpace, "[cpu] out of memory: ", bytes, " bytes were asked for; check the shapes");
  const size_t rounded = std::max<size_t>((bytes + 63) / 64 * 64, 64);
  void* data = nullptr;
  TACIT_CHECK(posix_memalign(&data, alignment, rounded) == 0, "[cpu] out of memory: ", bytes,
              " bytes were asked for; use a smaller batch");
  // Best effort: without huge pages the memory is slower to touch the first time, but the same. Whole pages only: the
  // rest of the last one would be taken from the system too.
  if (alignment == kHugePage) madvise(data, rounded / kHugePage * kHugePage, MADV_HUGEPAGE);
  return data;
}

void system_free(void* data) noexcept { std::free(data); }

Scratch::Scratch(size_t bytes) : size_class_(0), data_(nullptr) {
  if (bytes == 0) return;
  const SizeClass size(bytes);
  size_class_ = size.index;
  {
    const std::lock_guard lock(pool().mutex);
    auto& free = pool().free[size_class_];
    if (!free.empty()) {
      data_ = free.back();
      free.pop_back();
      return;
    }
    free.reserve(64);
  }
  data_ = system_allocate(size.bytes);
  const std::lock_guard lock(pool().mutex);
  pool().bytes += static_cast<int64_t>(size.bytes);
}

int64_t scratch_bytes() {
  const std::lock_guard lock(pool().mutex);
  return pool().bytes;
}

Scratch::~Scratch() {
  if (data_ == nullptr) return;
  const std::lock_guard lock(pool().mutex);
  pool().free[size_class_].push_back(data_);
}

}  // namespace tacit::cpu
