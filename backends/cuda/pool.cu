// Pooling: the largest element or the average of each window of each channel. One thread an element; gradients are
// gathered by the input's elements from the windows that cover them, so that nothing is added by two threads.
#include "backends/cuda/backend.h"
#include "backends/cuda/launch.h"
#include "backends/cuda/pool_windows.h"

namespace tacit::cuda {

namespace {

// Max: y = max of the window, index = the first pixel that has it (the first NaN if there is one).
template <class S>
struct MaxPool {
  Pooling p;
  S* y;
  int64_t* index;
  const S* x;
  TACIT_HD void operator()(int64_t o) const {
    const int64_t c = o % p.channels, j = o / p.channels % p.columns.n, i = o / p.channels / p.columns.n % p.rows.n;
    const int64_t n = o / p.channels / p.columns.n / p.rows.n;
    using T = ArithmeticOf<S>;
    int64_t best = -1;
    T value = 0;
    for (int64_t a = 0; a < p.rows.terms(i); ++a)
      for (int64_t b = 0; b < p.columns.terms(j); ++b) {
        const int64_t h = p.rows.position(i, a), w = p.columns.position(j, b);
        if (!p.rows.inside(h) || !p.columns.inside(w)) continue;
        const T here = convert<T>(x[p.x_offset(n, h, w, c)]);
        if (best >= 0 && !beats(ReduceOp::Max, here, value)) continue;
        best = h * p.columns.size + w;
        value = here;
      }
    y[o] = convert<S>(value);
    index[o] = best;
  }
};

// Average: y = sum of the window / its size, padding counted as zeros.
template <class S>
struct AveragePool {
  Pooling p;
  S* y;
  const S* x;
  TACIT_HD void operator()(int64_t o) const {
    const int64_t c = o % p.channels, j = o / p.channels % p.columns.n, i = o / p.channels / p.columns.n % p.rows.n;
    const int64_t n = o / p.channels / p.columns.n / p.rows.n;
    double sum = 0;
    for (int64_t a = 0; a < p.rows.terms(i); ++a)
      for (int64_t b = 0; b < p.columns.terms(j); ++b) {
        const int64_t h = p.rows.position(i, a), w = p.columns.position(j, b);
        if (p.rows.inside(h) && p.columns.inside(w)) sum += convert<double>(x[p.x_offset(n, h, w, c)]);
      }
    y[o] = convert<S>(sum / static_cast<double>(p.rows.terms(i) * p.columns.terms(j)));
  }
};

// Max: dy goes to the pixel that was chosen. Average: dy / size goes to every pixel of the window.
template <class S>
struct PoolGrad {
  Pooling p;
  S* dx;
  const S* dy;
  const int64_t* index;  // null: average
  TACIT_HD void operator()(int64_t o) const {
    const int64_t c = o % p.channels, w = o / p.channels % p.columns.size;
    const int64_t h = o / p.channels / p.columns.size % p.rows.size;
    const int64_t n = o / p.channels / p.columns.size / p.rows.size;
    double sum = 0;
    for (int64_t i = p.rows.first_window(h); i <= p.rows.last_window(h); ++i)
      for (int64_t j = p.columns.first_window(w); j <= p.columns.last_window(w); ++j) {
        if (!p.rows.covers(i, h) || !p.columns.covers(j, w)) continue;
        const int64_t at = p.y_offset(n, i, j, c);
        if (index == nullptr)
          sum += convert<double>(dy[at]) / static_cast<double>(p.rows.terms(i) * p.columns.terms(j));
        else if (index[at] == h * p.columns.size + w)
          sum += convert<double>(dy[at]);
      }
    dx[o] = convert<S>(sum);
  }
};

}  // namespace

void CudaBackend::pool(PoolOp op, const View& y, const View& index, const View& x, const Window& window) {
  const Pooling pooling(window, x.shape, y.shape);
  visit_activations("pool", y.dtype, [&](auto zero) {
    using S = decltype(zero);
    if (op == PoolOp::Max)
      for_each_index(stream(), y.numel(), MaxPool<S>{pooling, y.ptr<S>(), index.ptr<int64_t>(), x.ptr<S>()});
    else
      for_each_index(stream(), y.numel(), AveragePool<S>{pooling, y.ptr<S>(), x.ptr<S>()});
  });
}

void CudaBackend::pool_grad(PoolOp op, const View& dx, const View& dy, const View& index, const Window& window) {
  const Pooling pooling(window, dx.shape, dy.shape);
  visit_activations("pool_grad", dx.dtype, [&](auto zero) {
    using S = decltype(zero);
    for_each_index(stream(), dx.numel(),
                   PoolGrad<S>{pooling, dx.ptr<S>(), dy.ptr<S>(), op == PoolOp::Max ? index.ptr<int64_t>() : nullptr});
  });
}

}  // namespace tacit::cuda
