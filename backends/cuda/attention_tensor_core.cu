// Attention by tensor cores, for heads of 32 to 128 numbers (multiples of 16): the arithmetic of attention.cu on the
// tiles of attention_tiles.h. The gradients: attention_tensor_core_grad.cu.
// The rule: a warp has 16 of the block's queries and sums all of their products itself, so no order depends on another.
#include "backends/cuda/attention_tiles.h"

namespace tacit::cuda {

namespace {

/// Over the four lanes that share a row of sums.
__device__ inline float quad_max(float value) {
  for (int distance = 1; distance < 4; distance *= 2) value = max(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}
__device__ inline float quad_sum(float value) {
  for (int distance = 1; distance < 4; distance *= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

/// What a warp knows of its queries' softmax; [half] is row g, or g + 8.
template <class Tile>
struct Running {
  typename Tile::Sums sums = {};
  float largest[2] = {-__builtin_inff(), -__builtin_inff()};
  float total[2] = {0, 0};  // of the lane's columns

  // Adds kGroups times 16 keys, of which `keys`, one or more, exist.
  template <int kGroups, class Left>
  __device__ void add(const Left& q, const Chunk* tile_k, const Chunk* tile_v, int keys, float scale) {
    Scores s[kGroups] = {};
#pragma unroll
    for (int step = 0; step < Tile::kSteps; ++step) Tile::add_product(q, step, tile_k, s);
#pragma unroll
    for (int i = 0; i < kGroups * 8; ++i)
      s[i / 8][i / 4 % 2][i % 4] = rounded_product(scale, s[i / 8][i / 4 % 2][i % 4]);
    if (keys < kGroups * kWarpRows)
#pragma unroll
      for (int i = 0; i < kGroups * 8; ++i)
        if (i / 4 * 8 + 2 * t_of() + i % 2 >= keys) s[i / 8][i / 4 % 2][i % 4] = -__builtin_inff();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float next = largest[half];
#pragma unroll
      for (int i = 0; i < kGroups * 4; ++i) next = max(next, s[i / 4][i / 2 % 2][half * 2 + i % 2]);
      next = quad_max(next);
      const float shrink = exp_approximate(largest[half] - next);
      largest[half] = next;
      total[half] *= shrink;
#pragma unroll
      for (int i = 0; i < kGroups * 4; ++i) {
        float& p = s[i / 4][i / 2 % 2][half * 2 + i % 2];
        p = exp_approximate(p - next);
        total[half] += p;
      }
#pragma unroll
      for (auto& sum : sums) sum[half * 2] *= shrink, sum[half * 2 + 1] *= shrink;
    }
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      typename Tile::Weights p;
      Tile::Number::weights(s[group], p);
      Tile::add_weighted(p, tile_v + group * Tile::kGroup, sums);
    }
  }
};

// s[j] = scale q · k[j];  lse = log sum exp s;  y = sum exp(s - lse) v
template <class Tile, class S = typename Tile::S>
__global__ void __launch_bounds__(Tile::kMostWarps * 32, Tile::kBlocksWanted)
    tensor_core_attention_kernel(Heads<const S> q, Heads<const S> k, Heads<const S> v, Heads<S> y, float* lse,
                                 const __grid_constant__ AttentionSizes<float> z) {
  constexpr int kRows = Tile::kRows, kTile = Tile::kTile;
  const int rows = static_cast<int>(blockDim.x) / 32 * kWarpRows;
  Chunk* const tile_q = dynamic_shared<Chunk>();
  Chunk* const tiles = tile_q + rows * Tile::kChunks;  // in each place one of k and one of v
  const BlockRows block(z.queries, rows);
  const int64_t my_first = block.first + warp_of() * kWarpRows;
  typename Tile::template Left<(Tile::kSteps <= 8 ? Tile::kSteps : 0)> my_q;
  Running<Tile> mine;
  Tile::load(q, block.nh, block.first, z.queries, z.D, rows, tile_q);
  const auto load = [&](int64_t first, int at) { Tile::load_both(k, v, block.nh, first, z.keys, z, tiles, at); };
  through_tiles<Tile>(z.keys, load, [&](int64_t first, int at) {
    if (my_first >= z.queries) return;
    if (first == 0) my_q.take(tile_q + warp_of() * Tile::kGroup);
    const Chunk *tile_k = tiles + at * 2 * kTile, *tile_v = tile_k + kTile;
    const int keys = static_cast<int>(z.keys - first < kRows ? z.keys - first : kRows);
    if (keys > kRows - kWarpRows) return mine.template add<kRows / kWarpRows>(my_q, tile_k, tile_v, keys, z.scale);
#pragma unroll 1
    for (int i = 0; i < keys; i += kWarpRows)  // no products with rows of nothing
      mine.template add<1>(my_q, tile_k + i * Tile::kChunks, tile_v + i * Tile::kChunks, keys - i, z.scale);
  });
  if (my_first >= z.queries) return;
  const float total[2] = {quad_sum(mine.total[0]), quad_sum(mine.total[1])};
  Tile::store(y, block.nh, my_first, z.queries, z.E, mine.sums, 1 / total[0], 1 / total[1]);
  for (int half = 0; half < 2; ++half) {
    const int64_t row = my_first + g_of() + half * 8;
    if (t_of() == 0 && row < z.queries) lse[block.nh * z.queries + row] = mine.largest[half] + ::logf(total[half]);
  }
}

}  // namespace

bool tensor_core_attention(cudaStream_t stream, const AttentionArgs& a) {
  const AttentionSizes<float> z(a);
  return with_tiles(a.y.dtype, z, [&](auto tile) {
    using Tile = decltype(tile);
    using S = typename Tile::S;
    const unsigned warps = warps_for(z.queries, Tile::kMostWarps);
    const int64_t rows = warps * kWarpRows;
    const size_t shared = Tile::bytes(rows + 2 * Tile::kPlaces * Tile::kRows);
    const Heads<const S> q(a.q), k(a.k), v(a.v);
    const Heads<S> y(a.y);
    if (shared > most_shared_memory() || !in_chunks(q, k, v, y)) return false;
    launch(stream, tensor_core_attention_kernel<Tile>, Grid{divide_up(z.queries, rows) * z.heads}, dim3(warps * 32),
           shared, q, k, v, y, a.lse.ptr<float>(), z);
    return true;
  });
}

}  // namespace tacit::cuda
