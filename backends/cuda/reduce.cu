// Reductions, argmax and argmin, top-k.
#include "backends/cuda/backend.h"
#include "backends/cuda/combine.h"

namespace tacit::cuda {

namespace {

/// Element (output, term) of a strided view that is being reduced.
template <class T>
struct Term {
  static constexpr int kWidth = 1;
  const T* in;
  Strided<1> outputs, terms;
  TACIT_HD double at(int64_t o, int64_t r) const { return convert<double>(in[outputs.offset(o) + terms.offset(r)]); }
  TACIT_HD double operator()(int64_t o, int64_t r) const { return at(o, r); }
  TACIT_HD void operator()(int64_t r, int64_t o, double (&value)[1][1]) const { value[0][0] = at(o, r); }
};

template <class T>
struct StoreTotal {
  T* out;
  Strided<1> at;
  double divisor;
  TACIT_HD void operator()(int64_t o, const double (&total)[1]) const {
    out[at.offset(o)] = convert<T>(total[0] / divisor);
  }
};

/// True when the pair (a, i) comes before (b, j) in falling (rising) order; NaN first, ties by index.
template <class T>
TACIT_HD bool precedes(ReduceOp op, T a, int64_t i, T b, int64_t j) {
  if (beats(op, a, b)) return true;
  return !beats(op, b, a) && i < j;
}

template <class T>
__global__ void arg_kernel(ReduceOp op, int64_t rows, int64_t size, int64_t stride,
                           const __grid_constant__ Strided<2> at, const T* in, int64_t* index) {
  const int64_t row = int64_t{blockIdx.x} * (blockDim.x / 32) + threadIdx.x / 32;
  if (row >= rows) return;  // a whole warp
  int64_t offsets[2];
  at.offsets(row, offsets);
  int64_t best = threadIdx.x % 32;
  const bool has = best < size;
  if (!has) best = 0;
  T value = in[offsets[1] + best * stride];
  for (int64_t i = best + 32; has && i < size; i += 32) {
    const T next = in[offsets[1] + i * stride];
    if (beats(op, next, value)) best = i, value = next;
  }
  for (int distance = 16; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, value, distance);
    const int64_t other_index = __shfl_xor_sync(0xffffffffu, best, distance);
    if (precedes(op, other, other_index, value, best)) value = other, best = other_index;
  }
  if (threadIdx.x % 32 == 0) index[offsets[0]] = best;
}

/// A candidate of top_k; `index` is the row's size and more where a row was padded to a power of two.
template <class T>
struct Entry {
  T value;
  int32_t index;
};

// Sorts a row by bitonic exchanges (Batcher 1968) in global memory, one block a row, and writes its first k.
template <class T>
__global__ void top_k_kernel(int64_t first_row, int64_t size, int64_t padded, int64_t k, int64_t in_stride,
                             int64_t value_stride, int64_t index_stride, const __grid_constant__ Strided<3> at,
                             const T* in, T* values, int64_t* index, Entry<T>* entries) {
  int64_t offsets[3];
  at.offsets(first_row + blockIdx.x, offsets);
  Entry<T>* const row = entries + int64_t{blockIdx.x} * padded;
  for (int64_t i = threadIdx.x; i < padded; i += blockDim.x)
    row[i] = {i < size ? in[offsets[2] + i * in_stride] : static_cast<T>(-__builtin_inf()), static_cast<int32_t>(i)};
  for (int64_t run = 2; run <= padded; run *= 2)
    for (int64_t distance = run / 2; distance > 0; distance /= 2) {
      __syncthreads();
      for (int64_t pair = threadIdx.x; pair < padded / 2; pair += blockDim.x) {
        const int64_t low = 2 * distance * (pair / distance) + pair % distance, high = low + distance;
        const Entry<T> a = row[low], b = row[high];
        const bool falls = (low & run) == 0;
        if (precedes(ReduceOp::Max, b.value, b.index, a.value, a.index) == falls) row[low] = b, row[high] = a;
      }
    }
  __syncthreads();
  for (int64_t j = threadIdx.x; j < k; j += blockDim.x) {
    values[offsets[0] + j * value_stride] = row[j].value;
    index[offsets[1] + j * index_stride] = row[j].index;
  }
}

}  // namespace

// out[…, 0, …] = sum, mean, max or min of in[…, r, …] over all r, for every dimension in which out has size 1
void CudaBackend::reduce(ReduceOp op, const View& out, const View& in) {
  Shape reduced = in.shape;
  bool rows = true;  // the dimension that lies densest is among the reduced ones
  int64_t densest = 0;
  for (int d = 0; d < reduced.rank(); ++d) {
    if (out.shape[d] != 1) reduced[d] = 1;
    if (in.shape[d] > 1 && (densest == 0 || in.strides[d] <= densest)) {
      densest = in.strides[d];
      rows = out.shape[d] == 1;
    }
  }
  const int64_t outputs = out.numel(), terms = reduced.numel();
  if (outputs == 0) return;
  const auto run_as = [&](auto from, auto to) {
    using From = decltype(from);
    using To = decltype(to);
    const Term<From> term{in.ptr<From>(), Strided<1>(out.shape, {in.strides}), Strided<1>(reduced, {in.strides})};
    const StoreTotal<To> store{out.ptr<To>(), Strided<1>(out.shape, {out.strides}),
                               op == ReduceOp::Mean ? static_cast<double>(terms) : 1.0};
    const auto run = [&](auto combine) {
      using Combine = decltype(combine);
      if (rows)
        combine_rows<Combine>(stream(), outputs, terms, term, store);
      else
        combine_columns<Combine, 1>(stream(), terms, outputs, term, store);
    };
    if (op == ReduceOp::Max)
      run(BestOf<ReduceOp::Max>());
    else if (op == ReduceOp::Min)
      run(BestOf<ReduceOp::Min>());
    else
      run(SumOf());
  };
  visit_activations("reduce", in.dtype, [&](auto zero) {
    if (in.dtype == out.dtype)
      run_as(zero, zero);
    else
      run_as(zero, ArithmeticOf<decltype(zero)>());
  });
}

// index[…] = the first i at which in[…, i] is largest (smallest); the first NaN if there is one
void CudaBackend::arg_reduce(ReduceOp op, const View& index, const View& in) {
  const int64_t rows = index.numel();
  constexpr int64_t kWarps = kThreads / 32;
  visit_floating("arg_reduce", in.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(stream(), arg_kernel<T>, Grid{divide_up(rows, kWarps)}, dim3(kThreads), 0, op, rows, in.shape[-1],
           in.strides[-1], Strided<2>(index.shape, {index.strides, leading(in.strides, 1)}), in.ptr<T>(),
           index.ptr<int64_t>());
  });
}

// (values, index)[…, j] = the j-th of in[…, :] in falling order; NaN counts as largest, equals keep their order
void CudaBackend::top_k(const View& values, const View& index, const View& in) {
  const Shape shape = leading(values.shape, 1);
  const int64_t rows = shape.numel(), size = in.shape[-1];
  TACIT_CHECK(size < (int64_t{1} << 30), "[top_k] rows of ", size, " elements are too long for this device");
  int64_t padded = 1;
  while (padded < size) padded *= 2;
  constexpr int64_t kScratchEntries = int64_t{1} << 25;
  const int64_t together = std::clamp<int64_t>(kScratchEntries / padded, 1, 1 << 16);
  visit_floating("top_k", in.dtype, [&](auto zero) {
    using T = decltype(zero);
    Scratch scratch(stream());
    Entry<T>* const entries = scratch.take<Entry<T>>(std::min(together, rows) * padded);
    const Strided<3> at(shape, {leading(values.strides, 1), leading(index.strides, 1), leading(in.strides, 1)});
    for (int64_t row = 0; row < rows; row += together)
      launch(stream(), top_k_kernel<T>, Grid{std::min(together, rows - row)}, dim3(kThreads), 0, row, size, padded,
             values.shape[-1], in.strides[-1], values.strides[-1], index.strides[-1], at, in.ptr<T>(), values.ptr<T>(),
             index.ptr<int64_t>(), entries);
  });
}

}  // namespace tacit::cuda
