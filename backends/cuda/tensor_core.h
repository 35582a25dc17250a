// A product of small matrices by the tensor cores of a warp: 16 x 8 of f32 sums, 8 steps of the summed index, operands
// in tf32 (10 bits of mantissa). PTX ISA, "Matrix fragments for mma.m16n8k8". The rule: all 32 threads of a warp call
// together; each holds a part of every matrix, by lane g = lane / 4, t = lane % 4:
//   left (16 x 8):  [g][t], [g + 8][t], [g][t + 4], [g + 8][t + 4]
//   right (8 x 8):  [t][g], [t + 4][g]
//   sums (16 x 8):  [g][2t], [g][2t + 1], [g + 8][2t], [g + 8][2t + 1]
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace tacit::cuda {

/// Rounded to tf32, to nearest with ties away from zero; in the bits of an f32.
__device__ inline uint32_t to_tf32(float value) {
#ifdef TACIT_CUDA_EMULATED
  return (__builtin_bit_cast(uint32_t, value) + 0x1000u) & ~0x1fffu;
#else
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
#endif
}

/// sums += left right.
__device__ inline void multiply_add(float (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2]) {
#ifdef TACIT_CUDA_EMULATED
  // What the instruction does, by asking the lane that holds each factor.
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  const auto from = [](uint32_t bits, int source) {
    return __builtin_bit_cast(float, __shfl_sync(0xffffffffu, bits, source));
  };
  for (int k = 0; k < 8; ++k) {
    const float a[2] = {from(left[k / 4 * 2], g * 4 + k % 4), from(left[k / 4 * 2 + 1], g * 4 + k % 4)};
    const float b[2] = {from(right[k / 4], 2 * t * 4 + k % 4), from(right[k / 4], (2 * t + 1) * 4 + k % 4)};
    for (int i = 0; i < 4; ++i) sums[i] += a[i / 2] * b[i % 2];
  }
#else
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
#endif
}

}  // namespace tacit::cuda
