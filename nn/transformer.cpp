#include "nn/transformer.h"

#include "autograd/ops.h"

namespace tacit::nn {

FeedForward::FeedForward(int64_t dim, int64_t hidden)
    : fc1_(dim, hidden, transformer_linear()), fc2_(hidden, dim, transformer_linear()) {}

Variable FeedForward::operator()(const Variable& x) const {
  return feed_forward(x, fc1_.weight, fc1_.bias, fc2_.weight, fc2_.bias);
}

void FeedForward::visit(Visitor& v) {
  v("fc1", fc1_);
  v("fc2", fc2_);
}

Block::Block(BlockOptions o)
    : norm1_(o.dim, kViTNormEps),
      norm2_(o.dim, kViTNormEps),
      attn_(o.dim, o.heads),
      mlp_(o.dim, static_cast<int64_t>(static_cast<double>(o.dim) * o.mlp_ratio)),
      drop_path1_(o.drop_path),
      drop_path2_(o.drop_path) {}

Variable Block::operator()(const Variable& x, int64_t first) const {
  const Variable own = first == 0 ? x : slice(x, 1, first, x.size(1));
  const Variable attended = own + drop_path1_(attn_(norm1_(x), first));
  return attended + drop_path2_(mlp_(norm2_(attended)));
}

void Block::visit(Visitor& v) {
  v("norm1", norm1_);
  v("attn", attn_);
  v("drop_path1", drop_path1_);
  v("norm2", norm2_);
  v("mlp", mlp_);
  v("drop_path2", drop_path2_);
}

}  // namespace tacit::nn
