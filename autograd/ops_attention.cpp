// Attention over separate q, k, v, and over one fused projection. Both give the kernels views, so nothing is copied;
// the backward pass recomputes the probabilities from q, k and the log-sum-exp of each row.
#include <array>
#include <cmath>

#include "autograd/ops.h"
#include "autograd/product_dtype.h"
#include "tensor/multiply_adds.h"

namespace tacit {

namespace {

struct Heads {
  Tensor q, k, v;
};

// The kernels read rows of stride 1.
Tensor with_dense_rows(const Tensor& x) {
  return x.strides()[-1] == 1 || x.size(-1) == 1 ? x : x.contiguous_copy_if_needed();
}

// (N, heads, T, D) in the memory order (N, T, heads, D), which is that of tokens: joining the heads moves nothing.
Tensor empty_heads(const Tensor& like, int64_t tokens, int64_t size) {
  return Tensor::empty({like.size(0), tokens, like.size(1), size}, like.dtype(), like.device()).permute({0, 2, 1, 3});
}

double checked_scale(const char* op, double scale, int64_t size) {
  const double used = scale == 0 ? 1 / std::sqrt(static_cast<double>(size)) : scale;
  TACIT_CHECK(std::isfinite(used) && used > 0, "[", op, "] the scale must be positive and finite, got ", scale);
  return used;
}

struct Attended {
  Tensor y, lse;
};

// So many products of T x S numbers with q or k, and with v.
void count_attention(const Heads& x, int64_t with_keys, int64_t with_values) {
  MultiplyAdds::add(x.q.size(0) * x.q.size(1) * x.q.size(2) * x.k.size(2),
                    with_keys * x.q.size(3) + with_values * x.v.size(3));
}

Attended attend(const Heads& x, double scale) {
  count_attention(x, 1, 1);
  const Tensor y = empty_heads(x.q, x.q.size(2), x.v.size(3));
  const Tensor lse = Tensor::empty({x.q.size(0), x.q.size(1), x.q.size(2)}, wide_dtype(y.dtype()), y.device());
  if (y.numel() > 0)
    y.backend().attention(
        {.y = y.view(), .lse = lse.view(), .q = x.q.view(), .k = x.k.view(), .v = x.v.view(), .scale = scale});
  return {y, lse};
}

// Writes the gradients into d; an undefined one is not wanted.
void attend_grad(const Heads& d, const Tensor& dy, const Heads& x, const Attended& result, double scale) {
  if (dy.numel() == 0) {
    for (Tensor t : {d.q, d.k, d.v})
      if (t.defined()) t.fill_(0);
    return;
  }
  count_attention(x, 3, 2);  // q kᵀ again, dq and dk; dy vᵀ and dv
  const Tensor rows = with_dense_rows(dy);
  dy.backend().attention_grad({.dq = d.q.view(),
                               .dk = d.k.view(),
                               .dv = d.v.view(),
                               .dy = rows.view(),
                               .q = x.q.view(),
                               .k = x.k.view(),
                               .v = x.v.view(),
                               .y = result.y.view(),
                               .lse = result.lse.view(),
                               .scale = scale});
}

// The three parts of (N, T, 3 C) as views (N, heads, T, C / heads).
Heads parts_of(const Tensor& qkv, int64_t heads) {
  const Tensor split = qkv.reshape({qkv.size(0), qkv.size(1), 3, heads, qkv.size(2) / 3 / heads});
  const auto part = [&](int64_t i) { return split.select(2, i).permute({0, 2, 1, 3}); };
  return {part(0), part(1), part(2)};
}

}  // namespace

Variable attention(const Variable& q, const Variable& k, const Variable& v, double scale) {
  const Tensor vq = product_factor(q.value()), vk = product_factor(k.value()), vv = product_factor(v.value());
  check_same_kind("attention", vq, vk);
  check_same_kind("attention", vq, vv);
  check_activations("attention", vq);
  TACIT_CHECK(q.rank() == 4 && k.rank() == 4 && v.rank() == 4,
              "[attention] q, k and v must be (N, heads, tokens, size), got ", q.shape(), ", ", k.shape(), " and ",
              v.shape());
  const bool fits = q.size(0) == k.size(0) && q.size(1) == k.size(1) && q.size(3) == k.size(3) &&
                    q.size(0) == v.size(0) && q.size(1) == v.size(1) && k.size(2) == v.size(2);
  TACIT_CHECK(fits, "[attention] the shapes do not fit: q ", q.shape(), ", k ", k.shape(), ", v ", v.shape());
  TACIT_CHECK(k.size(2) > 0 && q.size(3) > 0 && v.size(3) > 0, "[attention] needs keys and sizes of at least 1, got k ",
              k.shape(), ", v ", v.shape());
  scale = checked_scale("attention", scale, q.size(3));

  const Heads x{with_dense_rows(vq), with_dense_rows(vk), with_dense_rows(vv)};
  const Attended result = attend(x, scale);
  const std::array<DType, 3> from = {q.dtype(), k.dtype(), v.dtype()};
  return record_joint("attention", result.y, {q, k, v}, [=](const Tensor& dy, const std::vector<bool>& needed) {
    const auto gradient = [&](bool wanted, const Tensor& like) {
      return wanted ? empty_heads(like, like.size(2), like.size(3)) : Tensor();
    };
    const Heads d{gradient(needed[0], x.q), gradient(needed[1], x.k), gradient(needed[2], x.v)};
    attend_grad(d, dy, x, result, scale);
    const auto as = [](DType dtype, const Tensor& t) { return t.defined() ? t.to(dtype) : t; };
    return std::vector<Tensor>{as(from[0], d.q), as(from[1], d.k), as(from[2], d.v)};
  });
}

Variable self_attention(const Variable& qkv, int64_t heads, double scale) {
  TACIT_CHECK(qkv.defined(), "[self_attention] the input is undefined");
  check_activations("self_attention", qkv.value());
  TACIT_CHECK(qkv.rank() == 3 && heads > 0 && qkv.size(2) > 0 && qkv.size(2) % (3 * heads) == 0,
              "[self_attention] qkv must be (N, T, 3 C) with C a multiple of the ", heads, " heads, got ", qkv.shape());
  const int64_t n = qkv.size(0), tokens = qkv.size(1), channels = qkv.size(2) / 3;
  scale = checked_scale("self_attention", scale, channels / heads);

  const Tensor dense = product_factor(qkv.value()).contiguous_copy_if_needed();
  const Heads x = parts_of(dense, heads);
  const Attended result = attend(x, scale);
  const Tensor y = result.y.permute({0, 2, 1, 3}).reshape({n, tokens, channels});
  return record("self_attention", y,
                {{qkv, [=, from = qkv.dtype()](const Tensor& dy) {
                    const Tensor d = Tensor::empty(dense.shape(), dense.dtype(), dense.device());
                    const Shape shape{n, tokens, heads, channels / heads};
                    attend_grad(parts_of(d, heads), dy.reshape(shape).permute({0, 2, 1, 3}), x, result, scale);
                    return d.to(from);
                  }}});
}

}  // namespace tacit
