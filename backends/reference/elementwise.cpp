// Element-wise ops: one formula of tensor/scalar_ops.h for every element.
#include "backends/reference/backend.h"
#include "backends/reference/loops.h"

namespace tacit::reference {

void ReferenceBackend::fill(const View& out, double value) {
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T element = convert<T>(value);
    T* const y = out.ptr<T>();
    for_each(out.shape, {out.strides}, [&](int64_t o) { y[o] = element; });
  });
}

void ReferenceBackend::copy(const View& out, const View& in) {
  visit_dtype(out.dtype, [&](auto to) {
    visit_dtype(in.dtype, [&](auto from) {
      using To = decltype(to);
      using From = decltype(from);
      To* const y = out.ptr<To>();
      const From* const x = in.ptr<From>();
      for_each(out.shape, {out.strides, in.strides}, [&](int64_t o, int64_t i) { y[o] = convert<To>(x[i]); });
    });
  });
}

// y = f(x)
void ReferenceBackend::unary(UnaryOp op, const View& out, const View& in) {
  visit_floating("unary", in.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const y = out.ptr<T>();
    const T* const x = in.ptr<T>();
    visit(op, [&](auto function) {
      using F = decltype(function);
      for_each(out.shape, {out.strides, in.strides}, [&](int64_t o, int64_t i) { y[o] = F::f(x[i]); });
    });
  });
}

// dx = dy * f'(x, y), where f' reads one of x and y, or neither
void ReferenceBackend::unary_grad(UnaryOp op, const View& dx, const View& dy, const View& x, const View& y) {
  visit_floating("unary_grad", dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const d = dx.ptr<T>();
    const T* const g = dy.ptr<T>();
    visit(op, [&](auto function) {
      using F = decltype(function);
      if constexpr (F::saves == Saves::Nothing) {
        for_each(dx.shape, {dx.strides, dy.strides}, [&](int64_t o, int64_t i) { d[o] = g[i] * F::df(T(0), T(0)); });
      } else {
        constexpr bool kInput = F::saves == Saves::Input;
        const View& saved = kInput ? x : y;
        const T* const s = saved.ptr<T>();
        for_each(dx.shape, {dx.strides, dy.strides, saved.strides}, [&](int64_t o, int64_t i, int64_t j) {
          d[o] = g[i] * (kInput ? F::df(s[j], T(0)) : F::df(T(0), s[j]));
        });
      }
    });
  });
}

// out = f(a, b)
void ReferenceBackend::binary(BinaryOp op, const View& out, const View& a, const View& b) {
  visit_arithmetic("binary", a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const p = a.ptr<T>();
    const T* const q = b.ptr<T>();
    visit(op, [&](auto function) {
      using F = decltype(function);
      using Result = decltype(F::f(T(0), T(0)));
      Result* const y = out.ptr<Result>();
      for_each(out.shape, {out.strides, a.strides, b.strides},
               [&](int64_t o, int64_t i, int64_t j) { y[o] = F::f(p[i], q[j]); });
    });
  });
}

// out = cond ? a : b
void ReferenceBackend::select(const View& out, const View& cond, const View& a, const View& b) {
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const y = out.ptr<T>();
    const uint8_t* const c = cond.ptr<uint8_t>();
    const T* const p = a.ptr<T>();
    const T* const q = b.ptr<T>();
    for_each(out.shape, {out.strides, cond.strides, a.strides, b.strides},
             [&](int64_t o, int64_t k, int64_t i, int64_t j) { y[o] = c[k] != 0 ? p[i] : q[j]; });
  });
}

}  // namespace tacit::reference
