// How exactly f32 products may be computed. The rule: f32 means f32; less is a scope that the caller opens, and it
// covers what runs on this thread while it lives, gradients included.
#pragma once

#include <cstdint>

namespace tacit {

enum class Precision : uint8_t {
  F32,  ///< products of f32 numbers, summed in f32
  TF32  ///< f32 products and convolutions may round their operands to 10 bits of mantissa (a GPU's tensor cores do) and
        ///< sum in f32; backends that gain nothing from it compute as for F32
};

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
