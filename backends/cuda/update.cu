// Kernels over many tensors at once: sum of squares, moving averages, optimiser steps. Up to kTensors of them share a
// launch, a row of blocks each. Each element is computed in f64 and rounded when it is stored.
#include "backends/cuda/backend.h"
#include "backends/cuda/combine.h"
#include "backends/cuda/pack.h"

namespace tacit::cuda {

namespace {

inline constexpr int kTensors = 32;

/// Pointers to K lists of tensors (null: there is no such list), and how many elements each tensor has.
template <class T, int K>
struct Tensors {
  T* data[K][kTensors];
  int64_t size[kTensors];
  bool is_aligned[kTensors];  ///< in all lists
};

/// The K lists' numbers of one element, which an update changes, all but those of list kGiven: gradients, or a source.
template <class T, int K>
using Element = T[K];
inline constexpr int kGiven = 1;

// For every element of every tensor t: update(element), where update = f.of(t) holds what its elements share. A thread
// reads a pack of every list before it writes one.
template <class T, int K, class F>
__global__ void __launch_bounds__(kThreads) tensors_kernel(const __grid_constant__ Tensors<T, K> tensors, const F f) {
  constexpr int V = kPack<T>;
  const int64_t step = int64_t{gridDim.x} * blockDim.x, first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int t = static_cast<int>(blockIdx.y);
  const int64_t size = tensors.size[t], packs = tensors.is_aligned[t] ? size / V : 0;
  if (first >= size) return;
  const auto update = f.of(t);
  for (int64_t i = first; i < packs; i += step) {
    Pack<T, V> lists[K] = {};
#pragma unroll
    for (int k = 0; k < K; ++k)
      if (tensors.data[k][t] != nullptr) lists[k] = load_pack<V>(tensors.data[k][t] + i * V, true);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      Element<T, K> element;
#pragma unroll
      for (int k = 0; k < K; ++k) element[k] = lists[k].at[v];
      update(element);
#pragma unroll
      for (int k = 0; k < K; ++k) lists[k].at[v] = element[k];
    }
#pragma unroll
    for (int k = 0; k < K; ++k)
      if (k != kGiven && tensors.data[k][t] != nullptr) store_pack(tensors.data[k][t] + i * V, lists[k], true);
  }
  for (int64_t i = packs * V + first; i < size; i += step) {
    Element<T, K> element;
#pragma unroll
    for (int k = 0; k < K; ++k) element[k] = tensors.data[k][t] != nullptr ? tensors.data[k][t][i] : T(0);
    update(element);
#pragma unroll
    for (int k = 0; k < K; ++k)
      if (k != kGiven && tensors.data[k][t] != nullptr) tensors.data[k][t][i] = element[k];
  }
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
        tensors.is_aligned[n] = true;
        for (int k = 0; k < K; ++k) {
          tensors.data[k][n] = lists[k].empty() ? nullptr : lists[k][i].template ptr<T>();
          tensors.is_aligned[n] = tensors.is_aligned[n] && aligned<kPack<T>>(tensors.data[k][n]);
        }
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
    const int64_t blocks = std::min<int64_t>(divide_up(largest, kThreads * kPack<decltype(zero)>), 256);
    launch(stream, tensors_kernel<decltype(zero), K, std::decay_t<decltype(f)>>, Grid{blocks, n}, dim3(kThreads), 0,
           tensors, f);
  });
}

struct Lerp {
  const double* weight;
  struct Update {
    double weight;
    template <class T>
    __device__ void operator()(Element<T, 2>& e) const {
      const auto old = static_cast<double>(e[0]);
      e[0] = static_cast<T>(old + weight * (static_cast<double>(e[1]) - old));
    }
  };
  __device__ Update of(int) const { return {*weight}; }
};

// Elements: param, grad, momentum buffer.
// g = grad + weight_decay p;  with momentum: b = momentum b + g, g = nesterov ? g + momentum b : b;  p -= lr g
struct Sgd {
  const double* lr;
  double momentum, weight_decay;
  bool nesterov;
  struct Update {
    double lr, momentum, weight_decay;
    bool nesterov;
    template <class T>
    __device__ void operator()(Element<T, 3>& e) const {
      const auto p = static_cast<double>(e[0]);
      double g = static_cast<double>(e[1]) + weight_decay * p;
      if (momentum != 0) {
        const double b = momentum * static_cast<double>(e[2]) + g;
        e[2] = static_cast<T>(b);
        g = nesterov ? g + momentum * b : b;
      }
      e[0] = static_cast<T>(p - lr * g);
    }
  };
  __device__ Update of(int) const { return {*lr, momentum, weight_decay, nesterov}; }
};

// Elements: param, grad, exp_avg m, exp_avg_sq v.
// p *= 1 - lr weight_decay;  m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2
// p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
struct AdamW {
  const double* hyper;
  double beta1, beta2, eps, weight_decay;
  struct Update {
    double beta1, beta2, eps, kept, step, root;  // 1 - lr weight_decay, lr / (1 - beta1^t), sqrt(1 - beta2^t)
    template <class T>
    __device__ void operator()(Element<T, 4>& e) const {
      const auto g = static_cast<double>(e[1]), old = static_cast<double>(e[2]);
      const double m = old + (1 - beta1) * (g - old), v = beta2 * static_cast<double>(e[3]) + (1 - beta2) * g * g;
      e[0] = static_cast<T>(static_cast<double>(e[0]) * kept - step * m / (::sqrt(v) / root + eps));
      e[2] = static_cast<T>(m);
      e[3] = static_cast<T>(v);
    }
  };
  __device__ Update of(int) const {
    return {beta1, beta2, eps, 1 - hyper[0] * weight_decay, hyper[0] / hyper[1], ::sqrt(hyper[2])};
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

// *out += the totals of up to kTensors tensors in their order; a thread for each.
__global__ void __launch_bounds__(kTensors) add_totals_kernel(int tensors, const double* partial, double* out) {
  __shared__ Shared<double[kTensors]> totals;
  const auto t = static_cast<int>(threadIdx.x);
  if (t < tensors) totals[t] = total_of(partial, t, 0);
  __syncthreads();
  if (t != 0) return;
  double total = *out;
  for (int i = 0; i < tensors; ++i) total += totals[i];
  *out = total;
}

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

// Elements: param, grad, momentum buffer.
// m = momentum m + q d, p -= lr m;  with lr_in_buffer: m = momentum m + lr q d, p -= m
struct Lars {
  const double *lr, *q;
  double momentum, weight_decay;
  bool lr_in_buffer;
  struct Update {
    double of_d, lr, momentum, weight_decay;
    bool lr_in_buffer;
    template <class T>
    __device__ void operator()(Element<T, 3>& e) const {
      const auto p = static_cast<double>(e[0]);
      const double d = static_cast<double>(e[1]) + weight_decay * p;
      const double m = momentum * static_cast<double>(e[2]) + of_d * d;
      e[0] = static_cast<T>(p - (lr_in_buffer ? m : lr * m));
      e[2] = static_cast<T>(m);
    }
  };
  __device__ Update of(int t) const {
    return {lr_in_buffer ? *lr * q[t] : q[t], *lr, momentum, weight_decay, lr_in_buffer};
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
    launch(stream(), add_totals_kernel, Grid{1}, dim3(kTensors), 0, static_cast<int>(n), partial, out.ptr<double>());
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
