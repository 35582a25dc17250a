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

template <class T, class F>
struct Unary {
  T* y;
  const T* x;
  TACIT_HD void operator()(const int64_t (&at)[2]) const { y[at[0]] = F::f(x[at[1]]); }
};

// dx = dy * f'(x, y), where f' reads one of x and y, or neither
template <class T, class F>
struct UnaryGrad {
  T* dx;
  const T *dy, *saved;
  TACIT_HD void operator()(const int64_t (&at)[3]) const {
    const T s = F::saves == Saves::Nothing ? T(0) : saved[at[2]];
    dx[at[0]] = dy[at[1]] * (F::saves == Saves::Input ? F::df(s, T(0)) : F::df(T(0), s));
  }
};

template <class T, class F, class Result>
struct Binary {
  Result* y;
  const T *a, *b;
  TACIT_HD void operator()(const int64_t (&at)[3]) const { y[at[0]] = F::f(a[at[1]], b[at[2]]); }
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
  visit_floating("unary", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    visit(op, [&](auto function) {
      for_each(stream(), out.shape, {out.strides, x.strides}, Unary<T, decltype(function)>{out.ptr<T>(), x.ptr<T>()});
    });
  });
}

void CudaBackend::unary_grad(UnaryOp op, const View& dx, const View& dy, const View& x, const View& y) {
  visit_floating("unary_grad", dy.dtype, [&](auto zero) {
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
  visit_arithmetic("binary", a.dtype, [&](auto zero) {
    using T = decltype(zero);
    visit(op, [&](auto function) {
      using F = decltype(function);
      using Result = decltype(F::f(T(0), T(0)));
      for_each(stream(), out.shape, {out.strides, a.strides, b.strides},
               Binary<T, F, Result>{out.ptr<Result>(), a.ptr<T>(), b.ptr<T>()});
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
