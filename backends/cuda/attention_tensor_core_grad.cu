// The gradients of attention_tensor_core.cu, in one of two ways. Where a head's keys and queries fit in one block's
// shared memory (bf16, heads of 64 at most, some 200 keys), the block makes dq, dk and dv of the head and every product
// once. Else two kernels, of dq by queries and of dk and dv by keys, both make the weights again: 7 products, not 5.
// The rule: each sum is one warp's, in the order of the rows that it sums over; there are no atomics.
#include "backends/cuda/attention_tiles.h"

namespace tacit::cuda {

namespace {

/// A query's lse, and its dy · y; zeros for one that does not exist, whose q and dy are zeros, too.
struct OfQuery {
  float lse = 0, along = 0;
};

inline constexpr int kTogether = 4;  // what a thread reads at a time

/// along = dy · y of `rows` queries from `first`, by the lanes of a row's chunks; put(row, along, with(row)) by one of
/// them, if the row exists.
template <class Tile, class S, class With, class Put>
__device__ void sum_along(const Heads<const S>& dy, const Heads<const S>& y, int64_t nh, int64_t first, int rows,
                          const AttentionSizes<float>& z, const With& with, const Put& put) {
  const S *const a = dy.row(nh, 0), *const b = y.row(nh, 0);
  const int threads = static_cast<int>(blockDim.x),
            c = static_cast<int>(threadIdx.x) % Tile::kChunks * Tile::Number::kInChunk;
  for (int begin = static_cast<int>(threadIdx.x); begin < rows * Tile::kChunks; begin += kTogether * threads) {
    Chunk of_dy[kTogether], of_y[kTogether];
    float other[kTogether];
    const auto row_of = [&](int i) { return first + (begin + i * threads) / Tile::kChunks; };
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {  // reads the first row for one that does not exist: no branch
      const int64_t row = row_of(i) < z.queries ? row_of(i) : 0;
      of_dy[i] = Tile::chunk_at(a + row * dy.token + (c < z.E ? c : 0));
      of_y[i] = Tile::chunk_at(b + row * y.token + (c < z.E ? c : 0));
      other[i] = with(row);
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      float sum = c < z.E ? Tile::dot(of_dy[i], of_y[i]) : 0;
      for (int distance = 1; distance < Tile::kChunks; distance *= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, distance);
      if (row_of(i) < z.queries && c == 0) put(row_of(i), sum, other[i]);
    }
  }
}
template <class Tile, class S = typename Tile::S>
__global__ void attention_along_kernel(Heads<const S> dy, Heads<const S> y, float* along,
                                       const __grid_constant__ AttentionSizes<float> z) {
  const BlockRows block(z.queries, Tile::kRows);
  const auto nothing = [](int64_t) { return 0.0f; };
  sum_along<Tile>(dy, y, block.nh, block.first, Tile::kRows, z, nothing,
                  [&](int64_t row, float sum, float) { along[block.nh * z.queries + row] = sum; });
}

/// How much of a warp's own rows stays in registers.
template <class Tile>
inline constexpr int kStepsKept = Tile::kSteps <= 4 ? Tile::kSteps : 0;

// p[j] = exp(s[j] - lse);  ds[j] = scale p[j] (dy · v[j] - along);  dq = sum_j ds[j] k[j]
template <class Tile, class S = typename Tile::S>
__global__ void __launch_bounds__(Tile::kMostWarps * 32, Tile::kBlocksWanted)
    tensor_core_dq_kernel(Heads<const S> q, Heads<const S> k, Heads<const S> v, Heads<const S> dy, Heads<S> dq,
                          const float* lse, const float* along, const __grid_constant__ AttentionSizes<float> z) {
  constexpr int kRows = Tile::kRows, kTile = Tile::kTile;
  const int rows = static_cast<int>(blockDim.x) / 32 * kWarpRows;
  Chunk* const tile_q = dynamic_shared<Chunk>();
  Chunk* const tile_dy = tile_q + rows * Tile::kChunks;
  Chunk* const tiles = tile_dy + rows * Tile::kChunks;  // in each place one of k and one of v
  const BlockRows block(z.queries, rows);
  const int64_t my_first = block.first + warp_of() * kWarpRows;
  float my_lse[2], my_along[2];
  for (int half = 0; half < 2; ++half) {
    const int64_t row = my_first + g_of() + half * 8, at = block.nh * z.queries + row;
    my_lse[half] = row < z.queries ? lse[at] : 0;
    my_along[half] = row < z.queries ? along[at] : 0;
  }
  typename Tile::template Left<kStepsKept<Tile>> my_q, my_dy;
  typename Tile::Sums sums = {};
  Tile::load(q, block.nh, block.first, z.queries, z.D, rows, tile_q);
  Tile::load(dy, block.nh, block.first, z.queries, z.E, rows, tile_dy);
  const auto load = [&](int64_t first, int at) { Tile::load_both(k, v, block.nh, first, z.keys, z, tiles, at); };
  through_tiles<Tile>(z.keys, load, [&](int64_t first, int at) {
    if (my_first >= z.queries) return;
    if (first == 0) my_q.take(tile_q + warp_of() * Tile::kGroup), my_dy.take(tile_dy + warp_of() * Tile::kGroup);
#pragma unroll 1
    for (int i = 0; i < kRows && first + i < z.keys; i += kWarpRows) {
      const Chunk* const tile_k = tiles + at * 2 * kTile + i * Tile::kChunks;  // of v: kTile further on
      Scores s[1] = {}, dp[1];
#pragma unroll
      for (int e = 0; e < 8; ++e) dp[0][e / 4][e % 4] = -my_along[e / 2 % 2];
#pragma unroll
      for (int step = 0; step < Tile::kSteps; ++step) {
        Tile::add_product(my_q, step, tile_k, s);
        Tile::add_product(my_dy, step, tile_k, dp, kTile);
      }
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        float& ds = s[0][e / 4][e % 4];
        ds = exp_approximate(rounded_product(z.scale, ds) - my_lse[e / 2 % 2]) * dp[0][e / 4][e % 4];
      }
      if (z.keys - first - i < kWarpRows) {
        const int keys = static_cast<int>(z.keys - first) - i;
#pragma unroll
        for (int e = 0; e < 8; ++e)
          if (e / 4 * 8 + 2 * t_of() + e % 2 >= keys) s[0][e / 4][e % 4] = 0;
      }
      typename Tile::Weights ds;
      Tile::Number::weights(s[0], ds);
      Tile::add_weighted(ds, tile_k, sums);
    }
  });
  if (my_first < z.queries) Tile::store(dq, block.nh, my_first, z.queries, z.D, sums, z.scale);
}

/// A warp's 16 keys.
template <class Tile>
struct Keys {
  typename Tile::template Left<kStepsKept<Tile>> k, v;
  typename Tile::Sums dk = {}, dv = {};  // dk without the scale

  /// Adds 16 queries, whose dy lies kApart chunks behind q. Leaves ds without the scale, as a left factor of keys by
  /// queries.
  template <int kApart>
  __device__ void add(const Chunk* tile_q, const OfQuery* queries, float scale, typename Tile::Weights& ds) {
    Scores s[1] = {}, dp[1] = {};
#pragma unroll(Tile::kSteps <= 8 ? Tile::kSteps : 4)
    for (int step = 0; step < Tile::kSteps; ++step) {
      Tile::add_product(k, step, tile_q, s);
      Tile::add_product(v, step, tile_q, dp, kApart);
    }
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      const OfQuery query = queries[e / 4 * 8 + 2 * t_of() + e % 2];
      float& p = s[0][e / 4][e % 4];
      p = exp_approximate(rounded_product(scale, p) - query.lse);
      dp[0][e / 4][e % 4] = p * (dp[0][e / 4][e % 4] - query.along);
    }
    typename Tile::Weights p;
    Tile::Number::weights(s[0], p);
    Tile::add_weighted(p, tile_q, dv, kApart);
    Tile::Number::weights(dp[0], ds);
    Tile::add_weighted(ds, tile_q, dk);
  }
  template <class S>
  __device__ void store(const Heads<S>& to_dk, const Heads<S>& to_dv, int64_t nh, int64_t first,
                        const AttentionSizes<float>& z) const {
    if (to_dk.data != nullptr) Tile::store(to_dk, nh, first, z.keys, z.D, dk, z.scale);
    if (to_dv.data != nullptr) Tile::store(to_dv, nh, first, z.keys, z.E, dv, 1);
  }
};

/// Sums of two gradients need more registers: fewer warps have them.
template <class Tile>
inline constexpr int kMostWarpsOfKeys = Tile::kMostWarps * 3 / 4;

// dk[j] = sum_i ds[i] q[i];  dv[j] = sum_i p[i] dy[i], over the queries i; a warp's rows are keys
template <class Tile, class S = typename Tile::S>
__global__ void __launch_bounds__(kMostWarpsOfKeys<Tile> * 32, Tile::kBlocksWanted)
    tensor_core_dkv_kernel(Heads<const S> q, Heads<const S> k, Heads<const S> v, Heads<const S> dy, Heads<S> dk,
                           Heads<S> dv, const float* lse, const float* along,
                           const __grid_constant__ AttentionSizes<float> z) {
  constexpr int kRows = Tile::kRows, kTile = Tile::kTile;
  const int rows = static_cast<int>(blockDim.x) / 32 * kWarpRows;
  Chunk* const tile_k = dynamic_shared<Chunk>();
  Chunk* const tile_v = tile_k + rows * Tile::kChunks;
  Chunk* const tiles = tile_v + rows * Tile::kChunks;  // in each place one of q and one of dy
  OfQuery* const of_queries = reinterpret_cast<OfQuery*>(tiles + Tile::kPlaces * 2 * kTile);
  const BlockRows block(z.keys, rows);
  const int64_t my_first = block.first + warp_of() * kWarpRows;
  Keys<Tile> mine;
  Tile::load(k, block.nh, block.first, z.keys, z.D, rows, tile_k);
  Tile::load(v, block.nh, block.first, z.keys, z.E, rows, tile_v);
  const auto load = [&](int64_t first, int at) {
    Tile::load_both(q, dy, block.nh, first, z.queries, z, tiles, at);
    for (int i = static_cast<int>(threadIdx.x); i < kRows; i += static_cast<int>(blockDim.x)) {
      const int64_t query = block.nh * z.queries + first + i;
      of_queries[at * kRows + i] = first + i < z.queries ? OfQuery{lse[query], along[query]} : OfQuery{};
    }
  };
  through_tiles<Tile>(z.queries, load, [&](int64_t first, int at) {
    if (my_first >= z.keys) return;
    if (first == 0) mine.k.take(tile_k + warp_of() * Tile::kGroup), mine.v.take(tile_v + warp_of() * Tile::kGroup);
#pragma unroll 1
    for (int i = 0; i < kRows && first + i < z.queries; i += kWarpRows) {
      const Chunk* const tile_q = tiles + at * 2 * kTile + i * Tile::kChunks;
      typename Tile::Weights ds;
      mine.template add<kTile>(tile_q, of_queries + at * kRows + i, z.scale, ds);
    }
  });
  if (my_first < z.keys) mine.store(dk, dv, block.nh, my_first, z);
}

// A head's gradients by one block: each warp makes dk and dv of its 16 keys, and leaves ds, rounded, in shared memory;
// from there each makes dq of 16 queries.
template <class Tile>
inline constexpr int kMostWarpsOfHead = Tile::kColumns <= 32 ? 16 : 13;  // as many as registers suffice for
inline constexpr int kEarlyGroups = 4;  // of 16 queries, which are worked on while the others come
template <class Tile, class S = typename Tile::S>
__global__ void __launch_bounds__(kMostWarpsOfHead<Tile> * 32, 1)
    attention_head_grad_kernel(Heads<const S> q, Heads<const S> k, Heads<const S> v, Heads<const S> dy,
                               Heads<const S> y, Heads<S> dq, Heads<S> dk, Heads<S> dv, const float* lse,
                               const __grid_constant__ AttentionSizes<float> z) {
  const int warps = static_cast<int>(blockDim.x) / 32, groups = static_cast<int>(divide_up(z.queries, kWarpRows));
  const int keys = warps * kWarpRows, queries = groups * kWarpRows, width = static_cast<int>(divide_up(z.queries, 8));
  Chunk* const tile_k = dynamic_shared<Chunk>();
  Chunk* const tile_q = tile_k + keys * Tile::kChunks;  // and dy: behind each 16 rows of q the same of dy
  Chunk* const tile_dy = tile_q + Tile::kGroup;
  Chunk* const tile_ds = tile_q + 2 * queries * Tile::kChunks;  // a row a key, a chunk 8 queries
  Chunk* const tile_v = tile_ds;                                // until all warps have their rows of it
  OfQuery* const of_queries =
      reinterpret_cast<OfQuery*>(tile_ds + keys * (width > Tile::kChunks ? width : Tile::kChunks));
  const int64_t nh = blockIdx.x;
  const int my_first = warp_of() * kWarpRows;

  Tile::load(k, nh, 0, z.keys, z.D, keys, tile_k);
  Tile::load(v, nh, 0, z.keys, z.E, keys, tile_v);
  commit_copies();
  const auto load_queries = [&](int from, int to) {
    Tile::load(q, nh, from, z.queries, z.D, to - from, tile_q + 2 * from * Tile::kChunks, 2 * Tile::kGroup);
    Tile::load(dy, nh, from, z.queries, z.E, to - from, tile_dy + 2 * from * Tile::kChunks, 2 * Tile::kGroup);
    commit_copies();
  };
  const int early = groups < kEarlyGroups ? groups : kEarlyGroups;
  load_queries(0, early * kWarpRows);
  load_queries(early * kWarpRows, queries);
  const auto its_lse = [&](int64_t row) { return lse[nh * z.queries + row]; };
  sum_along<Tile>(dy, y, nh, 0, queries, z, its_lse, [&](int64_t row, float sum, float row_lse) {
    of_queries[row] = {row_lse, sum};
  });
  for (int row = static_cast<int>(z.queries) + static_cast<int>(threadIdx.x); row < queries;
       row += static_cast<int>(blockDim.x))
    of_queries[row] = OfQuery{};
  wait_for_copies<2>();
  __syncthreads();
  Keys<Tile> mine;
  mine.k.take(tile_k + warp_of() * Tile::kGroup), mine.v.take(tile_v + warp_of() * Tile::kGroup);
  wait_for_copies<1>();
  __syncthreads();
  const int row = my_first + g_of(), twist = twist_of(row, width);
  uint32_t* const my_ds = tile_ds[row * width].words + t_of();
  for (int group = 0; group < groups; ++group) {
    if (group == kEarlyGroups) {
      wait_for_copies<0>();
      __syncthreads();
    }
    typename Tile::Weights ds;
    const Chunk* const its_q = tile_q + group * 2 * Tile::kGroup;
    mine.template add<Tile::kGroup>(its_q, of_queries + group * kWarpRows, z.scale, ds);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (group * 2 + i == width) break;
      uint32_t* const at = my_ds + ((group * 2 + i) ^ twist) * 4;
      at[0] = ds[0][i * 2], at[8 * width * 4] = ds[0][i * 2 + 1];
    }
  }
  __syncwarp();
  for (int i = static_cast<int>(z.keys) * width + static_cast<int>(threadIdx.x) % 32;
       i < (my_first + kWarpRows) * width; i += 32)
    tile_ds[i] = Chunk{};  // of keys beyond the last, there may be anything
  mine.store(dk, dv, nh, my_first, z);
  if (dq.data == nullptr) return;
  __syncthreads();
  const LanePlace at = across_first();
  for (int group = warp_of(); group < groups; group += warps) {
    typename Tile::Sums sums = {};
    const Chunk* const its_ds = tile_ds + place(at.row, group * 2 + at.chunk, width);  // beyond an odd width: anything
    for (int i = 0; i < warps; ++i) {
      typename Tile::Weights ds;
      load_matrices_transposed(shared_address(its_ds + i * kWarpRows * width), ds[0]);
      Tile::add_weighted(ds, tile_k + i * Tile::kGroup, sums);
    }
    Tile::store(dq, nh, group * kWarpRows, z.queries, z.D, sums, z.scale);
    __syncwarp();  // not all lanes store; the next products are of all
  }
}

/// Shared memory of attention_head_grad_kernel.
template <class Tile>
size_t bytes_of_head(const AttentionSizes<float>& z) {
  const auto up = [](int64_t rows) { return divide_up(rows, kWarpRows) * kWarpRows; };
  const size_t ds = sizeof(Chunk) * static_cast<size_t>(up(z.keys) * divide_up(z.queries, 8));
  return Tile::bytes(up(z.keys) + 2 * up(z.queries)) + sizeof(OfQuery) * static_cast<size_t>(up(z.queries)) +
         std::max(ds, Tile::bytes(up(z.keys)));
}

}  // namespace

bool tensor_core_attention_grad(cudaStream_t stream, const AttentionGradArgs& a) {
  const AttentionSizes<float> z(a);
  return with_tiles(a.dy.dtype, z, [&](auto tile) {
    using Tile = decltype(tile);
    using S = typename Tile::S;
    const size_t most = most_shared_memory();
    const Heads<const S> q(a.q), k(a.k), v(a.v), dy(a.dy), y(a.y);
    const Heads<S> dq(a.dq), dk(a.dk), dv(a.dv);
    if (!in_chunks(q, k, v, dy, y) || !in_chunks(dq, dk, dv)) return false;
    if constexpr (Tile::Number::kAsIs && Tile::kColumns <= 64)
      if (const size_t shared = bytes_of_head<Tile>(z);
          z.keys <= kMostWarpsOfHead<Tile> * kWarpRows && shared <= most) {
        launch(stream, attention_head_grad_kernel<Tile>, Grid{z.heads},
               dim3(warps_for(z.keys, kMostWarpsOfHead<Tile>) * 32), shared, q, k, v, dy, y, dq, dk, dv,
               a.lse.ptr<float>(), z);
        return true;
      }
    // Calls f(blocks, threads, bytes) for a kernel of so many rows.
    const auto by_rows = [&](int64_t rows, int most_warps, const auto& f) {
      const unsigned warps = warps_for(rows, most_warps);
      const int64_t of_block = warps * kWarpRows;
      f(Grid{divide_up(rows, of_block) * z.heads}, dim3(warps * 32),
        Tile::bytes(2 * of_block + 2 * Tile::kPlaces * Tile::kRows) + sizeof(OfQuery) * Tile::kPlaces * Tile::kRows);
    };
    bool fits = true;
    for (const int64_t rows : {z.queries, z.keys})
      by_rows(rows, Tile::kMostWarps, [&](const Grid&, dim3, size_t shared) { fits = fits && shared <= most; });
    if (!fits) return false;
    Scratch scratch(stream);
    float* const along = scratch.take<float>(z.heads * z.queries);
    launch(stream, attention_along_kernel<Tile>, Grid{divide_up(z.queries, Tile::kRows) * z.heads},
           dim3(Tile::kRows * Tile::kChunks / kTogether), 0, dy, y, along, z);
    if (a.dq.defined())
      by_rows(z.queries, Tile::kMostWarps, [&](const Grid& grid, dim3 block, size_t shared) {
        launch(stream, tensor_core_dq_kernel<Tile>, grid, block, shared, q, k, v, dy, dq, a.lse.ptr<float>(), along, z);
      });
    if (a.dk.defined() || a.dv.defined())
      by_rows(z.keys, kMostWarpsOfKeys<Tile>, [&](const Grid& grid, dim3 block, size_t shared) {
        launch(stream, tensor_core_dkv_kernel<Tile>, grid, block, shared, q, k, v, dy, dk, dv, a.lse.ptr<float>(),
               along, z);
      });
    return true;
  });
}

}  // namespace tacit::cuda
