// Element-wise ops: one formula of tensor/scalar_ops.h for every element.
#include "backends/cuda/backend.h"
#include "backends/cuda/launch.h"

namespace tacit::cuda {

namespace {

template <class T>
struct Fill {
  T* out;
  T value;
  TACIT_HD void operator()(const int64_t (&at)[1]) const { out[at[0]] = value; }
};

template <class To, class From>
struct Copy {
  To* out;
  const From* in;
  TACIT_HD void operator()(const int64_t (&at)[2]) const { out[at[0]] = convert<To>(in[at[1]]); }
};

template <class S, class F>
struct Unary {
  S* y;
  const S* x;
  TACIT_HD void operator()(const int64_t (&at)[2]) const {
    y[at[0]] = convert<S>(F::f(convert<ArithmeticOf<S>>(x[at[1]])));
  }
};

// dx = dy * f'(x, y), where f' reads one of x and y, or neither
template <class S, class F>
struct UnaryGrad {
  S* dx;
  const S *dy, *saved;
  TACIT_HD void operator()(const int64_t (&at)[3]) const {
    using T = ArithmeticOf<S>;
    const T s = F::saves == Saves::Nothing ? T(0) : convert<T>(saved[at[2]]);
    dx[at[0]] = convert<S>(convert<T>(dy[at[1]]) * (F::saves == Saves::Input ? F::df(s, T(0)) : F::df(T(0), s)));
  }
};

/// An operand beside bf16: bf16 too, or the f32 of a parameter or a scalar.
struct NarrowOrWide {
  const void* data;
  bool narrow;
  TACIT_HD float operator[](int64_t i) const {
    return narrow ? convert<float>(static_cast<const BFloat16*>(data)[i]) : static_cast<const float*>(data)[i];
  }
};

template <class F, class Result, class Operand>
struct Binary {
  Result* y;
  Operand a, b;
  TACIT_HD void operator()(const int64_t (&at)[3]) const { y[at[0]] = convert<Result>(F::f(a[at[1]], b[at[2]])); }
};

template <class T>
struct Select {
  T* out;
  const uint8_t* cond;
  const T *a, *b;
  TACIT_HD void operator()(const int64_t (&at)[4]) const { out[at[0]] = cond[at[1]] != 0 ? a[at[2]] : b[at[3]]; }
};

}  // namespace

void CudaBackend::fill(const View& out, double value) {
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each(stream(), out.shape, {out.strides}, Fill<T>{out.ptr<T>(), convert<T>(value)});
  });
}

void CudaBackend::copy(const View& out, const View& in) {
  if (out.dtype == in.dtype && out.contiguous() && in.contiguous()) {
    const size_t bytes = static_cast<size_t>(out.numel()) * size_of(out.dtype);
    if (bytes > 0 && out.data != in.data)
      check(cudaMemcpyAsync(out.data, in.data, bytes, cudaMemcpyDeviceToDevice, stream()), "copy");
    return;
  }
  visit_dtype(out.dtype, [&](auto to) {
    visit_dtype(in.dtype, [&](auto from) {
      using To = decltype(to);
      using From = decltype(from);
      for_each(stream(), out.shape, {out.strides, in.strides}, Copy<To, From>{out.ptr<To>(), in.ptr<From>()});
    });
  });
}

void CudaBackend::unary(UnaryOp op, const View& out, const View& x) {
  visit_activations("unary", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    visit(op, [&](auto function) {
      for_each(stream(), out.shape, {out.strides, x.strides}, Unary<T, decltype(function)>{out.ptr<T>(), x.ptr<T>()});
    });
  });
}

void CudaBackend::unary_grad(UnaryOp op, const View& dx, const View& dy, const View& x, const View& y) {
  visit_activations("unary_grad", dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    visit(op, [&](auto function) {
      using F = decltype(function);
      const View& saved = F::saves == Saves::Nothing ? dy : (F::saves == Saves::Input ? x : y);
      for_each(stream(), dx.shape, {dx.strides, dy.strides, saved.strides},
               UnaryGrad<T, F>{dx.ptr<T>(), dy.ptr<T>(), saved.ptr<T>()});
    });
  });
}

void CudaBackend::binary(BinaryOp op, const View& out, const View& a, const View& b) {
  if (a.dtype == bf16 || b.dtype == bf16)
    return visit(op, [&](auto function) {
      using F = decltype(function);
      using Result = std::conditional_t<std::is_same_v<decltype(F::f(0.f, 0.f)), float>, BFloat16, uint8_t>;
      for_each(
          stream(), out.shape, {out.strides, a.strides, b.strides},
          Binary<F, Result, NarrowOrWide>{out.ptr<Result>(), {a.data, a.dtype == bf16}, {b.data, b.dtype == bf16}});
    });
  visit_arithmetic("binary", a.dtype, [&](auto zero) {
    using T = decltype(zero);
    visit(op, [&](auto function) {
      using F = decltype(function);
      using Result = decltype(F::f(T(0), T(0)));
      for_each(stream(), out.shape, {out.strides, a.strides, b.strides},
               Binary<F, Result, const T*>{out.ptr<Result>(), a.ptr<T>(), b.ptr<T>()});
    });
  });
}

void CudaBackend::select(const View& out, const View& cond, const View& a, const View& b) {
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each(stream(), out.shape, {out.strides, cond.strides, a.strides, b.strides},
             Select<T>{out.ptr<T>(), cond.ptr<uint8_t>(), a.ptr<T>(), b.ptr<T>()});
  });
}

}  // namespace tacit::cuda
