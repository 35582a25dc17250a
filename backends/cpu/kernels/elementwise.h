// Element-wise loops over one row of elements. Strides count elements; 1 and 0 have vector code, others a scalar loop.
// The caller (cpu/elementwise.cpp) merges dimensions so that rows are long.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/dispatch.h"
#include "tensor/scalar_ops.h"

namespace tacit::cpu {

template <class T>
struct ElementwiseTable {
  void (*unary)(UnaryOp, int64_t n, T* out, int64_t out_stride, const T* x, int64_t x_stride);
  /// dx = dy * df(saved), where `saved` is what the functor saves: x or y; not read if it saves nothing.
  void (*unary_grad)(UnaryOp, int64_t n, T* dx, int64_t dx_stride, const T* dy, int64_t dy_stride, const T* saved,
                     int64_t saved_stride);
  /// y = f(x) and dydx = df(x), for functors that save their input; y may be x.
  void (*unary_both)(UnaryOp, int64_t n, T* y, T* dydx, const T* x);
  void (*binary)(BinaryOp, int64_t n, T* out, int64_t out_stride, const T* a, int64_t a_stride, const T* b,
                 int64_t b_stride);
  void (*compare)(BinaryOp, int64_t n, uint8_t* out, int64_t out_stride, const T* a, int64_t a_stride, const T* b,
                  int64_t b_stride);
  void (*select)(int64_t n, T* out, int64_t out_stride, const uint8_t* cond, int64_t cond_stride, const T* a,
                 int64_t a_stride, const T* b, int64_t b_stride);
};

TACIT_ISA_TABLES(ElementwiseTable, elementwise_table)

}  // namespace tacit::cpu
