// Reading and adding at given positions: bound by memory, so plain loops over long rows in parallel.
#include <cstring>

#include "backends/cpu/backend.h"
#include "backends/cpu/loops.h"

namespace tacit::cpu {

void CpuBackend::gather(const View& out, const View& in, const View& index, int dim) {
  const int64_t stride = in.strides[dim];
  const Strides rest = without_stride(in.strides, dim);
  const int64_t* const place = index.ptr<int64_t>();
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const y = out.ptr<T>();
    const T* const x = in.ptr<T>();
    for_stretches<3>(out.shape, {&out.strides, &index.strides, &rest},
                     [&](const auto& at, int64_t n, const auto& step) {
                       T* const to = y + at[0];
                       const T* const from = x + at[2];
                       const int64_t* const k = place + at[1];
                       if (step[0] == 1 && step[1] == 0 && step[2] == 1) {  // whole rows, as in index_select
                         std::memcpy(static_cast<void*>(to), from + *k * stride, static_cast<size_t>(n) * sizeof(T));
                         return;
                       }
                       for (int64_t i = 0; i < n; ++i) to[i * step[0]] = from[i * step[2] + k[i * step[1]] * stride];
                     });
  });
}

void CpuBackend::index_copy(const View& out, const View& index, const View& src) {
  const int64_t stride = out.strides[0];
  const Strides rest = without_stride(out.strides, 0), places = along_first(index.strides, src.shape.rank());
  const int64_t* const place = index.ptr<int64_t>();
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const y = out.ptr<T>();
    const T* const x = src.ptr<T>();
    for_stretches<3>(src.shape, {&rest, &places, &src.strides}, [&](const auto& at, int64_t n, const auto& step) {
      const int64_t* const k = place + at[1];
      for (int64_t i = 0; i < n; ++i) y[at[0] + i * step[0] + k[i * step[1]] * stride] = x[at[2] + i * step[2]];
    });
  });
}

// Parallel over everything but `dim`: along it, additions to one place keep their order.
void CpuBackend::scatter_add(const View& out, const View& index, const View& src, int dim) {
  const int64_t count = src.shape[dim], stride = out.strides[dim];
  const int64_t src_step = src.strides[dim], index_step = index.strides[dim];
  Shape others = src.shape;
  others[dim] = 1;
  if (count == 0) return;
  const int64_t* const place = index.ptr<int64_t>();
  visit_arithmetic("scatter_add", out.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const y = out.ptr<T>();
    const T* const x = src.ptr<T>();
    for_stretches<3>(others, {&out.strides, &index.strides, &src.strides},
                     [&](const auto& at, int64_t n, const auto& step) {
                       for (int64_t i = 0; i < count; ++i) {
                         const int64_t* const k = place + at[1] + i * index_step;
                         const T* const from = x + at[2] + i * src_step;
                         for (int64_t e = 0; e < n; ++e) {
                           T& sum = y[at[0] + e * step[0] + k[e * step[1]] * stride];
                           sum = static_cast<T>(sum + from[e * step[2]]);
                         }
                       }
                     });
  });
}

}  // namespace tacit::cpu
