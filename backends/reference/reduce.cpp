// Reductions, argmax and argmin, top-k.
#include <algorithm>
#include <numeric>
#include <vector>

#include "backends/reference/backend.h"
#include "backends/reference/loops.h"

namespace tacit::reference {

// out[…, 0, …] = sum, mean, max or min of in[…, r, …] over all r, for every dimension in which out has size 1
void ReferenceBackend::reduce(ReduceOp op, const View& out, const View& in) {
  Shape reduced = in.shape;  // the elements that meet in one output
  for (int d = 0; d < reduced.rank(); ++d)
    if (out.shape[d] != 1) reduced[d] = 1;

  visit_floating("reduce", in.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const y = out.ptr<T>();
    const T* const x = in.ptr<T>();
    for_each(out.shape, {out.strides, in.strides}, [&](int64_t o, int64_t first) {
      if (op == ReduceOp::Sum || op == ReduceOp::Mean) {
        double sum = 0;
        for_each(reduced, {in.strides}, [&](int64_t r) { sum += static_cast<double>(x[first + r]); });
        y[o] = static_cast<T>(op == ReduceOp::Sum ? sum : sum / static_cast<double>(reduced.numel()));
      } else {
        T best = x[first];
        for_each(reduced, {in.strides}, [&](int64_t r) {
          if (beats(op, x[first + r], best)) best = x[first + r];
        });
        y[o] = best;
      }
    });
  });
}

// index[…] = the first i at which in[…, i] is largest (smallest); the first NaN if there is one
void ReferenceBackend::arg_reduce(ReduceOp op, const View& index, const View& in) {
  const int64_t size = in.shape[-1], stride = in.strides[-1];
  visit_floating("arg_reduce", in.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const x = in.ptr<T>();
    int64_t* const y = index.ptr<int64_t>();
    for_each(index.shape, {index.strides, leading(in.strides, 1)}, [&](int64_t o, int64_t row) {
      int64_t best = 0;
      for (int64_t i = 1; i < size; ++i)
        if (beats(op, x[row + i * stride], x[row + best * stride])) best = i;
      y[o] = best;
    });
  });
}

// (values, index)[…, j] = the j-th of in[…, :] in falling order; NaN counts as largest, equals keep their order
void ReferenceBackend::top_k(const View& values, const View& index, const View& in) {
  const int64_t k = values.shape[-1], stride = in.strides[-1];
  std::vector<int64_t> order(static_cast<size_t>(in.shape[-1]));
  visit_floating("top_k", in.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const x = in.ptr<T>();
    for_each(leading(values.shape, 1), {leading(values.strides, 1), leading(index.strides, 1), leading(in.strides, 1)},
             [&](int64_t value_row, int64_t index_row, int64_t row) {
               std::iota(order.begin(), order.end(), int64_t{0});
               std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
                 return beats(ReduceOp::Max, x[row + a * stride], x[row + b * stride]);
               });
               for (int64_t j = 0; j < k; ++j) {
                 const int64_t i = order[static_cast<size_t>(j)];
                 values.ptr<T>()[value_row + j * values.strides[-1]] = x[row + i * stride];
                 index.ptr<int64_t>()[index_row + j * index.strides[-1]] = i;
               }
             });
  });
}

}  // namespace tacit::reference
