// Positions that kernels read from memory and find out of range: noted on the device, and told to the host when it next
// waits. The rule: whoever reads a position asks an IndexCheck first, and leaves memory alone where that says no.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "tensor/backend.h"

namespace tacit::cuda {

/// The first position that was found out of range since the host last looked.
struct Fault {
  unsigned op;  ///< 0: none; else 1 + its Indexed
  int64_t index, size;
};

struct IndexCheck {
  Fault* fault;
  Indexed op;
  int64_t size;

  /// Whether index is in [0, size); notes it where it is not.
  __device__ bool operator()(int64_t index) const {
    if (index >= 0 && index < size) return true;
    if (atomicCAS(&fault->op, 0u, 1u + static_cast<unsigned>(op)) == 0u) fault->index = index, fault->size = size;
    return false;
  }
};

}  // namespace tacit::cuda
