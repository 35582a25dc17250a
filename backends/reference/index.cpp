// Reading and adding at given positions.
#include "backends/reference/backend.h"
#include "backends/reference/loops.h"

namespace tacit::reference {

// out[…, i, …] = in[…, index[…, i, …], …]
void ReferenceBackend::gather(const View& out, const View& in, const View& index, int dim) {
  const int64_t stride = in.strides[dim];
  const int64_t* const at = index.ptr<int64_t>();
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const y = out.ptr<T>();
    const T* const x = in.ptr<T>();
    for_each(out.shape, {out.strides, index.strides, without_stride(in.strides, dim)},
             [&](int64_t o, int64_t k, int64_t i) { y[o] = x[i + at[k] * stride]; });
  });
}

// out[index[i], …] = src[i, …]
void ReferenceBackend::index_copy(const View& out, const View& index, const View& src) {
  const int64_t* const at = index.ptr<int64_t>();
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const y = out.ptr<T>();
    const T* const x = src.ptr<T>();
    for_each(src.shape, {without_stride(out.strides, 0), along_first(index.strides, src.shape.rank()), src.strides},
             [&](int64_t o, int64_t k, int64_t i) { y[o + at[k] * out.strides[0]] = x[i]; });
  });
}

// out[…, index[…, i, …], …] += src[…, i, …]; row-major order means that i rises for each place of out
void ReferenceBackend::scatter_add(const View& out, const View& index, const View& src, int dim) {
  const int64_t stride = out.strides[dim];
  const int64_t* const at = index.ptr<int64_t>();
  visit_arithmetic("scatter_add", out.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const y = out.ptr<T>();
    const T* const x = src.ptr<T>();
    for_each(src.shape, {without_stride(out.strides, dim), index.strides, src.strides},
             [&](int64_t o, int64_t k, int64_t i) {
               T& sum = y[o + at[k] * stride];
               sum = static_cast<T>(sum + x[i]);
             });
  });
}

}  // namespace tacit::reference
