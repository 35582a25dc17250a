// The pre-norm transformer block of ViT, and its parts; encoders and decoders are stacks of it.
// The rule: names and numbers are timm's; initial values are MAE's (transformer_linear() in nn/attention.h).
#pragma once

#include "nn/attention.h"
#include "nn/dropout.h"
#include "nn/norm.h"

namespace tacit::nn {

/// eps of every LayerNorm in a ViT.
inline constexpr double kViTNormEps = 1e-6;

/// fc2(gelu(fc1(x))) with the exact GELU; timm's Mlp.
class FeedForward : public Module {
 public:
  FeedForward(int64_t dim, int64_t hidden);
  Variable operator()(const Variable& x) const;
  void visit(Visitor& v) override;

 private:
  Linear fc1_, fc2_;
};

struct BlockOptions {
  int64_t dim = 192, heads = 3;
  double mlp_ratio = 4;
  double drop_path = 0;  ///< probability that a sample skips a branch; see nn/dropout.h
};

/// x + drop_path(attn(norm1(x))), then the same with mlp and norm2: (N, T, dim) -> (N, T - first, dim). From the token
/// `first` on: where a later layer reads only those, the others cost no more than their keys and values. Members norm1,
/// attn, norm2, mlp.
class Block : public Module {
 public:
  explicit Block(BlockOptions);
  Variable operator()(const Variable& x, int64_t first = 0) const;
  void visit(Visitor& v) override;

 private:
  LayerNorm norm1_, norm2_;
  MultiheadAttention attn_;
  FeedForward mlp_;
  DropPath drop_path1_, drop_path2_;
};

}  // namespace tacit::nn
