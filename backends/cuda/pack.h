// Numbers that lie together and that one thread reads or writes at once: 16 bytes are one instruction, and a warp's are
// 512 bytes in a row, which is what memory gives fastest.
// The rule: whether packs lie aligned, and whether there are any, decides how numbers are read, never what is computed
// of them or in which order sums are taken, so that views of one shape give the same bits wherever they begin.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace tacit::cuda {

/// The largest power of two, up to `most` (itself one), that divides all bits given: addresses and steps, joined by |.
inline int64_t common_alignment(uintptr_t bits, uintptr_t most) {
  bits |= most;
  return static_cast<int64_t>(bits & (~bits + 1));
}

template <class T, int V>
struct alignas(V * sizeof(T) < 16 ? V * sizeof(T) : 16) Pack {
  T at[V];
};

/// How many T are 16 bytes.
template <class T>
inline constexpr int kPack = 16 / static_cast<int>(sizeof(T));

/// Whether packs of V can be read from p on; nothing can be read from null, and nothing will be.
template <int V, class T>
bool aligned(const T* p) {
  return reinterpret_cast<uintptr_t>(p) % alignof(Pack<T, V>) == 0;
}

/// The same of several pointers.
template <int V, class... T>
bool all_aligned(const T*... pointers) {
  return (aligned<V>(pointers) && ...);
}

#ifdef TACIT_CUDA_EMULATED  // by bytes: gcc takes an address for aligned wherever one branch reads a pack from it
template <int V, class T>
Pack<T, V> load_aligned(const T* from) {
  if (!aligned<V>(from)) __builtin_trap();  // as a GPU would
  Pack<T, V> pack;
  std::memcpy(static_cast<void*>(&pack), from, sizeof pack);
  return pack;
}
template <int V, class T>
void store_aligned(T* to, const Pack<T, V>& pack) {
  if (!aligned<V>(to)) __builtin_trap();
  std::memcpy(static_cast<void*>(to), &pack, sizeof pack);
}
#else
template <int V, class T>
__device__ Pack<T, V> load_aligned(const T* from) {
  return *reinterpret_cast<const Pack<T, V>*>(from);
}
template <int V, class T>
__device__ void store_aligned(T* to, const Pack<T, V>& pack) {
  *reinterpret_cast<Pack<T, V>*>(to) = pack;
}
#endif

/// The pack that begins at `from`: at once where it is aligned, else number by number. Likewise below.
template <int V, class T>
__device__ Pack<T, V> load_pack(const T* from, bool is_aligned) {
  if (is_aligned) return load_aligned<V>(from);
  Pack<T, V> pack;
  for (int v = 0; v < V; ++v) pack.at[v] = from[v];
  return pack;
}

template <int V, class T>
__device__ void store_pack(T* to, const Pack<T, V>& pack, bool is_aligned) {
  if (is_aligned) return store_aligned(to, pack);
  for (int v = 0; v < V; ++v) to[v] = pack.at[v];
}

/// Calls f with how many neighbours of a row of `size` S a thread takes, a std::integral_constant: `width` where rows
/// are a whole number of them, else 1.
template <int width, class F>
void with_width(int64_t size, F&& f) {
  if (size % width == 0)
    f(std::integral_constant<int, width>());
  else
    f(std::integral_constant<int, 1>());
}

}  // namespace tacit::cuda
