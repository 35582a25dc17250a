// Which instruction set the kernels use: asks the CPU once, and lets TACIT_CPU choose less.
#include <cstdlib>
#include <string_view>

#include "backends/cpu/kernels/dispatch.h"
#include "tensor/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace tacit::cpu {
namespace {

constexpr std::string_view kNames[] = {"v2", "v3", "v4"};

#if defined(__x86_64__)
// Features that not every compiler's __builtin_cpu_supports knows by name.
bool has_lzcnt_movbe_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_MOVBE) || !(c & bit_F16C)) return false;
  return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & bit_LZCNT);
}
#endif

}  // namespace

// __builtin_cpu_supports counts AVX and AVX-512 only when the operating system saves their registers.
Isa detected_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v2 = __builtin_cpu_supports("sse3") && __builtin_cpu_supports("ssse3") &&
                  __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("sse4.2") &&
                  __builtin_cpu_supports("popcnt");
  TACIT_CHECK(v2, "[cpu] this CPU lacks SSE4.2 or POPCNT, which tacit needs (x86-64-v2)");
  const bool v3 = __builtin_cpu_supports("avx") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && has_lzcnt_movbe_f16c();
  if (!v3) return Isa::v2;
  const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  return v4 ? Isa::v4 : Isa::v3;
#else
  return Isa::v2;
#endif
}

Isa choose_isa(const char* wanted, Isa best) {
  if (wanted == nullptr || *wanted == '\0') return best;
  for (int i = 0; i < 3; ++i) {
    if (wanted != kNames[i]) continue;
    const Isa isa = static_cast<Isa>(i);
    TACIT_CHECK(isa <= best, "[cpu] TACIT_CPU=", wanted, ": this CPU lacks ", isa_name(isa), "; it can do ",
                isa_name(best));
    return isa;
  }
  detail::fail("[cpu] TACIT_CPU=", wanted, " is not one of v2, v3, v4; unset it to use the best: ", isa_name(best));
}

Isa cpu_isa() {
  static const Isa isa = [] {
    const Isa best = detected_isa(), chosen = choose_isa(std::getenv("TACIT_CPU"), best);
#if defined(TACIT_NATIVE)
    TACIT_CHECK(chosen == best, "[cpu] TACIT_CPU=", isa_name(chosen),
                ": this build has the kernels of its own machine alone (TACIT_NATIVE); unset it");
#endif
    return chosen;
  }();
  return isa;
}

const char* isa_name(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::v2:
      return "x86-64-v2 (SSE4.2)";
    case Isa::v3:
      return "x86-64-v3 (AVX2, FMA)";
    case Isa::v4:
      return "x86-64-v4 (AVX-512)";
  }
#endif
  static_cast<void>(isa);
  return "native";
}

}  // namespace tacit::cpu
