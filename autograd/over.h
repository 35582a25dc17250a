// Where a gradient that is made element by element is written. The rule: over what it was made from, if nobody sees it.
#pragma once

#include "tensor/tensor.h"

namespace tacit {

/// dy itself where nobody else holds it, which the engine does while other formulas must read it, else new memory like
/// it: what was just read is written again while it is in the cache, and a backward pass needs one buffer less. For
/// formulas whose last kernel to read dy may write over it (tensor/backend.h says which may).
inline Tensor over(const Tensor& dy) {
  return dy.unshared() && dy.contiguous() ? dy : Tensor::empty(dy.shape(), dy.dtype(), dy.device());
}

}  // namespace tacit
