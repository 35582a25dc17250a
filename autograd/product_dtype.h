// What products read under PrecisionScope(Precision::BF16): bf16, where the device computes with it.
// The rule: only f32 is narrowed. Activations that a product made stay bf16 until a loss or a metric widens them;
// parameters stay f32, and each product takes a bf16 copy.
#pragma once

#include "tensor/backend.h"
#include "tensor/precision.h"
#include "tensor/tensor.h"

namespace tacit {

/// The dtype in which a product (matmul, linear, conv2d, attention) takes a tensor; an undefined one stays so.
inline DType product_dtype(const Tensor& t) {
  const bool narrow = t.defined() && t.dtype() == f32 && precision() == Precision::BF16 && t.backend().computes_bf16();
  return narrow ? bf16 : t.dtype();
}

/// t as a product takes it.
inline Tensor product_factor(const Tensor& t) { return t.defined() ? t.to(product_dtype(t)) : t; }

}  // namespace tacit
