// MultiheadAttention of tokens among themselves.
// The rule: one projection makes all of q, k and v, its rows ordered [q | k | v] x heads x size of a head (timm's qkv).
#pragma once

#include "nn/linear.h"

namespace tacit::nn {

/// The initial values of every Linear in a transformer: MAE's (He et al. 2022), xavier-uniform (the fused qkv as one
/// matrix) with bias 0.
LinearOptions transformer_linear();

/// Vaswani et al. 2017, without masks: x (N, T, dim) -> (N, T - first, dim), what the tokens from `first` on read of
/// all tokens. Members `qkv` and `proj`: timm's names, shapes and order.
class MultiheadAttention : public Module {
 public:
  /// dim must be a multiple of heads.
  MultiheadAttention(int64_t dim, int64_t heads);
  Variable operator()(const Variable& x, int64_t first = 0) const;
  void visit(Visitor& v) override;
  int64_t heads() const { return heads_; }

 private:
  int64_t heads_;
  Linear qkv_, proj_;
};

}  // namespace tacit::nn
