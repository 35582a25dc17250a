// Softmax and cross-entropy over the last dimension, one block a row. The largest element is subtracted before exp,
// which changes nothing but keeps every exp at or below 1. A row of nothing but -inf gives NaN, as in torch.
#include "backends/cuda/backend.h"
#include "backends/cuda/combine.h"
#include "backends/cuda/faults.h"

namespace tacit::cuda {

namespace {

// A largest element that ignores NaN where it can: the sum of exponentials is NaN then in any case.
struct LargestOf {
  TACIT_HD static double combine(double a, double b) { return b > a || a != a ? b : a; }
};

/// The largest element of a row, and the sum of exp(x - largest), in every thread.
template <class T, int kBlock>
struct RowSum {
  __device__ RowSum(const T* x, int64_t n) {
    double most = -__builtin_inf();
    for (int64_t i = threadIdx.x; i < n; i += kBlock) most = LargestOf::combine(most, static_cast<double>(x[i]));
    largest = static_cast<T>(over_block<LargestOf, kBlock>(most));
    double here = 0;
    for (int64_t i = threadIdx.x; i < n; i += kBlock) here += static_cast<double>(fast_exp(x[i] - largest));
    sum = over_block<SumOf, kBlock>(here);
  }
  T largest;
  double sum;
};

// y = exp(x - m) / sum exp(x - m);  log: y = x - m - log(sum exp(x - m));  m = max(x)
template <class T, int kBlock>
__global__ void softmax_kernel(int64_t size, bool log, const T* x, T* y) {
  const int64_t first = blockIdx.x * size;
  const RowSum<T, kBlock> row(x + first, size);
  const T log_of_sum = static_cast<T>(::log(row.sum)), scale = static_cast<T>(1 / row.sum);
  for (int64_t i = threadIdx.x; i < size; i += kBlock) {
    const T shifted = x[first + i] - row.largest;
    y[first + i] = log ? shifted - log_of_sum : fast_exp(shifted) * scale;
  }
}

// dx = y (dy - sum(dy y));  log: dx = dy - exp(y) sum(dy)
template <class T, int kBlock>
__global__ void softmax_grad_kernel(int64_t size, bool log, const T* dy, const T* y, T* dx) {
  const int64_t first = blockIdx.x * size;
  double here = 0;
  for (int64_t i = first + threadIdx.x; i < first + size; i += kBlock)
    here += static_cast<double>(dy[i]) * (log ? 1.0 : static_cast<double>(y[i]));
  const T sum = static_cast<T>(over_block<SumOf, kBlock>(here));
  for (int64_t i = first + threadIdx.x; i < first + size; i += kBlock)
    dx[i] = log ? dy[i] - fast_exp(y[i]) * sum : y[i] * (dy[i] - sum);
}

// log_sum = log sum exp(x - m);  loss = m + log_sum - (1 - smoothing) x[label] - smoothing mean(x);  m = max(x)
template <class T, int kBlock>
__global__ void cross_entropy_kernel(int64_t size, double smoothing, const T* logits, const int64_t* labels,
                                     const IndexCheck valid, T* loss, T* log_sum) {
  const int64_t r = blockIdx.x;
  const T* const x = logits + r * size;
  const RowSum<T, kBlock> row(x, size);
  double total = 0;
  if (smoothing != 0) {  // 0 times a mean of -inf would be NaN: masked logits go with smoothing 0 only
    for (int64_t i = threadIdx.x; i < size; i += kBlock) total += static_cast<double>(x[i]);
    total = over_block<SumOf, kBlock>(total);
  }
  if (threadIdx.x != 0) return;
  const double log_of_sum = ::log(row.sum);
  const int64_t label = labels[r];
  const double right = valid(label) ? static_cast<double>(x[label]) : NAN;
  loss[r] = static_cast<T>(static_cast<double>(row.largest) + log_of_sum - (1 - smoothing) * right -
                           (smoothing != 0 ? smoothing * total / static_cast<double>(size) : 0.0));
  log_sum[r] = static_cast<T>(log_of_sum);
}

// dlogits[c] = dloss (exp(x[c] - m - log_sum) - (1 - smoothing) [c = label] - smoothing / C). Two subtractions: m +
// log_sum in one number would lose log_sum beside a large m.
template <class T, int kBlock>
__global__ void cross_entropy_grad_kernel(int64_t size, double smoothing, const T* dloss, const T* logits,
                                          const T* log_sum, const int64_t* labels, T* dlogits) {
  const int64_t r = blockIdx.x;
  const T* const x = logits + r * size;
  double most = -__builtin_inf();
  for (int64_t i = threadIdx.x; i < size; i += kBlock) most = LargestOf::combine(most, static_cast<double>(x[i]));
  const T m = static_cast<T>(over_block<LargestOf, kBlock>(most));
  const T even = static_cast<T>(smoothing / static_cast<double>(size)), hit = static_cast<T>(1 - smoothing);
  for (int64_t c = threadIdx.x; c < size; c += kBlock)
    dlogits[r * size + c] = dloss[r] * (fast_exp(x[c] - m - log_sum[r]) - (c == labels[r] ? hit : T(0)) - even);
}

}  // namespace

void CudaBackend::softmax(const View& y, const View& x, bool log) {
  const Rows rows(x.shape);
  visit_floating("softmax", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_row_block(rows.size, [&](auto block) {
      launch(stream(), softmax_kernel<T, decltype(block)::value>, Grid{rows.count}, dim3(decltype(block)::value), 0,
             rows.size, log, x.ptr<T>(), y.ptr<T>());
    });
  });
}

void CudaBackend::softmax_grad(const View& dx, const View& dy, const View& y, bool log) {
  const Rows rows(y.shape);
  visit_floating("softmax_grad", y.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_row_block(rows.size, [&](auto block) {
      launch(stream(), softmax_grad_kernel<T, decltype(block)::value>, Grid{rows.count}, dim3(decltype(block)::value),
             0, rows.size, log, dy.ptr<T>(), y.ptr<T>(), dx.ptr<T>());
    });
  });
}

void CudaBackend::cross_entropy(const View& loss, const View& log_sum, const View& logits, const View& labels,
                                double smoothing) {
  const Rows rows(logits.shape);
  visit_floating("cross_entropy", logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_row_block(rows.size, [&](auto block) {
      launch(stream(), cross_entropy_kernel<T, decltype(block)::value>, Grid{rows.count}, dim3(decltype(block)::value),
             0, rows.size, smoothing, logits.ptr<T>(), labels.ptr<int64_t>(),
             index_check(Indexed::CrossEntropy, rows.size), loss.ptr<T>(), log_sum.ptr<T>());
    });
  });
}

void CudaBackend::cross_entropy_grad(const View& dlogits, const View& dloss, const View& logits, const View& log_sum,
                                     const View& labels, double smoothing) {
  const Rows rows(logits.shape);
  visit_floating("cross_entropy_grad", logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_row_block(rows.size, [&](auto block) {
      launch(stream(), cross_entropy_grad_kernel<T, decltype(block)::value>, Grid{rows.count},
             dim3(decltype(block)::value), 0, rows.size, smoothing, dloss.ptr<T>(), logits.ptr<T>(), log_sum.ptr<T>(),
             labels.ptr<int64_t>(), dlogits.ptr<T>());
    });
  });
}

}  // namespace tacit::cuda
