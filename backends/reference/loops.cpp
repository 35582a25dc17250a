// Out of line, so that the hundreds of loops that the element-wise ops are do not each compile it.
#include "backends/reference/loops.h"

namespace tacit::reference {

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
