#include "tensor/precision.h"

namespace tacit {

namespace {
thread_local Precision current = Precision::F32;
}  // namespace

PrecisionScope::PrecisionScope(Precision precision) : before_(current) { current = precision; }
PrecisionScope::~PrecisionScope() { current = before_; }

Precision precision() { return current; }

}  // namespace tacit
