// Reading and adding at given positions.
#include "backends/cuda/backend.h"
#include "backends/cuda/faults.h"
#include "backends/cuda/launch.h"

namespace tacit::cuda {

namespace {

template <class T>
struct Gather {
  T* out;
  const int64_t* index;
  const T* in;
  int64_t stride;
  IndexCheck valid;
  __device__ void operator()(const int64_t (&at)[3]) const {
    const int64_t i = index[at[1]];
    out[at[0]] = valid(i) ? in[at[2] + i * stride] : T();
  }
};

template <class T>
struct IndexCopy {
  T* out;
  const int64_t* index;
  const T* src;
  int64_t stride;
  IndexCheck valid;
  __device__ void operator()(const int64_t (&at)[3]) const {
    const int64_t place = index[at[1]];
    if (valid(place)) out[at[0] + place * stride] = src[at[2]];
  }
};

// One thread walks the whole dimension, so that the terms of a place are added in the order of i without atomics.
template <class T, class S>
struct ScatterAdd {
  T* out;
  const int64_t* index;
  const S* src;
  int64_t count, out_stride, index_stride, src_stride;
  IndexCheck valid;
  __device__ void operator()(const int64_t (&at)[3]) const {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t place = index[at[1] + i * index_stride];
      if (!valid(place)) continue;
      T& sum = out[at[0] + place * out_stride];
      sum = static_cast<T>(sum + convert<T>(src[at[2] + i * src_stride]));
    }
  }
};

}  // namespace

// out[…, i, …] = in[…, index[…, i, …], …]
void CudaBackend::gather(const View& out, const View& in, const View& index, int dim) {
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each(stream(), out.shape, {out.strides, index.strides, without_stride(in.strides, dim)},
             Gather<T>{out.ptr<T>(), index.ptr<int64_t>(), in.ptr<T>(), in.strides[dim],
                       index_check(Indexed::Gather, in.shape[dim])});
  });
}

// out[index[i], …] = src[i, …]
void CudaBackend::index_copy(const View& out, const View& index, const View& src) {
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each(stream(), src.shape,
             {without_stride(out.strides, 0), along_first(index.strides, src.shape.rank()), src.strides},
             IndexCopy<T>{out.ptr<T>(), index.ptr<int64_t>(), src.ptr<T>(), out.strides[0],
                          index_check(Indexed::IndexCopy, out.shape[0])});
  });
}

// out[…, index[…, i, …], …] += src[…, i, …]
void CudaBackend::scatter_add(const View& out, const View& index, const View& src, int dim) {
  if (src.numel() == 0) return;
  Shape columns = src.shape;
  columns[dim] = 1;
  const auto add = [&](auto sum, auto term, const View& to) {
    using T = decltype(sum);
    using S = decltype(term);
    for_each(stream(), columns, {to.strides, index.strides, src.strides},
             ScatterAdd<T, S>{to.ptr<T>(), index.ptr<int64_t>(), src.ptr<S>(), src.shape[dim], to.strides[dim],
                              index.strides[dim], src.strides[dim], index_check(Indexed::ScatterAdd, out.shape[dim])});
  };
  if (out.dtype == bf16) {  // each sum is rounded once
    Scratch scratch(stream());
    View sums = out;
    sums.dtype = f32, sums.strides = row_major(out.shape), sums.data = scratch.take<float>(out.numel());
    copy(sums, out);
    add(float{}, BFloat16{}, sums);
    return copy(out, sums);
  }
  visit_arithmetic("scatter_add", out.dtype, [&](auto zero) { add(zero, zero, out); });
}

}  // namespace tacit::cuda
