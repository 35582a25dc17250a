// Attention by tensor cores, for heads of 32 to 128 numbers (multiples of 16): the arithmetic of attention.cu, with f32
// operands rounded to tf32 when they enter shared memory, bf16 ones as they are, weights rounded like operands, and
// sums, softmax and logits in f32. The rule: a warp has 16 of the block's rows and sums all of their products itself,
// so no order depends on another.
#include "backends/cuda/attention.h"
#include "backends/cuda/tensor_core.h"
#include "tensor/precision.h"

namespace tacit::cuda {

namespace {

inline constexpr int kWarps = 4, kWarpRows = 16, kRows = kWarps * kWarpRows, kColumns = 32, kBlocks = kColumns / 8;

/// This lane's row of results in the block's rows; half 0 is row g of its fragments, 1 is row g + 8.
__device__ inline int64_t row_of(const BlockRows& block, int half) {
  return block.first + warp_of() * kWarpRows + g_of() + half * 8;
}

/// 16 x 32 sums of a warp, as kBlocks of the instruction's 16 x 8.
using Scores = float[kBlocks][4];

// How numbers are rounded and multiplied; S is their type in memory. A row in shared memory is words of kInWord
// numbers.
struct Tf32 {
  using S = float;
  static constexpr int kInWord = 1, kStep = 8;
  __device__ static void store(uint32_t* row, int c, float first, float second) {
    row[c] = to_tf32(first), row[c + 1] = to_tf32(second);
  }
  __device__ static void multiply_add(float (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2]) {
    multiply_add_tf32(sums, left, right);
  }
  /// Sums as a left factor: step t is their column 2t, step t + 4 column 2t + 1, so that they stay where they are.
  __device__ static void left_of(const Scores& sums, int step, uint32_t (&left)[4]) {
    const float(&s)[4] = sums[step];
    left[0] = to_tf32(s[0]), left[1] = to_tf32(s[2]), left[2] = to_tf32(s[1]), left[3] = to_tf32(s[3]);
  }
  /// Rows as steps, in that order; column n.
  __device__ static void right_of(const uint32_t* tile, int words, int first_row, int n, uint32_t (&right)[2]) {
    for (int r = 0; r < 2; ++r) right[r] = tile[(first_row + 2 * t_of() + r) * words + n];
  }
};
struct Bf16 {
  using S = BFloat16;
  static constexpr int kInWord = 2, kStep = 16;
  __device__ static void store(uint32_t* row, int c, BFloat16 first, BFloat16 second) {
    row[c / 2] = first.bits | static_cast<uint32_t>(second.bits) << 16;
  }
  __device__ static void multiply_add(float (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2]) {
    multiply_add_bf16(sums, left, right);
  }
  /// Two blocks of sums lie as the instruction wants a left factor.
  __device__ static void left_of(const Scores& sums, int step, uint32_t (&left)[4]) {
    for (int r = 0; r < 4; ++r) {
      const float(&s)[4] = sums[step * 2 + r / 2];
      left[r] = to_bf16_pair(s[r % 2 * 2], s[r % 2 * 2 + 1]);
    }
  }
  __device__ static void right_of(const uint32_t* tile, int words, int first_row, int n, uint32_t (&right)[2]) {
    const int shift = n % 2 * 16;
    for (int r = 0; r < 2; ++r) {
      const uint32_t* const at = tile + (first_row + 2 * t_of() + 8 * r) * words + n / 2;
      right[r] = (at[0] >> shift & 0xffffu) | at[words] >> shift << 16;
    }
  }
};

/// Products over tiles in shared memory with rows of kSize numbers. Rows are 4 words longer, so that a warp's fragments
/// lie in different banks: lanes (g, t) read words 4 g + t and 8 t + g.
template <class Number, int kSize>
struct Tiles {
  using S = typename Number::S;
  static constexpr int kWords = kSize / Number::kInWord + 4;
  static constexpr size_t bytes(int rows) { return sizeof(uint32_t) * static_cast<size_t>(rows) * kWords; }

  /// Rows first … of a head; 0 beyond `tokens` and in columns beyond `size`.
  __device__ static void load(const Heads<const S>& from, int64_t nh, int64_t first, int64_t tokens, int size, int rows,
                              uint32_t* tile) {
    for (int i = static_cast<int>(threadIdx.x); i < rows * kSize / 2; i += kWarps * 32) {
      const int row = i / (kSize / 2), c = i % (kSize / 2) * 2;
      const bool here = first + row < tokens && c < size;
      const S* const at = here ? from.row(nh, first + row) + c : nullptr;
      Number::store(tile + row * kWords, c, here ? at[0] : S{}, here ? at[1] : S{});
    }
  }
  /// The warp's rows of one tile times every row of the other.
  __device__ static void products(const uint32_t* rows, const uint32_t* columns, Scores& sums) {
    const uint32_t* const mine = rows + (warp_of() * kWarpRows + g_of()) * kWords + t_of();
    const uint32_t* const other = columns + g_of() * kWords + t_of();
#pragma unroll
    for (int block = 0; block < kBlocks; ++block)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[block][e] = 0;
#pragma unroll
    for (int w = 0; w < kSize / Number::kInWord; w += 8) {
      const uint32_t left[4] = {mine[w], mine[8 * kWords + w], mine[w + 4], mine[8 * kWords + w + 4]};
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
        const uint32_t right[2] = {other[block * 8 * kWords + w], other[block * 8 * kWords + w + 4]};
        Number::multiply_add(sums[block], left, right);
      }
    }
  }
  /// sums += weights (16 x 32) times the tile's 32 rows.
  __device__ static void add_weighted(const Scores& weights, const uint32_t* tile, float (&sums)[kSize / 8][4]) {
#pragma unroll
    for (int step = 0; step < kColumns / Number::kStep; ++step) {
      uint32_t left[4];
      Number::left_of(weights, step, left);
#pragma unroll
      for (int block = 0; block < kSize / 8; ++block) {
        uint32_t right[2];
        Number::right_of(tile, kWords, step * Number::kStep, block * 8 + g_of(), right);
        Number::multiply_add(sums[block], left, right);
      }
    }
  }
  /// Writes f(sum, half) to the warp's rows of a head.
  template <class F>
  __device__ static void store(const Heads<S>& to, const BlockRows& block, int64_t tokens, int size,
                               const float (&sums)[kSize / 8][4], const F& f) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t row = row_of(block, half);
      if (row >= tokens) continue;
      S* const out = to.row(block.nh, row);
#pragma unroll
      for (int n = 0; n < kSize / 8; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (n * 8 + 2 * t_of() + e < size) out[n * 8 + 2 * t_of() + e] = convert<S>(f(sums[n][half * 2 + e], half));
    }
  }
};

/// Over the four lanes that share a row of sums.
__device__ inline float quad_max(float value) {
  for (int distance = 1; distance < 4; distance *= 2) value = max(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}
__device__ inline float quad_sum(float value) {
  for (int distance = 1; distance < 4; distance *= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

// s[j] = scale q · k[j];  lse = log sum exp s;  y = sum exp(s - lse) v
template <class Number, int kSize, class S = typename Number::S>
__global__ void __launch_bounds__(kWarps * 32)
    attention_kernel(Heads<const S> q, Heads<const S> k, Heads<const S> v, Heads<S> y, float* lse,
                     const __grid_constant__ AttentionSizes<float> z) {
  using Tile = Tiles<Number, kSize>;
  uint32_t* const tile_q = dynamic_shared<uint32_t>();
  uint32_t* const tile_k = tile_q + kRows * Tile::kWords;
  uint32_t* const tile_v = tile_k + kColumns * Tile::kWords;
  const BlockRows block(z.queries, kRows);
  Tile::load(q, block.nh, block.first, z.queries, z.D, kRows, tile_q);
  float sums[kSize / 8][4] = {}, largest[2], total[2] = {0, 0};
  largest[0] = largest[1] = -__builtin_inff();
  for (int64_t first = 0; first < z.keys; first += kColumns) {
    __syncthreads();
    Tile::load(k, block.nh, first, z.keys, z.D, kColumns, tile_k);
    Tile::load(v, block.nh, first, z.keys, z.E, kColumns, tile_v);
    __syncthreads();
    Scores s;
    Tile::products(tile_q, tile_k, s);
    float next[2] = {largest[0], largest[1]};
#pragma unroll
    for (int n = 0; n < kBlocks; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const bool valid = first + n * 8 + 2 * t_of() + e % 2 < z.keys;
        s[n][e] = valid ? rounded_product(z.scale, s[n][e]) : -__builtin_inff();
        next[e / 2] = max(next[e / 2], s[n][e]);
      }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      next[half] = quad_max(next[half]);
      const float shrink = fast_exp(largest[half] - next[half]);
      largest[half] = next[half];
      total[half] *= shrink;
#pragma unroll
      for (int n = 0; n < kBlocks; ++n)
#pragma unroll
        for (int e = half * 2; e < half * 2 + 2; ++e) {
          s[n][e] = fast_exp(s[n][e] - next[half]);
          total[half] += s[n][e];
        }
#pragma unroll
      for (int n = 0; n < kSize / 8; ++n) sums[n][half * 2] *= shrink, sums[n][half * 2 + 1] *= shrink;
    }
    Tile::add_weighted(s, tile_v, sums);
  }
  total[0] = quad_sum(total[0]), total[1] = quad_sum(total[1]);
  Tile::store(y, block, z.queries, z.E, sums, [&](float sum, int half) { return sum / total[half]; });
  for (int half = 0; half < 2; ++half) {
    const int64_t row = row_of(block, half);
    if (t_of() == 0 && row < z.queries)
      lse[block.nh * z.queries + row] = largest[half] + static_cast<float>(::log(static_cast<double>(total[half])));
  }
}

// p[j] = exp(s[j] - lse);  ds[j] = scale p[j] (dy · v[j] - along);  dq = sum_j ds[j] k[j]
template <class Number, int kSize, class S = typename Number::S>
__global__ void __launch_bounds__(kWarps * 32)
    attention_dq_kernel(Heads<const S> q, Heads<const S> k, Heads<const S> v, Heads<const S> dy, Heads<S> dq,
                        const float* lse, const float* along, const __grid_constant__ AttentionSizes<float> z) {
  using Tile = Tiles<Number, kSize>;
  uint32_t* const tile_q = dynamic_shared<uint32_t>();
  uint32_t* const tile_dy = tile_q + kRows * Tile::kWords;
  uint32_t* const tile_k = tile_dy + kRows * Tile::kWords;
  uint32_t* const tile_v = tile_k + kColumns * Tile::kWords;
  const BlockRows block(z.queries, kRows);
  Tile::load(q, block.nh, block.first, z.queries, z.D, kRows, tile_q);
  Tile::load(dy, block.nh, block.first, z.queries, z.E, kRows, tile_dy);
  float my_lse[2], my_along[2];
  for (int half = 0; half < 2; ++half) {
    const int64_t row = row_of(block, half);
    my_lse[half] = row < z.queries ? lse[block.nh * z.queries + row] : 0;
    my_along[half] = row < z.queries ? along[block.nh * z.queries + row] : 0;
  }
  float sums[kSize / 8][4] = {};
  for (int64_t first = 0; first < z.keys; first += kColumns) {
    __syncthreads();
    Tile::load(k, block.nh, first, z.keys, z.D, kColumns, tile_k);
    Tile::load(v, block.nh, first, z.keys, z.E, kColumns, tile_v);
    __syncthreads();
    Scores s, dp;
    Tile::products(tile_q, tile_k, s);
    Tile::products(tile_dy, tile_v, dp);
#pragma unroll
    for (int n = 0; n < kBlocks; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const bool valid = first + n * 8 + 2 * t_of() + e % 2 < z.keys;
        const float p = valid ? fast_exp(rounded_product(z.scale, s[n][e]) - my_lse[e / 2]) : 0.0f;
        s[n][e] = z.scale * p * (dp[n][e] - my_along[e / 2]);
      }
    Tile::add_weighted(s, tile_k, sums);
  }
  Tile::store(dq, block, z.queries, z.D, sums, [](float sum, int) { return sum; });
}

// dk[j] = sum_i ds[i] q[i];  dv[j] = sum_i p[i] dy[i], over the queries i; a warp's rows are keys
template <class Number, int kSize, class S = typename Number::S>
__global__ void __launch_bounds__(kWarps * 32)
    attention_dkv_kernel(Heads<const S> q, Heads<const S> k, Heads<const S> v, Heads<const S> dy, Heads<S> dk,
                         Heads<S> dv, const float* lse, const float* along,
                         const __grid_constant__ AttentionSizes<float> z) {
  using Tile = Tiles<Number, kSize>;
  uint32_t* const tile_k = dynamic_shared<uint32_t>();
  uint32_t* const tile_v = tile_k + kRows * Tile::kWords;
  uint32_t* const tile_q = tile_v + kRows * Tile::kWords;
  uint32_t* const tile_dy = tile_q + kColumns * Tile::kWords;
  const BlockRows block(z.keys, kRows);
  Tile::load(k, block.nh, block.first, z.keys, z.D, kRows, tile_k);
  Tile::load(v, block.nh, block.first, z.keys, z.E, kRows, tile_v);
  float sums_k[kSize / 8][4] = {}, sums_v[kSize / 8][4] = {};
  for (int64_t first = 0; first < z.queries; first += kColumns) {
    __syncthreads();
    Tile::load(q, block.nh, first, z.queries, z.D, kColumns, tile_q);
    Tile::load(dy, block.nh, first, z.queries, z.E, kColumns, tile_dy);
    __syncthreads();
    Scores p, ds;
    Tile::products(tile_k, tile_q, p);
    Tile::products(tile_v, tile_dy, ds);
#pragma unroll
    for (int n = 0; n < kBlocks; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int64_t query = first + n * 8 + 2 * t_of() + e, at = block.nh * z.queries + query;
        const bool valid = query < z.queries;
        const float its_lse = valid ? lse[at] : 0.0f, its_along = valid ? along[at] : 0.0f;
#pragma unroll
        for (int r = e; r < 4; r += 2) {
          p[n][r] = valid ? fast_exp(rounded_product(z.scale, p[n][r]) - its_lse) : 0.0f;
          ds[n][r] = z.scale * p[n][r] * (ds[n][r] - its_along);
        }
      }
    Tile::add_weighted(ds, tile_q, sums_k);
    Tile::add_weighted(p, tile_dy, sums_v);
  }
  const auto as_it_is = [](float sum, int) { return sum; };
  if (dk.data != nullptr) Tile::store(dk, block, z.keys, z.D, sums_k, as_it_is);
  if (dv.data != nullptr) Tile::store(dv, block, z.keys, z.E, sums_v, as_it_is);
}

inline constexpr int kMostRows = 2 * (kRows + kColumns);  // of a kernel's tiles

/// Calls f(number, size) with the kind of numbers and the size of rows in tiles, as types; false where there is none.
template <class F>
bool with_tiles(DType dtype, const AttentionSizes<float>& z, F&& f) {
  const auto suits = [](int size) { return size >= 32 && size <= 128 && size % 16 == 0; };
  if (!suits(z.D) || !suits(z.E)) return false;
  const auto sized = [&](auto number) {
    using Number = decltype(number);
    const auto run = [&](auto size) {
      if (Tiles<Number, decltype(size)::value>::bytes(kMostRows) > most_shared_memory()) return false;
      f(number, size);
      return true;
    };
    const int largest = z.D > z.E ? z.D : z.E;
    if (largest <= 32) return run(std::integral_constant<int, 32>());
    if (largest <= 64) return run(std::integral_constant<int, 64>());
    return run(std::integral_constant<int, 128>());
  };
  if (dtype == bf16) return sized(Bf16());
  return dtype == f32 && precision() != Precision::F32 && sized(Tf32());
}

}  // namespace

bool tensor_core_attention(cudaStream_t stream, const AttentionArgs& a) {
  const AttentionSizes<float> z(a);
  return with_tiles(a.y.dtype, z, [&](auto number, auto size) {
    using Number = decltype(number);
    using S = typename Number::S;
    constexpr int kSize = decltype(size)::value;
    launch(stream, attention_kernel<Number, kSize>, Grid{divide_up(z.queries, kRows) * z.heads}, dim3(kWarps * 32),
           Tiles<Number, kSize>::bytes(kRows + 2 * kColumns), Heads<const S>(a.q), Heads<const S>(a.k),
           Heads<const S>(a.v), Heads<S>(a.y), a.lse.ptr<float>(), z);
  });
}

bool tensor_core_attention_grad(cudaStream_t stream, const AttentionGradArgs& a, const float* along) {
  const AttentionSizes<float> z(a);
  return with_tiles(a.dy.dtype, z, [&](auto number, auto size) {
    using Number = decltype(number);
    using S = typename Number::S;
    constexpr int kSize = decltype(size)::value;
    const size_t shared = Tiles<Number, kSize>::bytes(kMostRows);
    const Heads<const S> q(a.q), k(a.k), v(a.v), dy(a.dy);
    if (a.dq.defined())
      launch(stream, attention_dq_kernel<Number, kSize>, Grid{divide_up(z.queries, kRows) * z.heads}, dim3(kWarps * 32),
             shared, q, k, v, dy, Heads<S>(a.dq), a.lse.ptr<float>(), along, z);
    if (a.dk.defined() || a.dv.defined())
      launch(stream, attention_dkv_kernel<Number, kSize>, Grid{divide_up(z.keys, kRows) * z.heads}, dim3(kWarps * 32),
             shared, q, k, v, dy, Heads<S>(a.dk), Heads<S>(a.dv), a.lse.ptr<float>(), along, z);
  });
}

}  // namespace tacit::cuda
