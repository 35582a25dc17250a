// Products of small matrices by the tensor cores of a warp: 16 x 8 of f32 sums, 8 steps of the summed index with
// operands in tf32 (10 bits of mantissa), or 16 with operands in bf16 (7 bits). PTX ISA, "Matrix fragments for
// mma.m16n8k8" and "mma.m16n8k16". The rule: all 32 threads of a warp call together; each holds a part of every matrix,
// by lane g = lane / 4, t = lane % 4:
//   left:   tf32, 16 x 8:  [g][t], [g + 8][t], [g][t + 4], [g + 8][t + 4]
//           bf16, 16 x 16: [g][2t, 2t + 1], [g + 8][2t, 2t + 1], [g][2t + 8, 2t + 9], [g + 8][2t + 8, 2t + 9]
//   right:  tf32, 8 x 8:   [t][g], [t + 4][g]
//           bf16, 16 x 8:  [2t, 2t + 1][g], [2t + 8, 2t + 9][g]
//   sums (16 x 8):         [g][2t], [g][2t + 1], [g + 8][2t], [g + 8][2t + 1]
// Of two bf16 in a register the first is the low half.
// Factors come from shared memory by load_matrices, and into it by copy_async, whose copies nobody sees before its
// thread has waited for them, and other threads not before a barrier after that.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace tacit::cuda {

/// This thread's warp in the block, and the g and t of its lane.
__device__ inline int warp_of() { return static_cast<int>(threadIdx.x) / 32; }
__device__ inline int g_of() { return static_cast<int>(threadIdx.x) % 32 / 4; }
__device__ inline int t_of() { return static_cast<int>(threadIdx.x) % 4; }

/// 16 bytes that lie together: what a thread copies at once, and one row of a matrix for load_matrices.
struct alignas(16) Chunk {
  uint32_t words[4];
};

#ifdef TACIT_CUDA_EMULATED  // tests/cuda_emulator does what the instructions do
using emulator::commit_copies, emulator::copy_async, emulator::exp2_approximate, emulator::load_matrices,
    emulator::load_matrices_transposed, emulator::multiply_add_bf16, emulator::multiply_add_tf32,
    emulator::shared_address, emulator::SharedAddress, emulator::to_bf16_pair, emulator::to_tf32,
    emulator::wait_for_copies;
#else
/// Rounded to tf32, to nearest with ties away from zero; in the bits of an f32.
__device__ inline uint32_t to_tf32(float value) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}
/// Two numbers rounded to bf16, to nearest with ties to even.
__device__ inline uint32_t to_bf16_pair(float low, float high) {
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

/// sums += left right. (volatile: all lanes do it together, so it must not move into a branch.)
__device__ inline void multiply_add_tf32(float (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
}
__device__ inline void multiply_add_bf16(float (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
}

/// Where something lies in shared memory.
using SharedAddress = uint32_t;
__device__ inline SharedAddress shared_address(const void* at) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(at));
}

/// Four 8 x 8 matrices of 16-bit numbers in shared memory: lane l says where row l % 8 of matrix l / 8 lies, 16 bytes
/// at a multiple of 16, and gets of matrix r, in out[r], the numbers 2t and 2t + 1 of row g; transposed: of column g,
/// those of rows 2t and 2t + 1.
__device__ inline void load_matrices(SharedAddress row, uint32_t (&out)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(row)
               : "memory");
}
__device__ inline void load_matrices_transposed(SharedAddress row, uint32_t (&out)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(row)
               : "memory");
}

/// Begins to copy 16 bytes of global memory, or as many zeros, into shared memory. Both addresses are multiples of 16.
__device__ inline void copy_async(Chunk* to, const void* from, bool zeros) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))),
      "l"(from), "r"(zeros ? 0 : 16)
      : "memory");
}
/// Makes a group of the copies that this thread began since the last one.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits for all of this thread's groups but the last kLater.
template <int kLater>
__device__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLater) : "memory");
}

/// 2^x within 2 ulp; 0 below -126.
__device__ inline float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
#endif

}  // namespace tacit::cuda
