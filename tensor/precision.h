// How exactly f32 networks may be computed: the products in matrix products, convolutions, attention and contrastive
// losses, and, for BF16, the activations between them.
// The rule: f32 means f32; less is a scope that the caller opens, and it covers what runs on this thread while it
// lives, gradients included. It is a permission: backends that gain nothing from it compute as for F32 (the CPU's
// always; its activations stay f32).
#pragma once

#include <cstdint>
#include <string>

namespace tacit {

/// What products may lose; see the values.
enum class Precision : uint8_t {
  F32,   ///< products of f32 numbers, summed in f32
  TF32,  ///< operands of products may be rounded to 10 bits of mantissa, as a GPU's tensor cores do; sums are f32
  /// Products of Variables (matmul, linear, conv2d, attention) take bf16 copies of f32 inputs, 7 bits of mantissa, and
  /// give bf16, which norms, activation functions and pooling then read and write, computing in f32; so do the
  /// gradients of activations. Parameters, their gradients, statistics and losses are f32. Products of f32 Tensors (in
  /// losses and evaluation) are as for TF32. Where a backend lacks Backend::computes_bf16(): as for F32.
  BF16
};

/// "fp32", "tf32", "bf16". Throws Error for another name.
Precision precision_named(const std::string& name);

/// Sets the precision of a scope.
class PrecisionScope {
 public:
  explicit PrecisionScope(Precision);
  ~PrecisionScope();
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;

 private:
  Precision before_;
};

/// Of the innermost scope on this thread; F32 outside.
Precision precision();

}  // namespace tacit
