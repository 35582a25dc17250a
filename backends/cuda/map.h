// out = f(in…) for every element of strided views: the one launcher of element-wise kernels. A thread makes a pack (see
// pack.h) of f32, bf16 or u8 at a time where the views allow it, else one element. Both compute the same.
#pragma once

#include <optional>

#include "backends/cuda/launch.h"
#include "backends/cuda/pack.h"

namespace tacit::cuda {

/// One of map()'s views, of elements T.
template <class T>
struct MapOperand {
  T* data;
  const Strides& strides;
};
template <class T>
MapOperand<T> operand(const View& v) {
  return {v.ptr<T>(), v.strides};
}

/// The packs of N operands: neighbours in the innermost dimension, which lie dense or, in an input, are all one number.
template <int N>
struct StridedPacks {
  Strided<N> at;  ///< of packs; offsets are elements still
  bool dense[N];

  /// Packs of V from elements; nothing where there are none. is_aligned: what begins where a pack may.
  static std::optional<StridedPacks> of(const Strided<N>& elements, int V, const bool (&is_aligned)[N]) {
    StridedPacks packs{elements, {}};
    Strided<N>& at = packs.at;
    const int last = at.rank - 1;
    if (last < 0 || at.count == 0 || at.size[last] % V != 0) return {};
    for (int k = 0; k < N; ++k) {
      packs.dense[k] = at.stride[k][last] == 1;
      if (!packs.dense[k] && (k == 0 || at.stride[k][last] != 0)) return {};
      if (!packs.dense[k]) continue;
      if (!is_aligned[k]) return {};
      for (int d = 0; d < last; ++d)
        if (at.stride[k][d] % V != 0) return {};
      at.stride[k][last] = V;
    }
    at.size[last] /= V, at.count /= V;
    return packs;
  }
};

/// Types whose packs are worth a kernel more.
template <class T>
inline constexpr bool kMapsPacks =
    std::is_same_v<T, float> || std::is_same_v<T, BFloat16> || std::is_same_v<T, uint8_t>;

/// The pack at `from`, or V times the number there.
template <int V, class T>
__device__ Pack<T, V> load_or_repeat(const T* from, bool dense) {
  if (dense) return load_pack<V>(from, true);
  Pack<T, V> pack;
  for (int v = 0; v < V; ++v) pack.at[v] = *from;
  return pack;
}

template <int V, class Out, class F, class... In>
__device__ Pack<Out, V> made_of(const F& f, const Pack<In, V>&... in) {
  Pack<Out, V> out;
#pragma unroll
  for (int v = 0; v < V; ++v) out.at[v] = f(in.at[v]...);
  return out;
}

template <int V, class F, size_t... K, class Out, class... In>
__device__ void map_pack(const F& f, std::index_sequence<K...>, const StridedPacks<1 + sizeof...(In)>& packs, int64_t i,
                         Out* out, const In*... in) {
  int64_t at[1 + sizeof...(In)];
  packs.at.offsets(i, at);
  store_pack(out + at[0], made_of<V, Out>(f, load_or_repeat<V>(in + at[K + 1], packs.dense[K + 1])...), true);
}

template <class F, size_t... K, class Out, class... In>
__device__ void map_element(const F& f, std::index_sequence<K...>, const Strided<1 + sizeof...(In)>& elements,
                            int64_t i, Out* out, const In*... in) {
  int64_t at[1 + sizeof...(In)];
  elements.offsets(i, at);
  out[at[0]] = f(in[at[K + 1]]...);
}

template <int V, class F, class Out, class... In>
__global__ void map_packs_kernel(const __grid_constant__ StridedPacks<1 + sizeof...(In)> packs, const F f, Out* out,
                                 const In*... in) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs.at.count; i += step)
    map_pack<V>(f, std::index_sequence_for<In...>(), packs, i, out, in...);
}

template <class F, class Out, class... In>
__global__ void map_kernel(const __grid_constant__ Strided<1 + sizeof...(In)> elements, const F f, Out* out,
                           const In*... in) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements.count; i += step)
    map_element(f, std::index_sequence_for<In...>(), elements, i, out, in...);
}

/// out[…] = f(in[…]…) on the device, for every element of `shape`. An input may be out itself.
template <class F, class Out, class... In>
void map(cudaStream_t stream, const Shape& shape, const F& f, const MapOperand<Out>& out, const MapOperand<In>&... in) {
  constexpr int N = 1 + static_cast<int>(sizeof...(In));
  const Strided<N> elements(shape, {out.strides, in.strides...});
  if constexpr ((kMapsPacks<Out> && ... && kMapsPacks<In>)) {
    constexpr int V = 16 / static_cast<int>(std::max({sizeof(Out), sizeof(In)...}));
    if (const auto packs = StridedPacks<N>::of(elements, V, {aligned<V>(out.data), aligned<V>(in.data)...}))
      return launch(stream, map_packs_kernel<V, F, Out, In...>, blocks_for(packs->at.count), kThreads, 0, *packs, f,
                    out.data, in.data...);
  }
  launch(stream, map_kernel<F, Out, In...>, blocks_for(elements.count), kThreads, 0, elements, f, out.data, in.data...);
}

}  // namespace tacit::cuda
