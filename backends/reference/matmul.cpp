// Matrix product.
#include "backends/reference/backend.h"
#include "backends/reference/loops.h"

namespace tacit::reference {

// out[…, m, n] = sum over k of a[…, m, k] b[…, k, n]
void ReferenceBackend::matmul(const View& out, const View& a, const View& b) {
  const int64_t rows = out.shape[-2], columns = out.shape[-1], inner = a.shape[-1];
  visit_floating("matmul", out.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const y = out.ptr<T>();
    const T* const p = a.ptr<T>();
    const T* const q = b.ptr<T>();
    for_each(leading(out.shape, 2), {leading(out.strides, 2), leading(a.strides, 2), leading(b.strides, 2)},
             [&](int64_t out0, int64_t a0, int64_t b0) {
               for (int64_t m = 0; m < rows; ++m) {
                 for (int64_t n = 0; n < columns; ++n) {
                   double sum = 0;
                   for (int64_t k = 0; k < inner; ++k)
                     sum += static_cast<double>(p[a0 + m * a.strides[-2] + k * a.strides[-1]]) *
                            static_cast<double>(q[b0 + k * b.strides[-2] + n * b.strides[-1]]);
                   y[out0 + m * out.strides[-2] + n * out.strides[-1]] = static_cast<T>(sum);
                 }
               }
             });
  });
}

}  // namespace tacit::reference
