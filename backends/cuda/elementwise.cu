// Element-wise ops: one formula of tensor/scalar_ops.h for every element.
#include "backends/cuda/backend.h"
#include "backends/cuda/map.h"

namespace tacit::cuda {

namespace {

template <class T>
struct Fill {
  T value;
  __device__ T operator()() const { return value; }
};

template <class To>
struct Convert {
  template <class From>
  __device__ To operator()(From x) const {
    return convert<To>(x);
  }
};

template <class F>
struct Unary {
  template <class S>
  __device__ S operator()(S x) const {
    return convert<S>(F::f(convert<ArithmeticOf<S>>(x)));
  }
};

// dx = dy * f'(x, y), where f' reads one of x and y, or neither
template <class F>
struct UnaryGrad {
  template <class S>
  __device__ S operator()(S dy, S saved) const {
    using T = ArithmeticOf<S>;
    const T s = convert<T>(saved);
    return convert<S>(convert<T>(dy) * (F::saves == Saves::Input ? F::df(s, T(0)) : F::df(T(0), s)));
  }
  template <class S>
  __device__ S operator()(S dy) const {
    using T = ArithmeticOf<S>;
    return convert<S>(convert<T>(dy) * F::df(T(0), T(0)));
  }
};

// Of bf16 operands, or one beside the f32 of a parameter or a scalar, as of f32.
template <class F, class Result>
struct Binary {
  template <class A, class B>
  __device__ Result operator()(A a, B b) const {
    return convert<Result>(F::f(convert<ArithmeticOf<A>>(a), convert<ArithmeticOf<B>>(b)));
  }
};

struct Select {
  template <class T>
  __device__ T operator()(uint8_t cond, T a, T b) const {
    return cond != 0 ? a : b;
  }
};

}  // namespace

void CudaBackend::fill(const View& out, double value) {
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    map(stream(), out.shape, Fill<T>{convert<T>(value)}, operand<T>(out));
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
      map(stream(), out.shape, Convert<To>(), operand<To>(out), operand<From>(in));
    });
  });
}

void CudaBackend::unary(UnaryOp op, const View& out, const View& x) {
  visit_activations("unary", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    visit(op, [&](auto function) {
      map(stream(), out.shape, Unary<decltype(function)>(), operand<T>(out), operand<T>(x));
    });
  });
}

void CudaBackend::unary_grad(UnaryOp op, const View& dx, const View& dy, const View& x, const View& y) {
  visit_activations("unary_grad", dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    visit(op, [&](auto function) {
      using F = decltype(function);
      if constexpr (F::saves == Saves::Nothing)
        map(stream(), dx.shape, UnaryGrad<F>(), operand<T>(dx), operand<T>(dy));
      else
        map(stream(), dx.shape, UnaryGrad<F>(), operand<T>(dx), operand<T>(dy),
            operand<T>(F::saves == Saves::Input ? x : y));
    });
  });
}

void CudaBackend::binary(BinaryOp op, const View& out, const View& a, const View& b) {
  const auto run = [&](auto left, auto right) {
    using A = decltype(left);
    using B = decltype(right);
    using T = ArithmeticOf<A>;
    visit(op, [&](auto function) {
      using F = decltype(function);
      using Plain = decltype(F::f(T(0), T(0)));
      using Result =
          std::conditional_t<std::is_same_v<Plain, T>, std::conditional_t<std::is_same_v<A, B>, A, BFloat16>, Plain>;
      map(stream(), out.shape, Binary<F, Result>(), operand<Result>(out), operand<A>(a), operand<B>(b));
    });
  };
  if (a.dtype == bf16 && b.dtype == bf16) return run(BFloat16(), BFloat16());
  if (a.dtype == bf16) return run(BFloat16(), float());
  if (b.dtype == bf16) return run(float(), BFloat16());
  visit_arithmetic("binary", a.dtype, [&](auto zero) { run(zero, zero); });
}

void CudaBackend::select(const View& out, const View& cond, const View& a, const View& b) {
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    map(stream(), out.shape, Select(), operand<T>(out), operand<uint8_t>(cond), operand<T>(a), operand<T>(b));
  });
}

}  // namespace tacit::cuda
