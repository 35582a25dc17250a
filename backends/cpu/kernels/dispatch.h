// How one kernel source serves several instruction sets. Each file in this folder is compiled once per set
// (-march=x86-64-v2, -v3, -v4; elsewhere, and with TACIT_NATIVE, once as "native"), with TACIT_ISA naming the set's
// namespace.
//
// The rules for a kernel file: it is serial (threads are the caller's business), it includes only <cstdint>-like
// headers, tensor/scalar_ops.h and its own table's header, everything it defines lives in namespace TACIT_ISA, and it
// uses nothing from std:: that has a body. Otherwise the linker may merge an AVX-512 copy of an inline function into
// code that an old CPU runs. tests/kernel_symbols checks the objects.
#pragma once

#include "tensor/hd.h"

#if defined(__x86_64__) && !defined(TACIT_NATIVE)
#define TACIT_ISA_LEVELS
#endif

namespace tacit::cpu {

enum class Isa { v2, v3, v4 };

/// The set that the kernels use: the best that this CPU has, or what TACIT_CPU says; decided once.
Isa cpu_isa();
/// The best set that this CPU and the operating system have. Error when that is not even v2.
Isa detected_isa();
/// What `wanted` (v2, v3 or v4; null or empty: `best`) names. Error if it is unknown or above `best`.
Isa choose_isa(const char* wanted, Isa best);
/// "x86-64-v3 (AVX2, FMA)" and the like; "native" on other architectures.
const char* isa_name(Isa);

}  // namespace tacit::cpu

// TACIT_ISA_TABLE(Table, name) declares `const Table& name()`: the table of function pointers of the chosen set.
// TACIT_ISA_TABLES(Template, name) declares `const Template<T>& name(T)` for float and double; the argument only
// chooses. A kernel file defines them inside namespace tacit::cpu::TACIT_ISA.
#define TACIT_ISA_TABLE(Table, name) TACIT_ISA_FUNCTION(Table, name, , )
#define TACIT_ISA_TABLES(Template, name)                 \
  TACIT_ISA_FUNCTION(Template<float>, name, float, 0.0f) \
  TACIT_ISA_FUNCTION(Template<double>, name, double, 0.0)

#if defined(TACIT_KERNEL_FILE)
#define TACIT_ISA_FUNCTION(Table, name, Parameter, argument) \
  namespace TACIT_ISA {                                      \
  const Table& name(Parameter);                              \
  }
#elif defined(TACIT_ISA_LEVELS)
#define TACIT_ISA_FUNCTION(Table, name, Parameter, argument) \
  namespace isa_v2 {                                         \
  const Table& name(Parameter);                              \
  }                                                          \
  namespace isa_v3 {                                         \
  const Table& name(Parameter);                              \
  }                                                          \
  namespace isa_v4 {                                         \
  const Table& name(Parameter);                              \
  }                                                          \
  inline const Table& name(Parameter) {                      \
    switch (cpu_isa()) {                                     \
      case Isa::v4:                                          \
        return isa_v4::name(argument);                       \
      case Isa::v3:                                          \
        return isa_v3::name(argument);                       \
      default:                                               \
        return isa_v2::name(argument);                       \
    }                                                        \
  }
#else
#define TACIT_ISA_FUNCTION(Table, name, Parameter, argument) \
  namespace isa_native {                                     \
  const Table& name(Parameter);                              \
  }                                                          \
  inline const Table& name(Parameter) { return isa_native::name(argument); }
#endif
