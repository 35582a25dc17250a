#include "nn/attention.h"

#include "autograd/ops.h"

namespace tacit::nn {

LinearOptions transformer_linear() { return {.init = Init::xavier_uniform(), .zero_bias = true}; }

MultiheadAttention::MultiheadAttention(int64_t dim, int64_t heads)
    : heads_(heads), qkv_(dim, 3 * dim, transformer_linear()), proj_(dim, dim, transformer_linear()) {
  TACIT_CHECK(heads > 0 && dim % heads == 0, "[MultiheadAttention] dimension ", dim, " is not a multiple of ", heads,
              " heads");
}

Variable MultiheadAttention::operator()(const Variable& x, int64_t first) const {
  if (first == 0) return proj_(self_attention(qkv_(x), heads_));
  const int64_t n = x.size(0), tokens = x.size(1), dim = x.size(2);
  TACIT_CHECK(first > 0 && first < tokens, "[MultiheadAttention] there is no token ", first, " of ", tokens);
  // k and v apart: as one product, their gradients would have to be put side by side again.
  const auto part = [&](const Variable& rows, int64_t which) {
    const Variable projected = linear(rows, slice(qkv_.weight, 0, which * dim, (which + 1) * dim),
                                      slice(qkv_.bias, 0, which * dim, (which + 1) * dim));
    return permute(reshape(projected, {n, rows.size(1), heads_, dim / heads_}), {0, 2, 1, 3});
  };
  const Variable y = attention(part(slice(x, 1, first, tokens), 0), part(x, 1), part(x, 2));
  return proj_(reshape(permute(y, {0, 2, 1, 3}), {n, tokens - first, dim}));
}

void MultiheadAttention::visit(Visitor& v) {
  v("qkv", qkv_);
  v("proj", proj_);
}

}  // namespace tacit::nn
