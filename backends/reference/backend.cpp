#include "backends/reference/backend.h"

#include <cstdlib>
#include <cstring>

namespace tacit::reference {

void* ReferenceBackend::allocate(size_t bytes) {
  constexpr size_t kAlignment = 64;
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;  // aligned_alloc wants a multiple
  void* const pointer = rounded < bytes ? nullptr : std::aligned_alloc(kAlignment, rounded == 0 ? kAlignment : rounded);
  TACIT_CHECK(pointer, "[reference] no memory for ", bytes, " bytes");
  return pointer;
}

void ReferenceBackend::deallocate(void* pointer, size_t) noexcept { std::free(pointer); }

void ReferenceBackend::upload(void* dst, const void* host, size_t bytes) { std::memcpy(dst, host, bytes); }

void ReferenceBackend::download(void* host, const void* src, size_t bytes) { std::memcpy(host, src, bytes); }

}  // namespace tacit::reference
