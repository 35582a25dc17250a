// How exactly f32 products may be computed: matrix products, convolutions, attention, contrastive losses and their
// gradients, which read and write f32 all the same.
// The rule: f32 means f32; less is a scope that the caller opens, and it covers what runs on this thread while it
// lives, gradients included. It is a permission: backends that gain nothing from it compute as for F32.
#pragma once

#include <cstdint>
#include <string>

namespace tacit {

enum class Precision : uint8_t {
  F32,   ///< products of f32 numbers, summed in f32
  TF32,  ///< operands may be rounded to 10 bits of mantissa, as a GPU's tensor cores do; sums are f32
  BF16   ///< operands may be rounded to bf16, 7 bits, and the results of convolutions too; sums and the gradients of
         ///< weights are not
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
