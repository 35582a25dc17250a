// The tensor cores' instructions that backends/cuda/tensor_core.h has, by shuffles. The rule: what it says of fragments
// holds here too, so that a kernel which asks for the wrong part gets wrong numbers.
#pragma once

#include "tests/cuda_emulator/device.h"

namespace emulator {

inline uint32_t to_tf32(float value) { return (__builtin_bit_cast(uint32_t, value) + 0x1000u) & ~0x1fffu; }

inline void multiply_add(float (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2]) {
  const int g = static_cast<int>(lane()) / 4, t = static_cast<int>(lane()) % 4;
  const auto from = [](uint32_t bits, int source) {
    return __builtin_bit_cast(float, __shfl_sync(0xffffffffu, bits, source));
  };
  for (int k = 0; k < 8; ++k) {
    const float a[2] = {from(left[k / 4 * 2], g * 4 + k % 4), from(left[k / 4 * 2 + 1], g * 4 + k % 4)};
    const float b[2] = {from(right[k / 4], 2 * t * 4 + k % 4), from(right[k / 4], (2 * t + 1) * 4 + k % 4)};
    for (int i = 0; i < 4; ++i) sums[i] += a[i / 2] * b[i % 2];
  }
}

}  // namespace emulator
