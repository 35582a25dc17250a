// Memory from the system, and scratch memory for kernels. Page faults are dear, so large blocks use huge pages and
// scratch blocks are kept: a kernel that runs again with the same shapes takes nothing from the system.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tacit::cpu {

/// Blocks of at least this are better taken as pages of their own. With AddressSanitizer none is: it watches the heap.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr size_t kPagesFrom = SIZE_MAX;
#elif defined(__has_feature)
inline constexpr size_t kPagesFrom = __has_feature(address_sanitizer) ? SIZE_MAX : size_t{1} << 20;
#else
inline constexpr size_t kPagesFrom = size_t{1} << 20;
#endif
/// Whole pages, huge where the system has them, behind those of the last call if the addresses are free. Any multiple
/// of a page may be given back. Error when there are none.
void* map_pages(size_t bytes);
void unmap_pages(void*, size_t bytes) noexcept;

/// At least `bytes` bytes, aligned to 64; from 2 MiB on to 2 MiB, and backed by huge pages where the system has them.
/// Error when there are none.
void* system_allocate(size_t bytes);
void system_free(void*) noexcept;

/// A block of scratch memory, aligned to 64, lent from a pool of the process for the life of this object; null for 0
/// bytes. Any thread may hold any number.
class Scratch {
 public:
  explicit Scratch(size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  int size_class_;
  void* data_;
};

/// All that scratch blocks have taken from the system so far, lent or not.
int64_t scratch_bytes();

}  // namespace tacit::cpu
