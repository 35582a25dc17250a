// Kernels over many tensors at once: sum of squares, moving averages, optimiser steps. Up to kTensors of them share a
// launch, a row of blocks each. Each element is computed in f64 and rounded when it is stored.
#include "backends/cuda/backend.h"
#include "backends/cuda/combine.h"

namespace tacit::cuda {

namespace {

inline constexpr int kTensors = 32;

/// Pointers to K lists of tensors, and how many elements each tensor has.
template <class T, int K>
struct Tensors {
  T* data[K][kTensors];
  int64_t size[kTensors];
};

// f(tensors, t, i) for every element i of every tensor t
template <class T, int K, class F>
__global__ void tensors_kernel(const __grid_constant__ Tensors<T, K> tensors, const F f) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  const int t = static_cast<int>(blockIdx.y);
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < tensors.size[t]; i += step) f(tensors, t, i);
}

// Calls g(T(), tensors, how many, the largest size) for groups of at most kTensors of one type. Tensors that stand at
// one place of the K lists (an empty list has none) are of one type. Throws for a type that nothing is computed in.
template <int K, class G>
void in_groups(const char* op, const std::span<const View> (&lists)[K], G&& g) {
  for (const View& view : lists[0]) visit_floating(op, view.dtype, [](auto) {});
  for (const DType type : {f32, f64})
    visit_floating(op, type, [&](auto zero) {
      using T = decltype(zero);
      Tensors<T, K> tensors{};
      int64_t n = 0, largest = 0;
      const auto flush = [&] {
        if (n > 0) g(zero, tensors, n, largest);
        n = largest = 0;
      };
      for (size_t i = 0; i < lists[0].size(); ++i) {
        if (lists[0][i].dtype != type) continue;
        tensors.size[n] = lists[0][i].numel();
        largest = std::max(largest, tensors.size[n]);
        for (int k = 0; k < K; ++k) tensors.data[k][n] = lists[k].empty() ? nullptr : lists[k][i].template ptr<T>();
        if (++n == kTensors) flush();
      }
      flush();
    });
}

// Runs make(T(), tensors, how many), a functor, over every element of every tensor.
template <int K, class MakeF>
void update_each(const char* op, cudaStream_t stream, const std::span<const View> (&lists)[K], MakeF&& make) {
  in_groups<K>(op, lists, [&](auto zero, const auto& tensors, int64_t n, int64_t largest) {
    const auto f = make(zero, tensors, n);
    const int64_t blocks = std::min<int64_t>(divide_up(largest, kThreads), 256);
    launch(stream, tensors_kernel<decltype(zero), K, std::decay_t<decltype(f)>>, Grid{blocks, n}, dim3(kThreads), 0,
           tensors, f);
  });
}

struct Lerp {
  const double* weight;
  template <class T>
  TACIT_HD void operator()(const Tensors<T, 2>& tensors, int t, int64_t i) const {
    T& target = tensors.data[0][t][i];
    const auto old = static_cast<double>(target);
    target = static_cast<T>(old + *weight * (static_cast<double>(tensors.data[1][t][i]) - old));
  }
};

// g = grad + weight_decay p;  with momentum: b = momentum b + g, g = nesterov ? g + momentum b : b;  p -= lr g
struct Sgd {
  const double* lr;
  double momentum, weight_decay;
  bool nesterov;
  template <class T>
  TACIT_HD void operator()(const Tensors<T, 3>& tensors, int t, int64_t i) const {
    T& param = tensors.data[0][t][i];
    const auto p = static_cast<double>(param);
    double g = static_cast<double>(tensors.data[1][t][i]) + weight_decay * p;
    if (momentum != 0) {
      T& buffer = tensors.data[2][t][i];
      const double b = momentum * static_cast<double>(buffer) + g;
      buffer = static_cast<T>(b);
      g = nesterov ? g + momentum * b : b;
    }
    param = static_cast<T>(p - *lr * g);
  }
};

// p *= 1 - lr weight_decay;  m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2
// p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
struct AdamW {
  const double* hyper;
  double beta1, beta2, eps, weight_decay;
  template <class T>
  TACIT_HD void operator()(const Tensors<T, 4>& tensors, int t, int64_t i) const {
    const double lr = hyper[0], bias1 = hyper[1], bias2 = hyper[2];
    T& param = tensors.data[0][t][i];
    T& exp_avg = tensors.data[2][t][i];
    T& exp_avg_sq = tensors.data[3][t][i];
    const auto g = static_cast<double>(tensors.data[1][t][i]);
    const double decayed = static_cast<double>(param) * (1 - lr * weight_decay);
    const double m = static_cast<double>(exp_avg) + (1 - beta1) * (g - static_cast<double>(exp_avg));
    const double v = beta2 * static_cast<double>(exp_avg_sq) + (1 - beta2) * g * g;
    exp_avg = static_cast<T>(m);
    exp_avg_sq = static_cast<T>(v);
    param = static_cast<T>(decayed - lr / bias1 * m / (::sqrt(v) / ::sqrt(bias2) + eps));
  }
};

// ---- sums of squares of each tensor, in kPieces pieces

inline constexpr int kPieces = 64;

/// What is squared: the first list's elements, and with K = 3 also d = grad + weight_decay p.
template <class T, int K>
__global__ void squares_kernel(const __grid_constant__ Tensors<T, K> tensors, double weight_decay, double* partial) {
  const int t = static_cast<int>(blockIdx.y);
  const int64_t size = tensors.size[t], piece = (size + kPieces - 1) / kPieces, begin = blockIdx.x * piece;
  const int64_t end = begin + piece < size ? begin + piece : size;
  double p_squares = 0, d_squares = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    const auto p = static_cast<double>(tensors.data[0][t][i]);
    p_squares += p * p;
    if constexpr (K == 3) {
      const double d = static_cast<double>(tensors.data[1][t][i]) + weight_decay * p;
      d_squares += d * d;
    }
  }
  p_squares = over_block<SumOf, kThreads>(p_squares);
  d_squares = over_block<SumOf, kThreads>(d_squares);
  if (threadIdx.x != 0) return;
  double* const out = partial + 2 * (int64_t{blockIdx.y} * kPieces + blockIdx.x);
  out[0] = p_squares;
  out[1] = d_squares;
}

/// The total of one of the two sums of a tensor, added by one thread in the order of the pieces.
TACIT_HD double total_of(const double* partial, int64_t t, int which) {
  double total = 0;
  for (int piece = 0; piece < kPieces; ++piece) total += partial[2 * (t * kPieces + piece) + which];
  return total;
}

struct AddTotals {
  double* out;
  const double* partial;
  int64_t tensors;
  TACIT_HD void operator()(int64_t) const {
    double total = *out;
    for (int64_t t = 0; t < tensors; ++t) total += total_of(partial, t, 0);
    *out = total;
  }
};

/// q of each tensor of a group: eta |p| / |d|, 1 where one of the norms is 0 or without `adapt`.
struct Trust {
  double* q;
  const double* partial;
  double eta;
  bool adapt;
  TACIT_HD void operator()(int64_t t) const {
    const double p = total_of(partial, t, 0), d = total_of(partial, t, 1);
    q[t] = adapt && p > 0 && d > 0 ? eta * ::sqrt(p) / ::sqrt(d) : 1;
  }
};

// m = momentum m + q d, p -= lr m;  with lr_in_buffer: m = momentum m + lr q d, p -= m
struct Lars {
  const double *lr, *q;
  double momentum, weight_decay;
  bool lr_in_buffer;
  template <class T>
  TACIT_HD void operator()(const Tensors<T, 3>& tensors, int t, int64_t i) const {
    T& param = tensors.data[0][t][i];
    T& buffer = tensors.data[2][t][i];
    const auto p = static_cast<double>(param);
    const double d = static_cast<double>(tensors.data[1][t][i]) + weight_decay * p;
    const double m = momentum * static_cast<double>(buffer) + (lr_in_buffer ? *lr * q[t] : q[t]) * d;
    param = static_cast<T>(p - (lr_in_buffer ? m : *lr * m));
    buffer = static_cast<T>(m);
  }
};

}  // namespace

// out = sum of x^2 over all elements of all tensors
void CudaBackend::sum_squares(const View& out, std::span<const View> xs) {
  fill(out, 0);
  in_groups<1>("sum_squares", {xs}, [&](auto zero, const auto& tensors, int64_t n, int64_t) {
    Scratch scratch(stream());
    double* const partial = scratch.take<double>(2 * kPieces * n);
    launch(stream(), squares_kernel<decltype(zero), 1>, Grid{kPieces, n}, dim3(kThreads), 0, tensors, 0.0, partial);
    for_each_index(stream(), 1, AddTotals{out.ptr<double>(), partial, n});
  });
}

// target += weight (source - target)
void CudaBackend::lerp(std::span<const View> targets, std::span<const View> sources, const View& weight) {
  update_each<2>("lerp", stream(), {targets, sources},
                 [&](auto, const auto&, int64_t) { return Lerp{weight.ptr<double>()}; });
}

void CudaBackend::update(const SgdArgs& a) {
  update_each<3>("sgd", stream(), {a.params, a.grads, a.momentum_buffers}, [&](auto, const auto&, int64_t) {
    return Sgd{a.hyper.ptr<double>(), a.momentum, a.weight_decay, a.nesterov};
  });
}

void CudaBackend::update(const AdamWArgs& a) {
  update_each<4>("adamw", stream(), {a.params, a.grads, a.exp_avg, a.exp_avg_sq}, [&](auto, const auto&, int64_t) {
    return AdamW{a.hyper.ptr<double>(), a.beta1, a.beta2, a.eps, a.weight_decay};
  });
}

void CudaBackend::update(const LarsArgs& a) {
  Scratch scratch(stream());  // in stream order one group's sums may lie where the last one's lay
  double* const partial = scratch.take<double>(2 * kPieces * kTensors);
  double* const q = scratch.take<double>(kTensors);
  update_each<3>("lars", stream(), {a.params, a.grads, a.momentum_buffers},
                 [&](auto zero, const auto& tensors, int64_t n) {
                   launch(stream(), squares_kernel<decltype(zero), 3>, Grid{kPieces, n}, dim3(kThreads), 0, tensors,
                          a.weight_decay, partial);
                   for_each_index(stream(), n, Trust{q, partial, a.eta, a.adapt});
                   return Lars{a.hyper.ptr<double>(), q, a.momentum, a.weight_decay, a.lr_in_buffer};
                 });
}

}  // namespace tacit::cuda
