// Out of line, so that the hundreds of loops that the element-wise ops are do not each compile it.
#include "backends/reference/loops.h"

#include "tensor/error.h"

namespace tacit::reference {

Walk::Walk(const Shape& shape, const Strides* strides, size_t n) : shape_(shape), strides_(strides), n_(n) {
  TACIT_CHECK(n <= kMost, "[reference] a loop over ", n, " operands; at most ", kMost);
}

bool Walk::next() {
  if (!begun_) {
    begun_ = true;
    return shape_.numel() > 0;
  }
  for (int d = shape_.rank() - 1; d >= 0; --d) {
    for (size_t k = 0; k < n_; ++k) offsets_[k] += strides_[k][d];
    if (++index_[d] < shape_[d]) return true;
    for (size_t k = 0; k < n_; ++k) offsets_[k] -= strides_[k][d] * shape_[d];
    index_[d] = 0;
  }
  return false;
}

}  // namespace tacit::reference
