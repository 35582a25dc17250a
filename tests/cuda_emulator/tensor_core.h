// The tensor cores' instructions that backends/cuda/tensor_core.h has. The rule: what it says of fragments holds here
// too, so that a kernel which asks for the wrong part gets wrong numbers; and a copy happens at any time between its
// begin and the wait for it.
#pragma once

#include <vector>

#include "tensor/dtype.h"
#include "tensor/error.h"
#include "tests/cuda_emulator/device.h"

namespace emulator {

inline uint32_t to_tf32(float value) { return (__builtin_bit_cast(uint32_t, value) + 0x1000u) & ~0x1fffu; }
inline uint32_t to_bf16_pair(float low, float high) {
  return tacit::BFloat16(low).bits | static_cast<uint32_t>(tacit::BFloat16(high).bits) << 16;
}

inline unsigned thread_of_block() { return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x; }

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
  Fragments* const warp = fragments_of + (thread_of_block() - lane());
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

inline float exp2_approximate(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
}

using SharedAddress = uintptr_t;
inline SharedAddress shared_address(const void* at) { return reinterpret_cast<SharedAddress>(at); }

inline void check_chunk(const char* what, SharedAddress at) {
  TACIT_CHECK(at % 16 == 0, "[emulator] ", what, " an address that 16 does not divide");
}
/// The rows that the lanes of a warp say.
inline const char* rows_of[kMostThreads];

/// place(row, column) of what a lane gets: its number i, 0 or 1, of each matrix.
template <class Place>
void load_four(SharedAddress row, uint32_t (&out)[4], const Place& place) {
  check_chunk("ldmatrix reads", row);
  const char** const warp = rows_of + (thread_of_block() - lane());
  warp[lane()] = reinterpret_cast<const char*>(row);
  __syncwarp();
  const unsigned g = lane() / 4, t = lane() % 4;
  for (unsigned m = 0; m < 4; ++m) {
    uint16_t numbers[2];
    for (unsigned i = 0; i < 2; ++i) {
      const auto [r, c] = place(g, 2 * t + i);
      std::memcpy(&numbers[i], warp[8 * m + r] + 2 * c, 2);
    }
    out[m] = numbers[0] | static_cast<uint32_t>(numbers[1]) << 16;
  }
  __syncwarp();  // before the next instruction's rows
}
inline void load_matrices(SharedAddress row, uint32_t (&out)[4]) {
  load_four(row, out, [](unsigned g, unsigned i) { return std::pair(g, i); });
}
inline void load_matrices_transposed(SharedAddress row, uint32_t (&out)[4]) {
  load_four(row, out, [](unsigned g, unsigned i) { return std::pair(i, g); });
}

/// What a thread has begun to copy: groups, of which the last is open.
struct Copies {
  struct Copy {
    void* to;
    const void* from;  // or null, for zeros
    void happen() const {
      if (from == nullptr)
        std::memset(to, 0, 16);
      else
        std::memcpy(to, from, 16);
    }
  };
  uint64_t block = 0;
  std::vector<std::vector<Copy>> groups;
};
inline Copies copies_of[kMostThreads];
inline Copies& my_copies() {
  Copies& mine = copies_of[thread_of_block()];
  if (mine.block != block_number) mine.groups.assign(1, {}), mine.block = block_number;
  return mine;
}

/// A copy happens when it is begun, or when it is waited for: which is drawn. So whoever does not wait for it reads
/// what was there before, and whoever begins it too early writes over what others still read.
inline void copy_async(void* to, const void* from, bool zeros) {
  check_chunk("cp.async writes to", shared_address(to));
  check_chunk("cp.async reads from", shared_address(from));
  const Copies::Copy copy{to, zeros ? nullptr : from};
  if (draw())
    copy.happen();
  else
    my_copies().groups.back().push_back(copy);
}
inline void commit_copies() { my_copies().groups.emplace_back(); }
template <int kLater>
void wait_for_copies() {
  std::vector<std::vector<Copies::Copy>>& groups = my_copies().groups;
  while (groups.size() > kLater + 1) {
    for (const Copies::Copy& copy : groups.front()) copy.happen();
    groups.erase(groups.begin());
  }
}

}  // namespace emulator
