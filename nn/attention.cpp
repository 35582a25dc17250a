#include "nn/attention.h"

#include "autograd/ops.h"

namespace tacit::nn {

LinearOptions transformer_linear() { return {.init = Init::xavier_uniform(), .zero_bias = true}; }

MultiheadAttention::MultiheadAttention(int64_t dim, int64_t heads)
    : heads_(heads), qkv_(dim, 3 * dim, transformer_linear()), proj_(dim, dim, transformer_linear()) {
  TACIT_CHECK(heads > 0 && dim % heads == 0, "[MultiheadAttention] dimension ", dim, " is not a multiple of ", heads,
              " heads");
}

Variable MultiheadAttention::operator()(const Variable& x) const { return proj_(self_attention(qkv_(x), heads_)); }

void MultiheadAttention::visit(Visitor& v) {
  v("qkv", qkv_);
  v("proj", proj_);
}

}  // namespace tacit::nn
