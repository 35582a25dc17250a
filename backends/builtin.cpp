// The only list of built-in backends.
#include <vector>

#include "backends/cpu/backend.h"
#ifdef TACIT_WITH_CUDA
#include "backends/cuda/backend.h"
#endif
#include "backends/reference/backend.h"

namespace tacit {

namespace {
template <class B>
std::unique_ptr<Backend> make_single(const char* name, int index) {
  if (index != 0)
    throw NoSuchDevice("[device] there is one '" + std::string(name) + "' device, no number " + std::to_string(index));
  return std::make_unique<B>();
}
}  // namespace

std::span<const BackendEntry> builtin_backends() {
  static const std::vector<BackendEntry> entries = {
#ifdef TACIT_WITH_CUDA
      {"cuda", [](int index) { return std::make_unique<cuda::CudaBackend>(index); }},
#endif
      {"cpu", [](int index) { return make_single<cpu::CpuBackend>("cpu", index); }},
      {"reference", [](int index) { return make_single<reference::ReferenceBackend>("reference", index); }},
  };
  return entries;
}

}  // namespace tacit
