// The tensor cores' instructions that backends/cuda/tensor_core.h has. The rule: what it says of fragments holds here
// too, so that a kernel which asks for the wrong part gets wrong numbers.
#pragma once

#include "tensor/dtype.h"
#include "tests/cuda_emulator/device.h"

namespace emulator {

inline uint32_t to_tf32(float value) { return (__builtin_bit_cast(uint32_t, value) + 0x1000u) & ~0x1fffu; }
inline uint32_t to_bf16_pair(float low, float high) {
  return tacit::BFloat16(low).bits | static_cast<uint32_t>(tacit::BFloat16(high).bits) << 16;
}

/// A lane's parts of the two factors.
struct Fragments {
  uint32_t left[4], right[2];
};
/// Where the lanes of a warp lay them out for one another: threads are fibers, one of which runs at a time.
inline Fragments fragments_of[kMostThreads];

/// sums += left right over kSteps of the summed index; element(bits, k) is that of step k in a register.
template <int kSteps, class Element>
void multiply_add(float (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2], const Element& element) {
  // A register holds kSteps / 8 neighbours of the summed index; a lane's second one is half of them further on.
  constexpr int kInRegister = kSteps / 8;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  Fragments* const warp = fragments_of + (thread - lane());
  std::memcpy(warp[lane()].left, left, sizeof left);
  std::memcpy(warp[lane()].right, right, sizeof right);
  __syncwarp();
  const int g = static_cast<int>(lane()) / 4, t = static_cast<int>(lane()) % 4;
  for (int k = 0; k < kSteps; ++k) {
    const int half = k / (kSteps / 2), source = k % (kSteps / 2) / kInRegister;
    for (int i = 0; i < 4; ++i)
      sums[i] += element(warp[g * 4 + source].left[half * 2 + i / 2], k) *
                 element(warp[(2 * t + i % 2) * 4 + source].right[half], k);
  }
  __syncwarp();  // before the next instruction's parts
}

inline void multiply_add_tf32(float (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2]) {
  multiply_add<8>(sums, left, right, [](uint32_t bits, int) { return __builtin_bit_cast(float, bits); });
}
inline void multiply_add_bf16(float (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2]) {
  multiply_add<16>(sums, left, right, [](uint32_t bits, int k) {
    return __builtin_bit_cast(float, k % 2 == 0 ? bits << 16 : bits & 0xffff0000u);
  });
}

}  // namespace emulator
