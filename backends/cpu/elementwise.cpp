// Element-wise ops: f32 and f64 by the vector kernels, the other types by plain loops.
#include "backends/cpu/kernels/elementwise.h"

#include <cstring>

#include "backends/cpu/backend.h"
#include "backends/cpu/loops.h"

namespace tacit::cpu {

namespace {

template <class To, class From>
void convert_all(const View& out, const View& in) {
  To* const y = out.ptr<To>();
  const From* const x = in.ptr<From>();
  for_stretches<2>(out.shape, {&out.strides, &in.strides}, [&](const auto& at, int64_t n, const auto& step) {
    To* const to = y + at[0];
    const From* const from = x + at[1];
    if (std::is_same_v<To, From> && step[0] == 1 && step[1] == 1) {
      std::memmove(static_cast<void*>(to), from, static_cast<size_t>(n) * sizeof(To));
      return;
    }
    for (int64_t i = 0; i < n; ++i) to[i * step[0]] = convert<To>(from[i * step[1]]);
  });
}

}  // namespace

void CpuBackend::fill(const View& out, double value) {
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T element = convert<T>(value);
    T* const y = out.ptr<T>();
    for_stretches<1>(out.shape, {&out.strides}, [&](const auto& at, int64_t n, const auto& step) {
      T* const to = y + at[0];
      for (int64_t i = 0; i < n; ++i) to[i * step[0]] = element;
    });
  });
}

void CpuBackend::copy(const View& out, const View& in) {
  visit_dtype(out.dtype, [&](auto to) {
    visit_dtype(in.dtype, [&](auto from) { convert_all<decltype(to), decltype(from)>(out, in); });
  });
}

void CpuBackend::unary(UnaryOp op, const View& out, const View& x) {
  visit_floating("unary", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const y = out.ptr<T>();
    const T* const in = x.ptr<T>();
    for_stretches<2>(out.shape, {&out.strides, &x.strides}, [&](const auto& at, int64_t n, const auto& step) {
      elementwise_table(zero).unary(op, n, y + at[0], step[0], in + at[1], step[1]);
    });
  });
}

void CpuBackend::unary_grad(UnaryOp op, const View& dx, const View& dy, const View& x, const View& y) {
  Saves saves = Saves::Nothing;
  visit(op, [&](auto function) { saves = decltype(function)::saves; });
  const View& saved = saves == Saves::Input ? x : saves == Saves::Output ? y : dy;
  visit_floating("unary_grad", dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const d = dx.ptr<T>();
    const T* const g = dy.ptr<T>();
    const T* const s = saved.ptr<T>();
    for_stretches<3>(
        dx.shape, {&dx.strides, &dy.strides, &saved.strides}, [&](const auto& at, int64_t n, const auto& step) {
          elementwise_table(zero).unary_grad(op, n, d + at[0], step[0], g + at[1], step[1], s + at[2], step[2]);
        });
  });
}

void CpuBackend::binary(BinaryOp op, const View& out, const View& a, const View& b) {
  visit_arithmetic("binary", a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const p = a.ptr<T>();
    const T* const q = b.ptr<T>();
    for_stretches<3>(
        out.shape, {&out.strides, &a.strides, &b.strides}, [&](const auto& at, int64_t n, const auto& step) {
          const T* const l = p + at[1];
          const T* const r = q + at[2];
          if constexpr (std::is_floating_point_v<T>) {
            if (compares(op))
              elementwise_table(zero).compare(op, n, out.ptr<uint8_t>() + at[0], step[0], l, step[1], r, step[2]);
            else
              elementwise_table(zero).binary(op, n, out.ptr<T>() + at[0], step[0], l, step[1], r, step[2]);
          } else {
            visit(op, [&](auto function) {
              using F = decltype(function);
              using Result = decltype(F::f(T(0), T(0)));
              Result* const y = out.ptr<Result>() + at[0];
              for (int64_t i = 0; i < n; ++i) y[i * step[0]] = F::f(l[i * step[1]], r[i * step[2]]);
            });
          }
        });
  });
}

void CpuBackend::select(const View& out, const View& cond, const View& a, const View& b) {
  const uint8_t* const c = cond.ptr<uint8_t>();
  visit_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const y = out.ptr<T>();
    const T* const p = a.ptr<T>();
    const T* const q = b.ptr<T>();
    for_stretches<4>(out.shape, {&out.strides, &cond.strides, &a.strides, &b.strides},
                     [&](const auto& at, int64_t n, const auto& step) {
                       if constexpr (std::is_floating_point_v<T>)
                         elementwise_table(zero).select(n, y + at[0], step[0], c + at[1], step[1], p + at[2], step[2],
                                                        q + at[3], step[3]);
                       else
                         for (int64_t i = 0; i < n; ++i)
                           y[at[0] + i * step[0]] =
                               c[at[1] + i * step[1]] ? p[at[2] + i * step[2]] : q[at[3] + i * step[3]];
                     });
  });
}

}  // namespace tacit::cpu
