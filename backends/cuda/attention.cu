// Attention without a matrix of scores in memory (Dao et al. 2022): a warp follows one query (for dk and dv: one key)
// through tiles of 32 keys (queries), a lane to each, with a running maximum and sum. Tiles are copied to shared
// memory, but for heads that are too wide for it. S is the type in memory, T = ArithmeticOf<S> that of copied tiles,
// sums and lse. Of bf16, and where less than f32 is allowed, tensor cores do the usual sizes
// (attention_tensor_core.cu).
#include "backends/cuda/attention.h"
#include "backends/cuda/backend.h"

namespace tacit::cuda {

namespace {

inline constexpr int kKeys = 32, kWarps = 4;

template <class T>
__device__ T warp_sum(T value) {
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}
template <class T>
__device__ T warp_max(T value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, value, distance);
    value = other > value ? other : value;
  }
  return value;
}

/// Row t of a head in the type that is computed in, one lane an element; 0 without a row.
template <class S, class T>
__device__ void load_row(const Heads<const S>& from, int64_t nh, int64_t t, bool exists, int size, T* row) {
  for (int c = static_cast<int>(threadIdx.x) % 32; c < size; c += 32)
    row[c] = exists ? convert<T>(from.row(nh, t)[c]) : T(0);
}

/// A tile of kKeys rows of a head, from `first`: copied to shared memory, size + 1 elements apart, rows beyond `tokens`
/// being 0; or, where kWide, read where they lie, rows beyond being the last one.
template <class S, bool kWide>
struct Rows32 {
  using T = ArithmeticOf<S>;
  using Element = std::conditional_t<kWide, S, T>;
  const Element* data;
  int64_t stride;
  int last;
  /// The whole block calls it.
  __device__ Rows32(const Heads<const S>& from, int64_t nh, int64_t first, int64_t tokens, int size, T* shared)
      : stride(size + 1), last(kKeys - 1) {
    if constexpr (kWide) {
      data = from.row(nh, first), stride = from.token;
      last = static_cast<int>(tokens - first < kKeys ? tokens - first : kKeys) - 1;
    } else {
      data = shared;
      for (int i = static_cast<int>(threadIdx.x); i < kKeys * size; i += kWarps * 32) {
        const int row = i / size, c = i % size;
        shared[row * (size + 1) + c] = first + row < tokens ? convert<T>(from.row(nh, first + row)[c]) : T(0);
      }
    }
  }
  __device__ const Element* row(int i) const { return data + (kWide && i > last ? last : i) * stride; }
};
template <class T, class Element>
__device__ T dot(const T* a, const Element* b, int size) {
  T sum = 0;
  for (int c = 0; c < size; ++c) sum += a[c] * convert<T>(b[c]);
  return sum;
}

/// Calls f(c, sum over the tile's rows i of weight_i tile[i][c]) for this lane's columns c; weight_i is lane i's. All
/// lanes of the warp call it together, for the shuffles.
template <class T, class S, bool kWide, class F>
__device__ void weighted_rows(T weight, const Rows32<S, kWide>& tile, int size, const F& f) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int c0 = 0; c0 < size; c0 += 32) {
    const int c = c0 + lane < size ? c0 + lane : size - 1;
    T sum = 0;
    for (int i = 0; i < kKeys; ++i) sum += __shfl_sync(0xffffffffu, weight, i) * convert<T>(tile.row(i)[c]);
    if (c0 + lane < size) f(c, sum);
  }
}

// s[j] = scale q · k[j];  lse = log sum exp s;  y = sum exp(s - lse) v
template <class S, bool kWide, class T = ArithmeticOf<S>>
__global__ void attention_kernel(Heads<const S> q, Heads<const S> k, Heads<const S> v, Heads<S> y, T* lse,
                                 const __grid_constant__ AttentionSizes<T> z) {
  T* const shared_k = dynamic_shared<T>();
  T* const shared_v = shared_k + (kWide ? 0 : kKeys * (z.D + 1));
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  T* const my_q = shared_v + (kWide ? 0 : kKeys * (z.E + 1)) + warp * (z.D + z.E);
  T* const sums = my_q + z.D;
  const BlockRows block(z.queries, kWarps);
  const int64_t nh = block.nh, query = block.first + warp;
  const bool active = query < z.queries;
  load_row(q, nh, query, active, z.D, my_q);
  for (int c = lane; c < z.E; c += 32) sums[c] = 0;
  T largest = static_cast<T>(-__builtin_inf()), total = 0;
  for (int64_t first = 0; first < z.keys; first += kKeys) {
    __syncthreads();
    const Rows32<S, kWide> tile_k(k, nh, first, z.keys, z.D, shared_k), tile_v(v, nh, first, z.keys, z.E, shared_v);
    __syncthreads();
    const bool valid = first + lane < z.keys;
    const T s = valid ? rounded_product(z.scale, dot(my_q, tile_k.row(lane), z.D)) : static_cast<T>(-__builtin_inf());
    const T next = max(largest, warp_max(s));
    const T shrink = fast_exp(largest - next), p = valid ? fast_exp(s - next) : T(0);
    total = total * shrink + warp_sum(p);
    largest = next;
    weighted_rows(p, tile_v, z.E, [&](int c, T sum) { sums[c] = sums[c] * shrink + sum; });
  }
  if (!active) return;
  for (int c = lane; c < z.E; c += 32) y.row(nh, query)[c] = convert<S>(sums[c] / total);
  if (lane == 0) lse[nh * z.queries + query] = largest + static_cast<T>(::log(static_cast<double>(total)));
}

/// along[nh, t] = dy · y
template <class S, class T = ArithmeticOf<S>>
struct Along {
  Heads<const S> dy, y;
  T* along;
  int64_t queries;
  int E;
  TACIT_HD void operator()(int64_t i) const {
    const S* const a = dy.row(i / queries, i % queries);
    const S* const b = y.row(i / queries, i % queries);
    double sum = 0;
    for (int c = 0; c < E; ++c) sum += convert<double>(a[c]) * convert<double>(b[c]);
    along[i] = static_cast<T>(sum);
  }
};

// p[j] = exp(s[j] - lse);  ds[j] = scale p[j] (dy · v[j] - along);  dq = sum_j ds[j] k[j]
template <class S, bool kWide, class T = ArithmeticOf<S>>
__global__ void attention_dq_kernel(Heads<const S> q, Heads<const S> k, Heads<const S> v, Heads<const S> dy,
                                    Heads<S> dq, const T* lse, const T* along,
                                    const __grid_constant__ AttentionSizes<T> z) {
  T* const shared_k = dynamic_shared<T>();
  T* const shared_v = shared_k + (kWide ? 0 : kKeys * (z.D + 1));
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  T* const my_q = shared_v + (kWide ? 0 : kKeys * (z.E + 1)) + warp * (2 * z.D + z.E);
  T* const my_dy = my_q + z.D;
  T* const sums = my_dy + z.E;
  const BlockRows block(z.queries, kWarps);
  const int64_t nh = block.nh, query = block.first + warp;
  const bool active = query < z.queries;
  load_row(q, nh, query, active, z.D, my_q);
  load_row(dy, nh, query, active, z.E, my_dy);
  for (int c = lane; c < z.D; c += 32) sums[c] = 0;
  const T my_lse = active ? lse[nh * z.queries + query] : T(0);
  const T my_along = active ? along[nh * z.queries + query] : T(0);
  for (int64_t first = 0; first < z.keys; first += kKeys) {
    __syncthreads();
    const Rows32<S, kWide> tile_k(k, nh, first, z.keys, z.D, shared_k), tile_v(v, nh, first, z.keys, z.E, shared_v);
    __syncthreads();
    const bool valid = active && first + lane < z.keys;
    const T p = valid ? fast_exp(rounded_product(z.scale, dot(my_q, tile_k.row(lane), z.D)) - my_lse) : T(0);
    const T ds = z.scale * p * (dot(my_dy, tile_v.row(lane), z.E) - my_along);
    weighted_rows(ds, tile_k, z.D, [&](int c, T sum) { sums[c] += sum; });
  }
  if (!active) return;
  for (int c = lane; c < z.D; c += 32) dq.row(nh, query)[c] = convert<S>(sums[c]);
}

// dk[j] = sum_i ds[i] q[i];  dv[j] = sum_i p[i] dy[i], over the queries i of one key j
template <class S, bool kWide, class T = ArithmeticOf<S>>
__global__ void attention_dkv_kernel(Heads<const S> q, Heads<const S> k, Heads<const S> v, Heads<const S> dy,
                                     Heads<S> dk, Heads<S> dv, const T* lse, const T* along,
                                     const __grid_constant__ AttentionSizes<T> z) {
  T* const shared_q = dynamic_shared<T>();
  T* const shared_dy = shared_q + (kWide ? 0 : kKeys * (z.D + 1));
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  T* const my_k = shared_dy + (kWide ? 0 : kKeys * (z.E + 1)) + warp * 2 * (z.D + z.E);
  T* const my_v = my_k + z.D;
  T* const sums_k = my_v + z.E;
  T* const sums_v = sums_k + z.D;
  const BlockRows block(z.keys, kWarps);
  const int64_t nh = block.nh, key = block.first + warp;
  const bool active = key < z.keys;
  load_row(k, nh, key, active, z.D, my_k);
  load_row(v, nh, key, active, z.E, my_v);
  for (int c = lane; c < z.D; c += 32) sums_k[c] = 0;
  for (int c = lane; c < z.E; c += 32) sums_v[c] = 0;
  for (int64_t first = 0; first < z.queries; first += kKeys) {
    __syncthreads();
    const Rows32<S, kWide> tile_q(q, nh, first, z.queries, z.D, shared_q),
        tile_dy(dy, nh, first, z.queries, z.E, shared_dy);
    __syncthreads();
    const int64_t at = nh * z.queries + first + lane;
    const bool valid = active && first + lane < z.queries;
    const T p = valid ? fast_exp(rounded_product(z.scale, dot(my_k, tile_q.row(lane), z.D)) - lse[at]) : T(0);
    const T ds = valid ? z.scale * p * (dot(my_v, tile_dy.row(lane), z.E) - along[at]) : T(0);
    weighted_rows(ds, tile_q, z.D, [&](int c, T sum) { sums_k[c] += sum; });
    weighted_rows(p, tile_dy, z.E, [&](int c, T sum) { sums_v[c] += sum; });
  }
  if (!active) return;
  if (dk.data != nullptr)
    for (int c = lane; c < z.D; c += 32) dk.row(nh, key)[c] = convert<S>(sums_k[c]);
  if (dv.data != nullptr)
    for (int c = lane; c < z.E; c += 32) dv.row(nh, key)[c] = convert<S>(sums_v[c]);
}

/// Calls f(wide, bytes) with the way to read tiles, as a type, and the shared memory of a block whose warps keep
/// `elements_a_warp` elements.
template <class T, class F>
void with_tiles_for(const AttentionSizes<T>& z, int64_t elements_a_warp, F&& f) {
  const size_t most = most_shared_memory();
  const auto bytes = [&](int64_t tiles) { return sizeof(T) * static_cast<size_t>(tiles + kWarps * elements_a_warp); };
  const size_t narrow = bytes(kKeys * (z.D + z.E + 2)), wide = bytes(0);
  if (narrow <= most) return f(std::false_type(), narrow);
  TACIT_CHECK(wide <= most, "[attention] heads of ", z.D, " and ", z.E, " need ", wide,
              " bytes of shared memory, this GPU has ", most, "; use more heads");
  f(std::true_type(), wide);
}

Grid grid(int64_t rows, int64_t heads) { return {divide_up(rows, kWarps) * heads}; }

}  // namespace

void CudaBackend::attention(const AttentionArgs& a) {
  if (tensor_core_attention(stream(), a)) return;
  visit_activations("attention", a.y.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    const AttentionSizes<T> z(a);
    with_tiles_for(z, z.D + z.E, [&](auto wide, size_t shared) {
      launch(stream(), attention_kernel<S, decltype(wide)::value>, grid(z.queries, z.heads), dim3(kWarps * 32), shared,
             Heads<const S>(a.q), Heads<const S>(a.k), Heads<const S>(a.v), Heads<S>(a.y), a.lse.ptr<T>(), z);
    });
  });
}

void CudaBackend::attention_grad(const AttentionGradArgs& a) {
  if (tensor_core_attention_grad(stream(), a)) return;
  visit_activations("attention_grad", a.dy.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = ArithmeticOf<S>;
    const AttentionSizes<T> z(a);
    Scratch scratch(stream());
    T* const along = scratch.take<T>(z.heads * z.queries);
    const Heads<const S> q(a.q), k(a.k), v(a.v), dy(a.dy), y(a.y);
    for_each_index(stream(), z.heads * z.queries, Along<S>{dy, y, along, z.queries, z.E});
    if (a.dq.defined())
      with_tiles_for(z, 2 * z.D + z.E, [&](auto wide, size_t shared) {
        launch(stream(), attention_dq_kernel<S, decltype(wide)::value>, grid(z.queries, z.heads), dim3(kWarps * 32),
               shared, q, k, v, dy, Heads<S>(a.dq), a.lse.ptr<T>(), along, z);
      });
    if (a.dk.defined() || a.dv.defined())
      with_tiles_for(z, 2 * (z.D + z.E), [&](auto wide, size_t shared) {
        launch(stream(), attention_dkv_kernel<S, decltype(wide)::value>, grid(z.keys, z.heads), dim3(kWarps * 32),
               shared, q, k, v, dy, Heads<S>(a.dk), Heads<S>(a.dv), a.lse.ptr<T>(), along, z);
      });
  });
}

}  // namespace tacit::cuda
