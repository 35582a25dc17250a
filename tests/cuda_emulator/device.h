// What CUDA's language adds to C++, as a CPU compiler reads it: qualifiers, the built-in indices, barriers, warp
// exchanges, shared memory, and the launch of a kernel.
// The rule: a thread runs alone until it waits, so that nothing here needs a lock and an atomic is a plain addition.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>

#define TACIT_CUDA_EMULATED  // backends/cuda/launch.h launches by emulator::launch

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static  // one array for all threads: blocks run one after another

struct CUstream_st;
struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

/// Those of the thread that runs.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

namespace emulator {

inline constexpr unsigned kWarp = 32;
inline constexpr int kMostThreads = 1024;
inline constexpr size_t kDefaultShared = size_t{48} << 10, kMostShared = size_t{227} << 10;

/// A line of a kernel, for messages; barriers at different lines are different barriers.
struct Site {
  const char* file;
  int line;
  bool operator==(const Site& other) const {
    return line == other.line && (file == other.file || std::strcmp(file, other.file) == 0);
  }
};

/// Waits until every thread of the block does, at this line.
void sync_threads(Site site);
/// Waits until every lane of `mask` does, at this line; then gives each lane the `bits` of its source lane.
uint64_t shuffle(unsigned mask, uint64_t bits, unsigned source, Site site);
/// Waits like shuffle(); gives every lane the set of lanes whose predicate held.
unsigned ballot(unsigned mask, bool predicate, Site site);
/// The running thread's place in its warp.
unsigned lane();
/// Yes or no, drawn like the order of the threads.
bool draw();

/// The block that runs, of all launches' blocks, from 1.
inline uint64_t block_number = 0;
/// The block's dynamic shared memory, NaN when the block starts.
void* dynamic_shared_bytes();
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(dynamic_shared_bytes());
}
/// A static array in shared memory, NaN when the block starts: whoever reads what no thread wrote has NaN.
template <class T>
class Shared {
 public:
  template <class I>
  auto& operator[](I i) {
    return of_this_block()[i];
  }
  operator T&() { return of_this_block(); }

 private:
  T& of_this_block() {
    if (block_ != block_number) std::memset(&value_, 0xff, sizeof value_), block_ = block_number;
    return value_;
  }
  T value_;
  uint64_t block_ = 0;
};

/// Runs the body once a thread, block after block, when it is the stream's turn. A bad size is left for
/// cudaGetLastError, as CUDA does; a block whose threads wait for each other forever throws tacit::Error, in whichever
/// call the stream does this.
void run(const void* kernel, dim3 grid, dim3 block, size_t shared, CUstream_st* stream, std::function<void()> body);
/// While one lives, a stream does nothing until it must: for tests of who waits for it.
class Hold {
 public:
  explicit Hold(CUstream_st* stream);
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  CUstream_st* stream_;
};
/// How often the host has waited for a stream or an event, or for a copy that CUDA does not let it leave.
int64_t waits();

/// kernel<<<grid, block, shared, stream>>>(args…); every thread has its own copy of the arguments.
template <class... Parameters, class... Args>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, CUstream_st* stream,
            const Args&... args) {
  run(reinterpret_cast<const void*>(kernel), grid, block, shared, stream,
      [kernel, values = std::tuple<std::decay_t<Parameters>...>(args...)] { std::apply(kernel, values); });
}

template <class T>
T shuffle_value(unsigned mask, T value, unsigned source, Site site) {
  static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = shuffle(mask, bits, source, site);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace emulator

// The file and the line of whoever calls.
#define EMULATOR_CALLER const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(EMULATOR_CALLER) { emulator::sync_threads({file, line}); }
inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATOR_CALLER) { emulator::ballot(mask, true, {file, line}); }
inline unsigned __ballot_sync(unsigned mask, bool predicate, EMULATOR_CALLER) {
  return emulator::ballot(mask, predicate, {file, line});
}
inline bool __any_sync(unsigned mask, bool predicate, EMULATOR_CALLER) {
  return emulator::ballot(mask, predicate, {file, line}) != 0;
}
inline bool __all_sync(unsigned mask, bool predicate, EMULATOR_CALLER) {
  return emulator::ballot(mask, predicate, {file, line}) == mask;
}
/// Of `lane` in this lane's group of `width` lanes, a power of two.
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, EMULATOR_CALLER) {
  const unsigned group = emulator::lane() & ~static_cast<unsigned>(width - 1);
  return emulator::shuffle_value(mask, value, group + static_cast<unsigned>(lane & (width - 1)), {file, line});
}
/// Of the lane whose number differs in the bits of `distance`; its own beyond the group.
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int distance, int width = 32, EMULATOR_CALLER) {
  const unsigned me = emulator::lane(), other = me ^ static_cast<unsigned>(distance), w = static_cast<unsigned>(width);
  return emulator::shuffle_value(mask, value, other / w > me / w ? me : other, {file, line});
}
/// Of the lane `distance` above (below); its own beyond the group.
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, EMULATOR_CALLER) {
  const unsigned me = emulator::lane(), other = me + distance, w = static_cast<unsigned>(width);
  return emulator::shuffle_value(mask, value, other / w == me / w ? other : me, {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, EMULATOR_CALLER) {
  const unsigned me = emulator::lane(), w = static_cast<unsigned>(width);
  return emulator::shuffle_value(mask, value, me % w >= distance ? me - distance : me, {file, line});
}
#undef EMULATOR_CALLER

inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dmul_rn(double a, double b) { return a * b; }
template <class T>
T __ldg(const T* from) {
  return *from;
}
template <class T>
T atomicAdd(T* to, T value) {
  const T old = *to;
  *to = old + value;
  return old;
}
template <class T>
T atomicCAS(T* to, T expected, T value) {
  const T old = *to;
  if (old == expected) *to = value;
  return old;
}
template <class T>
T max(T a, T b) {
  return b > a || a != a ? b : a;  // as fmax: a number before a NaN
}
template <class T>
T min(T a, T b) {
  return b < a || a != a ? b : a;
}
