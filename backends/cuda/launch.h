// What every CUDA kernel family shares: errors, grids, scratch memory, one thread per element.
// The rule: every launch goes through launch() and is checked; scratch is stream-ordered and never freed by hand.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "backends/cuda/strided.h"
#include "tensor/error.h"

namespace tacit::cuda {

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // else the next launch would report it again as its own
  detail::fail("[cuda] ", what, ": ", cudaGetErrorString(status));
}

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

#ifdef TACIT_CUDA_EMULATED  // tests/cuda_emulator runs the kernels on the CPU, without a GPU
using emulator::dynamic_shared, emulator::Shared;
#else
/// A static array in shared memory: __shared__ Shared<float[32]> tile. (The emulator's starts as NaN.)
template <class T>
using Shared = T;

/// A block's dynamic shared memory, of as many bytes as launch() was told, at a multiple of 1024.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(1024) double memory[];
  return reinterpret_cast<T*>(memory);
}
#endif

/// How many blocks, of any size that tensors have; launch() checks them against what CUDA counts.
struct Grid {
  int64_t x = 1, y = 1, z = 1;
};

/// Runs kernel<<<grid, block, shared>>>(args…) on a stream; nothing at all when the grid is empty.
template <class... Parameters, class... Args>
void launch(cudaStream_t stream, void (*kernel)(Parameters...), const Grid& blocks, dim3 block, size_t shared,
            Args&&... args) {
  if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0) return;
  TACIT_CHECK(blocks.x <= 0x7fffffff && blocks.y <= 65535 && blocks.z <= 65535, "[cuda] a tensor is too large for one ",
              "kernel: ", blocks.x, " x ", blocks.y, " x ", blocks.z, " blocks; use smaller batches");
  const dim3 grid(static_cast<unsigned>(blocks.x), static_cast<unsigned>(blocks.y), static_cast<unsigned>(blocks.z));
  constexpr size_t kDefaultShared = 48 << 10;
  if (shared > kDefaultShared)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)),
          "shared memory");
#ifndef TACIT_CUDA_EMULATED
  kernel<<<grid, block, shared, stream>>>(std::forward<Args>(args)...);
#else
  emulator::launch(kernel, grid, block, shared, stream, args...);
#endif
  check(cudaGetLastError(), "kernel launch");
}

/// Device memory for the length of one op: handed back in stream order, so that the next op may get it at once.
class Scratch {
 public:
  explicit Scratch(cudaStream_t stream) : stream_(stream) {}
  ~Scratch() {
    for (void* const block : blocks_) cudaFreeAsync(block, stream_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* take(int64_t count) {
    void* block = nullptr;
    check(cudaMallocAsync(&block, static_cast<size_t>(std::max<int64_t>(count, 1)) * sizeof(T), stream_), "scratch");
    blocks_.push_back(block);
    return static_cast<T*>(block);
  }

 private:
  cudaStream_t stream_;
  std::vector<void*> blocks_;
};

inline constexpr int kThreads = 256;

/// Blocks of kThreads for n elements; kernels loop, so that the number may be capped.
inline Grid blocks_for(int64_t n) { return {std::min<int64_t>(divide_up(n, kThreads), 1 << 16)}; }

template <int N, class F>
__global__ void each_kernel(const __grid_constant__ Strided<N> at, const F f) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < at.count; i += step) {
    int64_t offsets[N];
    at.offsets(i, offsets);
    f(offsets);
  }
}

/// Calls f(offsets) on the device for every element of `shape`; offsets[k] is its place in the k-th list of strides.
template <int N, class F>
void for_each(cudaStream_t stream, const Shape& shape, const Strides (&strides)[N], const F& f) {
  const Strided<N> at(shape, strides);
  launch(stream, each_kernel<N, F>, blocks_for(at.count), kThreads, 0, at, f);
}

template <class F>
__global__ void index_kernel(const int64_t n, const F f) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += step) f(i);
}

/// Calls f(i) on the device for every i below n.
template <class F>
void for_each_index(cudaStream_t stream, int64_t n, const F& f) {
  launch(stream, index_kernel<F>, blocks_for(n), kThreads, 0, n, f);
}

}  // namespace tacit::cuda
