// Element-wise ops, reductions and matrix products: each value with its gradient formulas.
#include "autograd/ops.h"
#include "autograd/over.h"
#include "autograd/product_dtype.h"

namespace tacit {

namespace {

Tensor pass(const Tensor& dy) { return dy; }

Tensor scalar_like(const Tensor& x, double value) { return Tensor::scalar(value, x.dtype(), x.device()); }

Variable record_unary(UnaryOp op, Saves saves, const char* name, const Variable& x) {
  const Tensor y = unary(op, x.value());
  const Tensor kept_x = saves == Saves::Input ? x.value() : Tensor();
  const Tensor kept_y = saves == Saves::Output ? y : Tensor();
  return record(name, y, {{x, [=](const Tensor& dy) { return unary_grad(op, dy, kept_x, kept_y, over(dy)); }}});
}

}  // namespace

// ---- element-wise

#define TACIT_DEFINE(Functor, name, low, high) \
  Variable name(const Variable& x) { return record_unary(UnaryOp::Functor, Functor::saves, #name, x); }
TACIT_FOREACH_UNARY(TACIT_DEFINE)
#undef TACIT_DEFINE

// ---- arithmetic: formulas give the broadcast shape, the engine sums it to the input's

Variable add(const Variable& a, const Variable& b) {
  return record("add", add(a.value(), b.value()), {{a, pass}, {b, pass}});
}

Variable sub(const Variable& a, const Variable& b) {
  return record("sub", sub(a.value(), b.value()), {{a, pass}, {b, [](const Tensor& dy) { return neg(dy); }}});
}

Variable mul(const Variable& a, const Variable& b) {
  return record("mul", mul(a.value(), b.value()),
                {{a, [b = b.value()](const Tensor& dy) { return dy * b; }},
                 {b, [a = a.value()](const Tensor& dy) { return dy * a; }}});
}

Variable div(const Variable& a, const Variable& b) {
  const Tensor y = div(a.value(), b.value());
  return record("div", y,
                {{a, [b = b.value()](const Tensor& dy) { return dy / b; }},
                 {b, [y, b = b.value()](const Tensor& dy) { return neg(dy * y / b); }}});
}

namespace {
// The part of dy that goes to the chosen one of two inputs: nothing where the other was chosen, half where they tie.
Tensor share_of(const Tensor& dy, const Tensor& other_chosen, const Tensor& tie) {
  return where(other_chosen, scalar_like(dy, 0), where(tie, dy * 0.5, dy));
}
}  // namespace

Variable maximum(const Variable& a, const Variable& b) {
  const Tensor va = a.value(), vb = b.value();
  return record("maximum", maximum(va, vb),
                {{a, [=](const Tensor& dy) { return share_of(dy, less(va, vb), equal(va, vb)); }},
                 {b, [=](const Tensor& dy) { return share_of(dy, less(vb, va), equal(va, vb)); }}});
}

Variable minimum(const Variable& a, const Variable& b) {
  const Tensor va = a.value(), vb = b.value();
  return record("minimum", minimum(va, vb),
                {{a, [=](const Tensor& dy) { return share_of(dy, greater(va, vb), equal(va, vb)); }},
                 {b, [=](const Tensor& dy) { return share_of(dy, greater(vb, va), equal(va, vb)); }}});
}

Variable pow(const Variable& a, const Variable& b) {
  const Tensor va = a.value(), vb = b.value(), y = pow(va, vb);
  return record("pow", y,
                {{a,
                  [=](const Tensor& dy) {
                    // x^0 is constant, also at x = 0 where the formula would be 0 * inf.
                    const Tensor zero = scalar_like(dy, 0);
                    return where(equal(vb, zero), zero, dy * vb * pow(va, vb - 1));
                  }},
                 {b, [=](const Tensor& dy) { return dy * y * log(va); }}});
}

Variable where(const Tensor& cond, const Variable& a, const Variable& b) {
  return record("where", where(cond, a.value(), b.value()),
                {{a, [cond](const Tensor& dy) { return where(cond, dy, scalar_like(dy, 0)); }},
                 {b, [cond](const Tensor& dy) { return where(cond, scalar_like(dy, 0), dy); }}});
}

Variable operator+(const Variable& a, double b) { return record("add", a.value() + b, {{a, pass}}); }
Variable operator-(const Variable& a, double b) { return record("sub", a.value() - b, {{a, pass}}); }
Variable operator*(const Variable& a, double b) {
  return record("mul", a.value() * b, {{a, [b](const Tensor& dy) { return dy * b; }}});
}
Variable operator/(const Variable& a, double b) {
  return record("div", a.value() / b, {{a, [b](const Tensor& dy) { return dy / b; }}});
}
Variable operator-(double a, const Variable& b) {
  return record("sub", a - b.value(), {{b, [](const Tensor& dy) { return neg(dy); }}});
}
Variable operator/(double a, const Variable& b) {
  const Tensor y = a / b.value();
  return record("div", y, {{b, [y, b = b.value()](const Tensor& dy) { return neg(dy * y / b); }}});
}

// ---- dtypes

Variable cast(const Variable& x, DType dtype) {
  TACIT_CHECK(is_floating(dtype), "[cast] gradients exist for floating tensors only, not for ", name_of(dtype));
  if (x.dtype() == dtype) return x;
  return record("cast", x.value().to(dtype), {{x, [from = x.dtype()](const Tensor& dy) { return dy.to(from); }}});
}

Variable widen(const Variable& x) { return cast(x, wide_dtype(x.dtype())); }

Variable add_bias(const Variable& x, const Variable& b) {
  return record(
      "add_bias", add_bias(x.value(), b.value()),
      {{x, pass}, {b, [shape = b.shape(), dtype = b.dtype()](const Tensor& dy) { return sum_to(dy, shape, dtype); }}});
}

// ---- reductions

namespace {
Shape kept_shape(const Variable& x, std::initializer_list<int> dims) {
  return reduced_shape(x.shape(), std::span<const int>(dims.begin(), dims.size()));
}

// Gives dy, which may lack the reduced dimensions, the shape of x.
Tensor spread(const Tensor& dy, const Shape& kept, const Shape& x) { return dy.reshape(kept).broadcast_to(x); }

double count_of(const Shape& x, const Shape& kept) {
  return static_cast<double>(x.numel()) / static_cast<double>(kept.numel());
}

Variable record_extremum(const char* op, const Variable& x, const Tensor& y, const Shape& kept) {
  return record(op, y, {{x, [x = x.value(), y, kept](const Tensor& dy) {
                           const Tensor chosen = equal(x, y.reshape(kept));
                           const Tensor count = sum_to(chosen.to(x.dtype()), kept);
                           return where(chosen, dy.reshape(kept) / count, scalar_like(dy, 0));
                         }}});
}
}  // namespace

Variable sum(const Variable& x, std::initializer_list<int> dims, bool keepdim) {
  return record(
      "sum", sum(x.value(), dims, keepdim),
      {{x, [kept = kept_shape(x, dims), shape = x.shape()](const Tensor& dy) { return spread(dy, kept, shape); }}});
}

Variable mean(const Variable& x, std::initializer_list<int> dims, bool keepdim) {
  return record("mean", mean(x.value(), dims, keepdim),
                {{x, [kept = kept_shape(x, dims), shape = x.shape()](const Tensor& dy) {
                    return spread(dy / count_of(shape, kept), kept, shape);
                  }}});
}

Variable amax(const Variable& x, std::initializer_list<int> dims, bool keepdim) {
  return record_extremum("amax", x, amax(x.value(), dims, keepdim), kept_shape(x, dims));
}

Variable amin(const Variable& x, std::initializer_list<int> dims, bool keepdim) {
  return record_extremum("amin", x, amin(x.value(), dims, keepdim), kept_shape(x, dims));
}

Variable var(const Variable& activations, std::initializer_list<int> dims, bool keepdim) {
  const Variable x = widen(activations);
  const Tensor mu = mean(x.value(), dims, true);
  return record("var", mean(square(x.value() - mu), dims, keepdim),
                {{x, [x = x.value(), mu](const Tensor& dy) {
                    const Shape& kept = mu.shape();
                    return (x - mu) * (dy.reshape(kept) * (2 / count_of(x.shape(), kept)));
                  }}});
}

// ---- products

Variable matmul(const Variable& a, const Variable& b) {
  const Tensor va = product_factor(a.value()), vb = product_factor(b.value());
  return record("matmul", matmul(va, vb),
                {{a, [vb, dtype = a.dtype()](const Tensor& dy) { return matmul(dy, vb.t(), dtype); }},
                 {b, [va, dtype = b.dtype()](const Tensor& dy) { return matmul(va.t(), dy, dtype); }}});
}

}  // namespace tacit
