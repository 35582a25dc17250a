// Batch and layer normalisation. Throughout, xhat = (x - mean) * rstd. S is the type of activations and their
// gradients, T that of statistics and parameters (ArithmeticOf<S>). Sums are taken in f64, and so is what becomes of
// single elements (Exact<S>), but for bf16, whose 8 bits f32 has to spare.
#include "backends/cuda/backend.h"
#include "backends/cuda/channels.h"
#include "backends/cuda/combine.h"
#include "backends/cuda/pack.h"
#include "backends/cuda/row_share.h"

namespace tacit::cuda {

namespace {

template <class S>
using Exact = std::conditional_t<std::is_same_v<S, BFloat16>, float, double>;

// ---- moments

/// d = x - x0 and its square, where x0 is the channel's first value: with them one pass gives both moments. Since
/// (x0 - mean)^2 <= n var, no more than n 2^-53 of var is lost; equal values give exactly 0.
template <class S, int V>
struct ShiftedSquares {
  static constexpr int kWidth = V;
  const S* x;
  int64_t columns;
  bool is_aligned;
  __device__ void operator()(int64_t r, int64_t c, double (&out)[V][2]) const {
    const Pack<S, V> first = load_pack<V>(x + c, is_aligned), here = load_pack<V>(x + r * columns + c, is_aligned);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      out[v][0] = convert<double>(here.at[v]) - convert<double>(first.at[v]);
      out[v][1] = out[v][0] * out[v][0];
    }
  }
};
/// mean = x0 + 1/n sum d;  var = 1/n (sum d^2 - 1/n (sum d)^2)
template <class S, class T = ArithmeticOf<S>>
struct StoreShifted {
  T *mean, *var;
  const S* x;
  double n;
  __device__ void operator()(int64_t c, const double (&totals)[2]) const {
    mean[c] = static_cast<T>(convert<double>(x[c]) + totals[0] / n);
    const double variance = (totals[1] - totals[0] * totals[0] / n) / n;
    var[c] = static_cast<T>(variance < 0 ? 0.0 : variance);
  }
};

// ---- batch norm

template <class S, int V, class T = ArithmeticOf<S>>
struct BatchNorm {
  static constexpr int kWidth = V;
  S* y;
  const S *x, *residual;
  AffineOf<T> affine;
  bool relu, is_aligned;

  struct Read {
    Pack<S, V> x, residual;
  };
  __device__ Affine<T, V> channels(int64_t c) const { return affine.template at<V>(c); }
  __device__ Read read(int64_t i) const {
    return {load_pack<V>(x + i, is_aligned),
            residual != nullptr ? load_pack<V>(residual + i, is_aligned) : Pack<S, V>{}};
  }
  __device__ void write(int64_t i, const Read& in, const Affine<T, V>& channels) const {
    Pack<S, V> out;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      T value = channels.normalised(v, convert<T>(in.x.at[v]));
      if (residual != nullptr) value += convert<T>(in.residual.at[v]);
      out.at[v] = convert<S>(relu && value < T(0) ? T(0) : value);
    }
    store_pack(y + i, out, is_aligned);
  }
};

/// g = dy where relu let the value through (y > 0), else 0, and xhat.
template <class S>
struct BatchNormPart {
  ArithmeticOf<S> g;
  Exact<S> xhat;
};
template <class S, class T = ArithmeticOf<S>>
struct BatchNormInputs {
  const S *dy, *x, *y;  // y: null where it is made again
  AffineOf<T> affine;
  bool relu, is_aligned;

  template <int V>
  struct Read {
    Pack<S, V> dy, x, y;
  };
  template <int V>
  __device__ Read<V> read(int64_t i) const {
    return {load_pack<V>(dy + i, is_aligned), load_pack<V>(x + i, is_aligned),
            y != nullptr ? load_pack<V>(y + i, is_aligned) : Pack<S, V>{}};
  }
  template <int V>
  __device__ BatchNormPart<S> part(int v, const Read<V>& in, const Affine<T, V>& channels) const {
    using A = Exact<S>;
    const T here = convert<T>(in.x.at[v]);
    const T seen = y != nullptr ? convert<T>(in.y.at[v]) : channels.normalised(v, here);
    return {!relu || seen > T(0) ? convert<T>(in.dy.at[v]) : T(0),
            (static_cast<A>(here) - static_cast<A>(channels.mean.at[v])) * static_cast<A>(channels.rstd.at[v])};
  }
};
/// g and g xhat of each element.
template <class S, int V>
struct BatchNormTerms {
  static constexpr int kWidth = V;
  BatchNormInputs<S> inputs;
  int64_t columns;
  __device__ void operator()(int64_t r, int64_t c, double (&out)[V][2]) const {
    const auto channels = inputs.affine.template at<V>(c);
    const auto in = inputs.template read<V>(r * columns + c);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const BatchNormPart<S> part = inputs.part(v, in, channels);
      out[v][0] = static_cast<double>(part.g);
      out[v][1] = static_cast<double>(static_cast<Exact<S>>(part.g) * part.xhat);
    }
  }
};
/// dbeta = sum g; dgamma = sum g xhat; the means of both are kept in f64 for dx.
template <class T>
struct StoreAffineGrad {
  T *dbeta, *dgamma;
  double* means;  // (C, 2), or null
  double n;
  __device__ void operator()(int64_t c, const double (&totals)[2]) const {
    if (dbeta != nullptr) dbeta[c] = static_cast<T>(totals[0]);
    if (dgamma != nullptr) dgamma[c] = static_cast<T>(totals[1]);
    if (means != nullptr) means[2 * c] = totals[0] / n, means[2 * c + 1] = totals[1] / n;
  }
};
template <class S, int V>
struct BatchNormDx {
  using A = Exact<S>;
  using T = ArithmeticOf<S>;
  static constexpr int kWidth = V;
  S *dx, *dresidual;
  BatchNormInputs<S> inputs;
  const double* means;
  bool training;

  struct Channels {
    Affine<T, V> affine;
    A mean_g[V], mean_g_xhat[V], scale[V];
  };
  __device__ Channels channels(int64_t c) const {
    Channels k;
    k.affine = inputs.affine.template at<V>(c);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      k.mean_g[v] = static_cast<A>(means[2 * (c + v)]);
      k.mean_g_xhat[v] = static_cast<A>(means[2 * (c + v) + 1]);
      k.scale[v] = static_cast<A>(static_cast<double>(k.affine.gamma.at[v]) * static_cast<double>(k.affine.rstd.at[v]));
    }
    return k;
  }
  __device__ auto read(int64_t i) const { return inputs.template read<V>(i); }
  template <class Read>
  __device__ void write(int64_t i, const Read& in, const Channels& k) const {
    Pack<S, V> of_residual, of_x;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const BatchNormPart<S> part = inputs.part(v, in, k.affine);
      const A g = static_cast<A>(part.g);
      of_residual.at[v] = convert<S>(part.g);
      of_x.at[v] = convert<S>(k.scale[v] * (training ? g - k.mean_g[v] - part.xhat * k.mean_g_xhat[v] : g));
    }
    if (dresidual != nullptr) store_pack(dresidual + i, of_residual, inputs.is_aligned);
    if (dx != nullptr) store_pack(dx + i, of_x, inputs.is_aligned);
  }
};

// ---- layer norm

template <class Plan, class S, class T = ArithmeticOf<S>>
__global__ void __launch_bounds__(Plan::kBlock* Plan::kRowsABlock)
    layer_norm_kernel(int64_t rows, int64_t size, double eps, const S* x, const T* gamma, const T* beta, S* y, T* mean,
                      T* rstd, bool is_aligned) {
  using A = Exact<S>;
  constexpr int V = Plan::V;
  const int64_t row = Plan::row();
  if (row >= rows) return;  // a whole warp, or no thread of the block
  const typename Plan::Share share(x + row * size, size, is_aligned);
  double sum = 0;
  share.each([&](int p, int64_t first) {
    const auto here = share.at(p, first);
#pragma unroll
    for (int v = 0; v < V; ++v) sum += static_cast<double>(here.at[v]);
  });
  const double average = over_block<SumOf, Plan::kBlock>(sum) / static_cast<double>(size);
  double squares = 0;
  share.each([&](int p, int64_t first) {
    const auto here = share.at(p, first);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const double centred = static_cast<double>(here.at[v]) - average;
      squares += centred * centred;
    }
  });
  const double scale = 1 / sqrt(over_block<SumOf, Plan::kBlock>(squares) / static_cast<double>(size) + eps);
  const auto m = static_cast<A>(average), r = static_cast<A>(scale);
  share.each([&](int p, int64_t first) {
    const auto here = share.at(p, first);
    const Pack<T, V> gain = load_pack<V>(gamma + first, is_aligned), bias = load_pack<V>(beta + first, is_aligned);
    Pack<S, V> out;
#pragma unroll
    for (int v = 0; v < V; ++v)
      out.at[v] = convert<S>(static_cast<T>((static_cast<A>(here.at[v]) - m) * r) * gain.at[v] + bias.at[v]);
    store_pack(y + row * size + first, out, is_aligned);
  });
  if (threadIdx.x == 0) {
    mean[row] = static_cast<T>(average);
    rstd[row] = static_cast<T>(scale);
  }
}

// With g = gamma dy and means over the row: dx = rstd (g - mean(g) - xhat mean(g xhat))
template <class Plan, class S, class T = ArithmeticOf<S>>
__global__ void __launch_bounds__(Plan::kBlock* Plan::kRowsABlock)
    layer_norm_dx_kernel(int64_t rows, int64_t size, const S* dy, const S* x, const T* mean, const T* rstd,
                         const T* gamma, S* dx, bool is_aligned) {
  using A = Exact<S>;
  constexpr int V = Plan::V;
  const int64_t row = Plan::row();
  if (row >= rows) return;  // a whole warp, or no thread of the block
  const auto m = static_cast<A>(mean[row]), scale = static_cast<A>(rstd[row]);
  const typename Plan::Share of_dy(dy + row * size, size, is_aligned), of_x(x + row * size, size, is_aligned);
  // f(first, g, xhat) for each pack of the share
  const auto each = [&](const auto& f) {
    of_x.each([&](int p, int64_t first) {
      const Pack<T, V> gain = load_pack<V>(gamma + first, is_aligned);
      const auto here_dy = of_dy.at(p, first), here_x = of_x.at(p, first);
      A g[V], xhat[V];
#pragma unroll
      for (int v = 0; v < V; ++v) {
        g[v] = static_cast<A>(gain.at[v]) * static_cast<A>(here_dy.at[v]);
        xhat[v] = (static_cast<A>(here_x.at[v]) - m) * scale;
      }
      f(first, g, xhat);
    });
  };
  double sum_g = 0, sum_g_xhat = 0;
  each([&](int64_t, const A(&g)[V], const A(&xhat)[V]) {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      sum_g += static_cast<double>(g[v]);
      sum_g_xhat += static_cast<double>(g[v] * xhat[v]);
    }
  });
  const auto mean_g = static_cast<A>(over_block<SumOf, Plan::kBlock>(sum_g) / static_cast<double>(size));
  const auto mean_g_xhat = static_cast<A>(over_block<SumOf, Plan::kBlock>(sum_g_xhat) / static_cast<double>(size));
  each([&](int64_t first, const A(&g)[V], const A(&xhat)[V]) {
    Pack<S, V> out;
#pragma unroll
    for (int v = 0; v < V; ++v) out.at[v] = convert<S>(scale * (g[v] - mean_g - xhat[v] * mean_g_xhat));
    store_pack(dx + row * size + first, out, is_aligned);
  });
}

template <class S, int V, class T = ArithmeticOf<S>>
struct LayerNormTerms {
  static constexpr int kWidth = V;
  const S *dy, *x;
  const T *mean, *rstd;
  int64_t size;
  bool is_aligned;
  __device__ void operator()(int64_t r, int64_t d, double (&out)[V][2]) const {
    using A = Exact<S>;
    const Pack<S, V> packed_dy = load_pack<V>(dy + r * size + d, is_aligned),
                     packed_x = load_pack<V>(x + r * size + d, is_aligned);
    const auto m = static_cast<A>(mean[r]), scale = static_cast<A>(rstd[r]);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const auto g = convert<A>(packed_dy.at[v]);
      out[v][0] = static_cast<double>(g);
      out[v][1] = static_cast<double>(g * ((convert<A>(packed_x.at[v]) - m) * scale));
    }
  }
};

template <class T>
T* pointer_or_null(const View& v) {
  return v.defined() ? v.ptr<T>() : nullptr;
}

}  // namespace

// mean[c] = 1/n sum x[., c];  var[c] = 1/n sum (x[., c] - mean[c])^2
void CudaBackend::moments(const View& mean, const View& var, const View& x) {
  const Rows rows(x.shape);
  visit_activations("moments", x.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    const StoreShifted<S> store{mean.ptr<T>(), var.ptr<T>(), x.ptr<S>(), static_cast<double>(rows.count)};
    with_width<kSummed<S>>(rows.size, [&](auto width) {
      constexpr int V = decltype(width)::value;
      combine_columns<SumOf, 2>(stream(), rows.count, rows.size,
                                ShiftedSquares<S, V>{x.ptr<S>(), rows.size, aligned<V>(x.ptr<S>())}, store);
    });
  });
}

// y = relu?(gamma xhat + beta + residual?)
void CudaBackend::batch_norm(const BatchNormArgs& a) {
  const Rows rows(a.x.shape);
  visit_activations("batch_norm", a.x.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    AffineOf<T> affine{a.mean.ptr<T>(), a.rstd.ptr<T>(), a.gamma.ptr<T>(), a.beta.ptr<T>(), false};
    S *const y = a.y.ptr<S>(), *const x = a.x.ptr<S>(), *const residual = pointer_or_null<S>(a.residual);
    with_width<kPack<S>>(rows.size, [&](auto width) {
      constexpr int V = decltype(width)::value;
      affine.is_aligned = all_aligned<V>(affine.mean, affine.rstd, affine.gamma, affine.beta);
      for_each_channel(stream(), rows, BatchNorm<S, V>{y, x, residual, affine, a.relu, all_aligned<V>(y, x, residual)});
    });
  });
}

// dresidual = g;  dbeta = sum g;  dgamma = sum g xhat
// dx = gamma rstd (g - dbeta / n - xhat dgamma / n) in training, when mean and rstd depended on x, else gamma rstd g
void CudaBackend::batch_norm_grad(const BatchNormGradArgs& a) {
  const Rows rows(a.x.shape);
  visit_activations("batch_norm_grad", a.x.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    const AffineOf<T> affine{a.mean.ptr<T>(), a.rstd.ptr<T>(), a.gamma.ptr<T>(), pointer_or_null<T>(a.beta), false};
    BatchNormInputs<S> inputs{a.dy.ptr<S>(), a.x.ptr<S>(), pointer_or_null<S>(a.y), affine, a.relu, false};
    S *const dx = pointer_or_null<S>(a.dx), *const dresidual = pointer_or_null<S>(a.dresidual);
    Scratch scratch(stream());
    double* const means = scratch.take<double>(2 * rows.size);
    const StoreAffineGrad<T> store{pointer_or_null<T>(a.dbeta), pointer_or_null<T>(a.dgamma), means,
                                   static_cast<double>(rows.count)};
    const auto align = [&](auto width) {
      constexpr int V = decltype(width)::value;
      inputs.affine.is_aligned = all_aligned<V>(affine.mean, affine.rstd, affine.gamma, affine.beta);
      inputs.is_aligned = all_aligned<V>(inputs.dy, inputs.x, inputs.y, dx, dresidual);
    };
    with_width<kSummed<S>>(rows.size, [&](auto width) {
      align(width);
      combine_columns<SumOf, 2>(stream(), rows.count, rows.size,
                                BatchNormTerms<S, decltype(width)::value>{inputs, rows.size}, store);
    });
    if (dx == nullptr && dresidual == nullptr) return;
    with_width<kPack<S>>(rows.size, [&](auto width) {
      align(width);
      for_each_channel(stream(), rows,
                       BatchNormDx<S, decltype(width)::value>{dx, dresidual, inputs, means, a.training});
    });
  });
}

// Per row of D elements: mean = 1/D sum x;  rstd = 1 / sqrt(1/D sum (x - mean)^2 + eps);  y = gamma xhat + beta
void CudaBackend::layer_norm(const LayerNormArgs& a) {
  const Rows rows(a.x.shape);
  visit_activations("layer_norm", a.x.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    S *const x = a.x.ptr<S>(), *const y = a.y.ptr<S>();
    const T *const gamma = a.gamma.ptr<T>(), *const beta = a.beta.ptr<T>();
    with_row_plan<S>(rows.size, [&](auto plan) {
      using Plan = decltype(plan);
      launch(stream(), layer_norm_kernel<Plan, S>, Plan::grid(rows.count), Plan::block(), 0, rows.count, rows.size,
             a.eps, x, gamma, beta, y, a.mean.ptr<T>(), a.rstd.ptr<T>(), all_aligned<Plan::V>(x, y, gamma, beta));
    });
  });
}

// dx as above;  dgamma = sum over rows of dy xhat;  dbeta = sum over rows of dy
void CudaBackend::layer_norm_grad(const LayerNormGradArgs& a) {
  const Rows rows(a.x.shape);
  visit_activations("layer_norm_grad", a.x.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    const S *const dy = a.dy.ptr<S>(), *const x = a.x.ptr<S>();
    const T *const mean = a.mean.ptr<T>(), *const rstd = a.rstd.ptr<T>(), *const gamma = a.gamma.ptr<T>();
    if (a.dgamma.defined() || a.dbeta.defined())
      with_width<kSummed<S>>(rows.size, [&](auto width) {
        constexpr int V = decltype(width)::value;
        combine_columns<SumOf, 2>(
            stream(), rows.count, rows.size, LayerNormTerms<S, V>{dy, x, mean, rstd, rows.size, all_aligned<V>(dy, x)},
            StoreAffineGrad<T>{pointer_or_null<T>(a.dbeta), pointer_or_null<T>(a.dgamma), nullptr, 1});
      });
    if (!a.dx.defined()) return;
    S* const dx = a.dx.ptr<S>();  // last: it may be dy
    with_row_plan<S>(rows.size, [&](auto plan) {
      using Plan = decltype(plan);
      launch(stream(), layer_norm_dx_kernel<Plan, S>, Plan::grid(rows.count), Plan::block(), 0, rows.count, rows.size,
             dy, x, mean, rstd, gamma, dx, all_aligned<Plan::V>(dy, x, gamma, dx));
    });
  });
}

}  // namespace tacit::cuda
