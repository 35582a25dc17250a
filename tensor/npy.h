// Writing NumPy's .npy files, version 1.0, C order.
#pragma once

#include <string>

#include "tensor/tensor.h"

namespace tacit {

/// Any dtype but bf16; little-endian. Throws Error when the file cannot be written.
void write_npy(const std::string& path, const Tensor&);

}  // namespace tacit
