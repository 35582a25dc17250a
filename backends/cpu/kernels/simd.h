// Vectors as wide as the registers of the instruction set that a kernel file is compiled for, and how to unroll loops
// over them. Portable vector types: GCC and clang make the right instructions of + and *.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/widths.h"

// TACIT_IVDEP: no turn of the loop reads what another writes, whatever the pointers look like.
#if defined(__clang__)
// A loop that calls the C library, as some element-wise functions do, stays scalar, which clang would report.
#pragma clang diagnostic ignored "-Wpass-failed"
#define TACIT_UNROLL _Pragma("clang loop unroll(full)")
#define TACIT_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define TACIT_UNROLL _Pragma("GCC unroll 64")
#define TACIT_IVDEP _Pragma("GCC ivdep")
#endif

namespace tacit::cpu::TACIT_ISA {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

template <class T>
struct Simd {
  typedef T Vec __attribute__((vector_size(kVectorBytes)));
  static constexpr int kLanes = kVectorBytes / sizeof(T);
  static constexpr int kNr = 2 * kLanes;  ///< columns of a panel of products: two vectors
};
template <class T>
using Vec = typename Simd<T>::Vec;

template <class V, class T>
inline V load(const T* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof(V));
  return v;
}
template <class V, class T>
inline void store(T* p, const V& v) {
  __builtin_memcpy(p, &v, sizeof(V));
}

/// The rows of a register tile: with two vectors a row, the sums, two vectors of B and one of A fit the registers.
#if defined(__AVX512F__)
inline constexpr int kMr = 12;  // of 32 registers
#else
inline constexpr int kMr = 6;  // of 16
#endif

/// The lowest tile (all, two thirds or one third of kMr) that holds the rows.
constexpr int tile_rows(int64_t rows) { return rows > kMr * 2 / 3 ? kMr : rows > kMr / 3 ? kMr * 2 / 3 : kMr / 3; }

/// Calls f with that height as a constant.
template <class F>
void with_tile_rows(int64_t rows, F&& f) {
  switch (tile_rows(rows)) {
    case kMr:
      return f(Width<kMr>());
    case kMr * 2 / 3:
      return f(Width<kMr * 2 / 3>());
    default:
      return f(Width<kMr / 3>());
  }
}

}  // namespace tacit::cpu::TACIT_ISA
