#include "backends/cpu/kernels/elementwise.h"

#include "backends/cpu/kernels/simd.h"

namespace tacit::cpu::TACIT_ISA {
namespace {

template <class T>
void unary(UnaryOp op, int64_t n, T* out, int64_t so, const T* x, int64_t sx) {
  visit(op, [&](auto f) {
    using F = decltype(f);
    if (so == 1 && sx == 1) {
      for (int64_t i = 0; i < n; ++i) out[i] = F::f(x[i]);
    } else {
      for (int64_t i = 0; i < n; ++i) out[i * so] = F::f(x[i * sx]);
    }
  });
}

template <class T>
void unary_grad(UnaryOp op, int64_t n, T* dx, int64_t sdx, const T* dy, int64_t sdy, const T* saved, int64_t ss) {
  visit(op, [&](auto f) {
    using F = decltype(f);
    if constexpr (F::saves == Saves::Nothing) {
      for (int64_t i = 0; i < n; ++i) dx[i * sdx] = dy[i * sdy] * F::df(T(0), T(0));
    } else {
      const auto df = [](T s) { return F::saves == Saves::Input ? F::df(s, T(0)) : F::df(T(0), s); };
      if (sdx == 1 && sdy == 1 && ss == 1) {
        for (int64_t i = 0; i < n; ++i) dx[i] = dy[i] * df(saved[i]);
      } else {
        for (int64_t i = 0; i < n; ++i) dx[i * sdx] = dy[i * sdy] * df(saved[i * ss]);
      }
    }
  });
}

template <class T>
void unary_both(UnaryOp op, int64_t n, T* y, T* dydx, const T* x) {
  visit(op, [&](auto f) {
    using F = decltype(f);
    if constexpr (F::saves == Saves::Input) {
      TACIT_IVDEP for (int64_t i = 0; i < n; ++i) {
        const T at = x[i];
        dydx[i] = F::df(at, T(0));
        y[i] = F::f(at);
      }
    }
  });
}

// The three layouts worth vector code: both rows, and one value against a row.
template <class F, class O, class T>
void binary_loop(int64_t n, O* out, int64_t so, const T* a, int64_t sa, const T* b, int64_t sb) {
  if (so == 1 && sa == 1 && sb == 1) {
    for (int64_t i = 0; i < n; ++i) out[i] = F::f(a[i], b[i]);
  } else if (so == 1 && sa == 1 && sb == 0) {
    const T value = *b;
    for (int64_t i = 0; i < n; ++i) out[i] = F::f(a[i], value);
  } else if (so == 1 && sa == 0 && sb == 1) {
    const T value = *a;
    for (int64_t i = 0; i < n; ++i) out[i] = F::f(value, b[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i * so] = F::f(a[i * sa], b[i * sb]);
  }
}

template <class T>
void binary(BinaryOp op, int64_t n, T* out, int64_t so, const T* a, int64_t sa, const T* b, int64_t sb) {
  visit(op, [&](auto f) { binary_loop<decltype(f)>(n, out, so, a, sa, b, sb); });
}

template <class T>
void compare(BinaryOp op, int64_t n, uint8_t* out, int64_t so, const T* a, int64_t sa, const T* b, int64_t sb) {
  visit(op, [&](auto f) { binary_loop<decltype(f)>(n, out, so, a, sa, b, sb); });
}

template <class T>
void select(int64_t n, T* out, int64_t so, const uint8_t* cond, int64_t sc, const T* a, int64_t sa, const T* b,
            int64_t sb) {
  if (so == 1 && sc == 1 && sa == 1 && sb == 1) {
    for (int64_t i = 0; i < n; ++i) out[i] = cond[i] ? a[i] : b[i];
  } else if (so == 1 && sc == 1 && sa == 0 && sb == 1) {
    const T value = *a;
    for (int64_t i = 0; i < n; ++i) out[i] = cond[i] ? value : b[i];
  } else {
    for (int64_t i = 0; i < n; ++i) out[i * so] = cond[i * sc] ? a[i * sa] : b[i * sb];
  }
}

template <class T>
constexpr ElementwiseTable<T> kTable = {unary<T>, unary_grad<T>, unary_both<T>, binary<T>, compare<T>, select<T>};

}  // namespace

const ElementwiseTable<float>& elementwise_table(float) { return kTable<float>; }
const ElementwiseTable<double>& elementwise_table(double) { return kTable<double>; }

}  // namespace tacit::cpu::TACIT_ISA
