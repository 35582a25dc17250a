// Attention without a matrix of scores in memory (Dao et al. 2022): a warp follows one query (for dk and dv: one key)
// through tiles of 32 keys (queries) in shared memory, a lane to each, with a running maximum and sum.
#include "backends/cuda/backend.h"
#include "backends/cuda/combine.h"

namespace tacit::cuda {

namespace {

inline constexpr int kKeys = 32, kWarps = 4;

/// One tensor (N, heads, tokens, size) whose last dimension is dense.
template <class T>
struct Heads {
  T* data;
  int64_t sample, head, token;
  int heads;
  explicit Heads(const View& v)
      : data(v.defined() ? v.ptr<T>() : nullptr),
        sample(v.defined() ? v.strides[0] : 0),
        head(v.defined() ? v.strides[1] : 0),
        token(v.defined() ? v.strides[2] : 0),
        heads(v.defined() ? static_cast<int>(v.shape[1]) : 1) {}
  TACIT_HD T* row(int64_t nh, int64_t t) const { return data + nh / heads * sample + nh % heads * head + t * token; }
};

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

/// Rows first … first + kKeys - 1 of a head, size + 1 elements apart in the tile; rows beyond `tokens` are 0.
template <class T>
__device__ void load_rows(const Heads<const T>& from, int64_t nh, int64_t first, int64_t tokens, int size, T* tile) {
  for (int i = static_cast<int>(threadIdx.x); i < kKeys * size; i += kWarps * 32) {
    const int row = i / size, c = i % size;
    tile[row * (size + 1) + c] = first + row < tokens ? from.row(nh, first + row)[c] : T(0);
  }
}

template <class T>
__device__ T dot(const T* a, const T* b, int size) {
  T sum = 0;
  for (int c = 0; c < size; ++c) sum += a[c] * b[c];
  return sum;
}

/// Calls f(c, sum over the tile's rows i of weight_i tile[i][c]) for this lane's columns c; weight_i is lane i's. All
/// lanes of the warp call it together, for the shuffles.
template <class T, class F>
__device__ void weighted_rows(T weight, const T* tile, int size, const F& f) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int c0 = 0; c0 < size; c0 += 32) {
    const int c = c0 + lane < size ? c0 + lane : size - 1;
    T sum = 0;
    for (int i = 0; i < kKeys; ++i) sum += __shfl_sync(0xffffffffu, weight, i) * tile[i * (size + 1) + c];
    if (c0 + lane < size) f(c, sum);
  }
}

// s[j] = scale q · k[j];  lse = log sum exp s;  y = sum exp(s - lse) v
template <class T>
__global__ void attention_kernel(Heads<const T> q, Heads<const T> k, Heads<const T> v, Heads<T> y, T* lse,
                                 int64_t queries, int64_t keys, int D, int E, T scale) {
  T* const tile_k = dynamic_shared<T>();
  T* const tile_v = tile_k + kKeys * (D + 1);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  T* const my_q = tile_v + kKeys * (E + 1) + warp * (D + E);
  T* const sums = my_q + D;
  const int64_t nh = blockIdx.y, query = int64_t{blockIdx.x} * kWarps + warp;
  const bool active = query < queries;
  for (int c = lane; c < D; c += 32) my_q[c] = active ? q.row(nh, query)[c] : T(0);
  for (int c = lane; c < E; c += 32) sums[c] = 0;
  T largest = static_cast<T>(-__builtin_inf()), total = 0;
  for (int64_t first = 0; first < keys; first += kKeys) {
    __syncthreads();
    load_rows(k, nh, first, keys, D, tile_k);
    load_rows(v, nh, first, keys, E, tile_v);
    __syncthreads();
    const bool valid = first + lane < keys;
    const T s =
        valid ? rounded_product(scale, dot(my_q, tile_k + lane * (D + 1), D)) : static_cast<T>(-__builtin_inf());
    const T next = max(largest, warp_max(s));
    const T shrink = fast_exp(largest - next), p = valid ? fast_exp(s - next) : T(0);
    total = total * shrink + warp_sum(p);
    largest = next;
    weighted_rows(p, tile_v, E, [&](int c, T sum) { sums[c] = sums[c] * shrink + sum; });
  }
  if (!active) return;
  for (int c = lane; c < E; c += 32) y.row(nh, query)[c] = sums[c] / total;
  if (lane == 0) lse[nh * queries + query] = largest + static_cast<T>(::log(static_cast<double>(total)));
}

/// along[nh, t] = dy · y
template <class T>
struct Along {
  Heads<const T> dy, y;
  T* along;
  int64_t queries;
  int E;
  TACIT_HD void operator()(int64_t i) const {
    const T* const a = dy.row(i / queries, i % queries);
    const T* const b = y.row(i / queries, i % queries);
    double sum = 0;
    for (int c = 0; c < E; ++c) sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
    along[i] = static_cast<T>(sum);
  }
};

// p[j] = exp(s[j] - lse);  ds[j] = scale p[j] (dy · v[j] - along);  dq = sum_j ds[j] k[j]
template <class T>
__global__ void attention_dq_kernel(Heads<const T> q, Heads<const T> k, Heads<const T> v, Heads<const T> dy,
                                    Heads<T> dq, const T* lse, const T* along, int64_t queries, int64_t keys, int D,
                                    int E, T scale) {
  T* const tile_k = dynamic_shared<T>();
  T* const tile_v = tile_k + kKeys * (D + 1);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  T* const my_q = tile_v + kKeys * (E + 1) + warp * (2 * D + E);
  T* const my_dy = my_q + D;
  T* const sums = my_dy + E;
  const int64_t nh = blockIdx.y, query = int64_t{blockIdx.x} * kWarps + warp;
  const bool active = query < queries;
  for (int c = lane; c < D; c += 32) my_q[c] = active ? q.row(nh, query)[c] : T(0), sums[c] = 0;
  for (int c = lane; c < E; c += 32) my_dy[c] = active ? dy.row(nh, query)[c] : T(0);
  const T my_lse = active ? lse[nh * queries + query] : T(0), my_along = active ? along[nh * queries + query] : T(0);
  for (int64_t first = 0; first < keys; first += kKeys) {
    __syncthreads();
    load_rows(k, nh, first, keys, D, tile_k);
    load_rows(v, nh, first, keys, E, tile_v);
    __syncthreads();
    const bool valid = active && first + lane < keys;
    const T p = valid ? fast_exp(rounded_product(scale, dot(my_q, tile_k + lane * (D + 1), D)) - my_lse) : T(0);
    const T ds = scale * p * (dot(my_dy, tile_v + lane * (E + 1), E) - my_along);
    weighted_rows(ds, tile_k, D, [&](int c, T sum) { sums[c] += sum; });
  }
  if (!active) return;
  for (int c = lane; c < D; c += 32) dq.row(nh, query)[c] = sums[c];
}

// dk[j] = sum_i ds[i] q[i];  dv[j] = sum_i p[i] dy[i], over the queries i of one key j
template <class T>
__global__ void attention_dkv_kernel(Heads<const T> q, Heads<const T> k, Heads<const T> v, Heads<const T> dy,
                                     Heads<T> dk, Heads<T> dv, const T* lse, const T* along, int64_t queries,
                                     int64_t keys, int D, int E, T scale) {
  T* const tile_q = dynamic_shared<T>();
  T* const tile_dy = tile_q + kKeys * (D + 1);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  T* const my_k = tile_dy + kKeys * (E + 1) + warp * 2 * (D + E);
  T* const my_v = my_k + D;
  T* const sums_k = my_v + E;
  T* const sums_v = sums_k + D;
  const int64_t nh = blockIdx.y, key = int64_t{blockIdx.x} * kWarps + warp;
  const bool active = key < keys;
  for (int c = lane; c < D; c += 32) my_k[c] = active ? k.row(nh, key)[c] : T(0), sums_k[c] = 0;
  for (int c = lane; c < E; c += 32) my_v[c] = active ? v.row(nh, key)[c] : T(0), sums_v[c] = 0;
  for (int64_t first = 0; first < queries; first += kKeys) {
    __syncthreads();
    load_rows(q, nh, first, queries, D, tile_q);
    load_rows(dy, nh, first, queries, E, tile_dy);
    __syncthreads();
    const int64_t query = first + lane;
    const bool valid = active && query < queries;
    const T p =
        valid ? fast_exp(rounded_product(scale, dot(my_k, tile_q + lane * (D + 1), D)) - lse[nh * queries + query])
              : T(0);
    const T ds = valid ? scale * p * (dot(my_v, tile_dy + lane * (E + 1), E) - along[nh * queries + query]) : T(0);
    weighted_rows(ds, tile_q, D, [&](int c, T sum) { sums_k[c] += sum; });
    weighted_rows(p, tile_dy, E, [&](int c, T sum) { sums_v[c] += sum; });
  }
  if (!active) return;
  if (dk.data != nullptr)
    for (int c = lane; c < D; c += 32) dk.row(nh, key)[c] = sums_k[c];
  if (dv.data != nullptr)
    for (int c = lane; c < E; c += 32) dv.row(nh, key)[c] = sums_v[c];
}

/// Shared memory for so many elements a block, checked against what this GPU has.
template <class T>
size_t shared_memory(int64_t elements, int D, int E) {
  int device = 0, most = 0;
  check(cudaGetDevice(&device), "device");
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "device");
  const size_t bytes = sizeof(T) * static_cast<size_t>(elements);
  TACIT_CHECK(bytes <= static_cast<size_t>(most), "[attention] heads of ", D, " and ", E, " need ", bytes,
              " bytes of shared memory, this GPU has ", most, "; use more heads");
  return bytes;
}

Grid grid(int64_t rows, int64_t heads) {
  TACIT_CHECK(heads <= 65535, "[attention] at most 65535 heads of all samples together, got ", heads,
              "; use smaller batches");
  return {divide_up(rows, kWarps), heads};
}

}  // namespace

void CudaBackend::attention(const AttentionArgs& a) {
  const int64_t queries = a.q.shape[2], keys = a.k.shape[2];
  const auto D = static_cast<int>(a.q.shape[3]), E = static_cast<int>(a.v.shape[3]);
  if (queries == 0) return;
  visit_floating("attention", a.y.dtype, [&](auto zero) {
    using T = decltype(zero);
    const size_t shared = shared_memory<T>(kKeys * (D + E + 2) + kWarps * (D + E), D, E);
    launch(stream(), attention_kernel<T>, grid(queries, a.q.shape[0] * a.q.shape[1]), dim3(kWarps * 32), shared,
           Heads<const T>(a.q), Heads<const T>(a.k), Heads<const T>(a.v), Heads<T>(a.y), a.lse.ptr<T>(), queries, keys,
           D, E, static_cast<T>(a.scale));
  });
}

void CudaBackend::attention_grad(const AttentionGradArgs& a) {
  const int64_t queries = a.q.shape[2], keys = a.k.shape[2], heads = a.q.shape[0] * a.q.shape[1];
  const auto D = static_cast<int>(a.q.shape[3]), E = static_cast<int>(a.v.shape[3]);
  visit_floating("attention_grad", a.dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    Scratch scratch(stream());
    T* const along = scratch.take<T>(heads * queries);
    const Heads<const T> q(a.q), k(a.k), v(a.v), dy(a.dy), y(a.y);
    if (queries > 0) for_each_index(stream(), heads * queries, Along<T>{dy, y, along, queries, E});
    const int64_t tiles = kKeys * (D + E + 2);
    if (a.dq.defined())
      launch(stream(), attention_dq_kernel<T>, grid(queries, heads), dim3(kWarps * 32),
             shared_memory<T>(tiles + kWarps * (2 * D + E), D, E), q, k, v, dy, Heads<T>(a.dq), a.lse.ptr<T>(), along,
             queries, keys, D, E, static_cast<T>(a.scale));
    if (a.dk.defined() || a.dv.defined())
      launch(stream(), attention_dkv_kernel<T>, grid(keys, heads), dim3(kWarps * 32),
             shared_memory<T>(tiles + kWarps * 2 * (D + E), D, E), q, k, v, dy, Heads<T>(a.dk), Heads<T>(a.dv),
             a.lse.ptr<T>(), along, queries, keys, D, E, static_cast<T>(a.scale));
  });
}

}  // namespace tacit::cuda
