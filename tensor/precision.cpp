#include "tensor/precision.h"

#include "tensor/error.h"

namespace tacit {

namespace {
thread_local Precision current = Precision::F32;
}  // namespace

Precision precision_named(const std::string& name) {
  if (name == "fp32") return Precision::F32;
  if (name == "tf32") return Precision::TF32;
  TACIT_CHECK(name == "bf16", "[precision] unknown precision '", name, "'; known: fp32, tf32, bf16");
  return Precision::BF16;
}

PrecisionScope::PrecisionScope(Precision precision) : before_(current) { current = precision; }
PrecisionScope::~PrecisionScope() { current = before_; }

Precision precision() { return current; }

}  // namespace tacit
