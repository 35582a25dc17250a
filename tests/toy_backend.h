// A backend of the five required functions and nothing else: every kernel is staged through the reference backend.
// Its pointers mean nothing to the host (they are shifted), so reading one outside the backend crashes.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>

#include "tensor/backend.h"

namespace tacit::testing {

class ToyBackend final : public Backend {
 public:
  const char* name() const override { return "toy"; }
  void* allocate(size_t bytes) override {
    void* const memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    TACIT_CHECK(memory != nullptr, "[toy] out of memory: ", bytes, " bytes");
    blocks_.insert(memory);
    return shifted(memory, kShift);
  }
  void deallocate(void* pointer, size_t) noexcept override {
    void* const memory = shifted(pointer, 0 - kShift);
    blocks_.erase(memory);
    std::free(memory);
  }
  void upload(void* dst, const void* host, size_t bytes) override {
    std::memcpy(shifted(dst, 0 - kShift), host, bytes);
  }
  void download(void* host, const void* src, size_t bytes) override {
    std::memcpy(host, shifted(const_cast<void*>(src), 0 - kShift), bytes);
  }

 private:
  static constexpr uintptr_t kShift = uintptr_t{1} << (8 * sizeof(void*) - 8);
  static void* shifted(void* pointer, uintptr_t by) {
    return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(pointer) + by);
  }

  std::set<void*> blocks_;  // unshifted: leak checkers do not recognise the others
};

/// Makes Device("toy") known; once a process.
inline void add_toy_backend() {
  add_backend("toy", [](int) { return std::make_unique<ToyBackend>(); });
}

}  // namespace tacit::testing
