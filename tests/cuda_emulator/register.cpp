// Makes the CUDA backend on the emulated device known as Device("emulated"), in every program that this is linked to.
#include "backends/cuda/backend.h"

namespace {
const bool registered = [] {
  tacit::add_backend("emulated", [](int index) { return std::make_unique<tacit::cuda::CudaBackend>(index); });
  return true;
}();
}  // namespace
