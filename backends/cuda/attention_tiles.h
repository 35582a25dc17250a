// Tiles of attention on tensor cores: rows of a head in shared memory, as chunks of 16 bytes, and the products of a
// warp's 16 rows with them. With f32 operands rounded to tf32 when they enter shared memory, bf16 ones as they are,
// weights rounded like operands, and sums, softmax and logits in f32.
// The rule: chunks lie so that no eight rows' chunks of one column share a bank (place).
#pragma once

#include "backends/cuda/attention.h"
#include "backends/cuda/tensor_core.h"
#include "tensor/precision.h"

namespace tacit::cuda {

inline constexpr int kWarpRows = 16;  ///< of a warp; tiles are multiples of it

/// Chunk c of a row with `chunks` of them lies at c ^ twist: load_matrices reads the same chunk of eight rows at once,
/// and these are spread over all eight places that shared memory serves together.
__device__ inline int twist_of(int row, int chunks) {
  const int apart = (chunks | 8) & -(chunks | 8);  // the places that rows leave out by themselves
  return (row & 7) * apart >> 3;
}
/// Where a chunk lies in a tile with rows of `chunks`.
__device__ inline int place(int row, int chunk, int chunks) { return row * chunks + (chunk ^ twist_of(row, chunks)); }
/// The row and the chunk that this lane says to load_matrices, for four matrices of 16 rows and two chunks: down first,
/// or across first.
struct LanePlace {
  int row, chunk;
};
__device__ inline LanePlace down_first() {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  return {lane % 16, lane / 16};
}
__device__ inline LanePlace across_first() {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  return {lane % 8 + lane / 16 * 8, lane / 8 % 2};
}

/// The address of the chunk that follows the first or second of its row by 2 n, in a tile that lies `further` chunks
/// on: 2 n is added by an exclusive or, which place allows, since tiles lie at multiples of their rows' size.
__device__ inline SharedAddress two_chunks_on(const Chunk* at, int n, int further) {
  constexpr int kBytes = static_cast<int>(sizeof(Chunk));
  return (shared_address(at) ^ static_cast<SharedAddress>(n * 2 * kBytes)) +
         static_cast<SharedAddress>(further * kBytes);
}

/// Half a chunk: what a lane writes at once.
struct alignas(8) HalfChunk {
  uint32_t words[2];
};

/// A lane's sums of 16 x 16 products, as two of the instruction's 16 x 8.
using Scores = float[2][4];

// How numbers are rounded and multiplied; S is their type in memory. kSteps instructions sum over 16 of them.
struct Tf32 {
  using S = float;
  static constexpr int kInChunk = 4, kSteps = 2;
  static constexpr bool kAsIs = false;
  __device__ static uint32_t rounded(uint32_t word) { return to_tf32(__builtin_bit_cast(float, word)); }
  __device__ static float dot(uint32_t a, uint32_t b) {
    return __builtin_bit_cast(float, a) * __builtin_bit_cast(float, b);
  }
  __device__ static void multiply_add(float (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2]) {
    multiply_add_tf32(sums, left, right);
  }
  /// Sums as a left factor: step t is their column 2t, step t + 4 column 2t + 1, so that they stay where they are.
  __device__ static void weights(const Scores& sums, uint32_t (&left)[kSteps][4]) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const float(&s)[4] = sums[step];
      left[step][0] = to_tf32(s[0]), left[step][1] = to_tf32(s[2]);
      left[step][2] = to_tf32(s[1]), left[step][3] = to_tf32(s[3]);
    }
  }
  /// Rows of a tile as steps, in that order; columns n … n + 15, which lie as two_chunks_on says.
  __device__ static void right_of(const Chunk* tile, int chunks, int further, int n, uint32_t (&right)[kSteps][2][2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int first = place(2 * t_of() + r, g_of() / 4, chunks);
#pragma unroll
      for (int i = 0; i < kSteps * 2; ++i)
        right[i / 2][i % 2][r] = tile[(first ^ (n / 4 + i % 2 * 2)) + i / 2 * 8 * chunks + further].words[g_of() % 4];
    }
  }
  /// Two neighbours each of the 8 columns from `at`, and of the next 8.
  __device__ static void store(float* at, bool exists, const float (&first)[2], const float (&second)[2]) {
    if (!exists) return;
    float* const here = at + 2 * t_of();
    const auto bits = [](float x) { return __builtin_bit_cast(uint32_t, x); };
    *reinterpret_cast<HalfChunk*>(here) = {bits(first[0]), bits(first[1])};
    *reinterpret_cast<HalfChunk*>(here + 8) = {bits(second[0]), bits(second[1])};
  }
};
struct Bf16 {
  using S = BFloat16;
  static constexpr int kInChunk = 8, kSteps = 1;
  static constexpr bool kAsIs = true;
  __device__ static float dot(uint32_t a, uint32_t b) {
    const auto number = [](uint32_t bits) { return __builtin_bit_cast(float, bits); };
    return number(a << 16) * number(b << 16) + number(a & 0xffff0000u) * number(b & 0xffff0000u);
  }
  __device__ static void multiply_add(float (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2]) {
    multiply_add_bf16(sums, left, right);
  }
  /// Two blocks of sums lie as the instruction wants a left factor.
  __device__ static void weights(const Scores& sums, uint32_t (&left)[kSteps][4]) {
#pragma unroll
    for (int r = 0; r < 4; ++r) left[0][r] = to_bf16_pair(sums[r / 2][r % 2 * 2], sums[r / 2][r % 2 * 2 + 1]);
  }
  __device__ static void right_of(const Chunk* tile, int chunks, int further, int n, uint32_t (&right)[kSteps][2][2]) {
    const LanePlace at = down_first();
    uint32_t words[4];
    load_matrices_transposed(two_chunks_on(tile + place(at.row, at.chunk, chunks), n / 16, further), words);
    right[0][0][0] = words[0], right[0][0][1] = words[1], right[0][1][0] = words[2], right[0][1][1] = words[3];
  }
  /// Neighbouring lanes exchange a pair, so that each has four columns that lie together.
  __device__ static void store(BFloat16* at, bool exists, const float (&first)[2], const float (&second)[2]) {
    const uint32_t a = to_bf16_pair(first[0], first[1]), b = to_bf16_pair(second[0], second[1]);
    const int odd = t_of() % 2;
    const uint32_t given = __shfl_xor_sync(0xffffffffu, odd != 0 ? a : b, 1);
    const HalfChunk four = {odd != 0 ? given : a, odd != 0 ? b : given};
    if (!exists) return;
    BFloat16* const here = at + odd * 8 + t_of() / 2 * 4;
    *reinterpret_cast<HalfChunk*>(here) = four;
  }
};

/// Tiles with rows of kSize numbers.
template <class N, int kSize>
struct Tiles {
  using Number = N;
  using S = typename Number::S;
  using Weights = uint32_t[Number::kSteps][4];  ///< 16 x 16, rounded, as a left factor
  using Sums = float[kSize / 8][4];             ///< of a warp's 16 rows of kSize numbers
  static constexpr int kColumns = kSize, kChunks = kSize / Number::kInChunk, kSteps = kChunks / 2;
  /// Rows that a block passes through shared memory at a time, in how many places that it uses in turns, and how many
  /// warps it has at most. Wide rows get less, for consumers' cards with 99 KiB of shared memory.
  static constexpr int kRows = kChunks <= 8 ? 64 : 32, kPlaces = Number::kAsIs ? 2 : 1;
  static constexpr int kMostWarps = kChunks <= 16 ? 8 : 4;
  static constexpr int kBlocksWanted =
      Number::kAsIs && kChunks <= 8 ? 2 : 1;  ///< that a processor's registers suffice for
  static constexpr size_t bytes(int64_t rows) { return sizeof(Chunk) * static_cast<size_t>(rows) * kChunks; }

  static constexpr int kGroup = kWarpRows * kChunks;  ///< chunks of 16 rows
  static constexpr int kTile = kRows * kChunks;       ///< of kRows

  /// Begins to bring rows first … of a head to a tile; zeros beyond `tokens` and in columns beyond `size`. Groups of 16
  /// rows lie `apart` chunks from one another.
  __device__ static void load(const Heads<const S>& from, int64_t nh, int64_t first, int64_t tokens, int size, int rows,
                              Chunk* tile, int apart = kGroup) {
    const int chunk = static_cast<int>(threadIdx.x) % kChunks, step = static_cast<int>(blockDim.x) / kChunks;
    const int left =
        chunk * Number::kInChunk < size ? static_cast<int>(tokens - first < rows ? tokens - first : rows) : 0;
    const S* const head = from.row(nh, first);
    const uint32_t token = static_cast<uint32_t>(from.token);  // which in_chunks allows
#pragma unroll(Number::kAsIs ? 1 : 2)
    for (int row = static_cast<int>(threadIdx.x) / kChunks; row < rows; row += step) {
      const bool exists = row < left;
      const S* const at = head + uint64_t{exists ? static_cast<uint32_t>(row) : 0u} * token + chunk * Number::kInChunk;
      Chunk* const to = tile + row / kWarpRows * (apart - kGroup) + place(row, chunk, kChunks);
      if constexpr (Number::kAsIs) {
        copy_async(to, at, !exists);
      } else {
        Chunk numbers = exists ? chunk_at(at) : Chunk{};
        for (uint32_t& word : numbers.words) word = Number::rounded(word);
        *to = numbers;
      }
    }
  }
  /// The same of kRows rows of two tensors, with D and E numbers, to one of kPlaces places, in which one lies kTile
  /// behind the other.
  __device__ static void load_both(const Heads<const S>& x, const Heads<const S>& y, int64_t nh, int64_t first,
                                   int64_t tokens, const AttentionSizes<float>& z, Chunk* places, int at) {
    load(x, nh, first, tokens, z.D, kRows, places + at * 2 * kTile);
    load(y, nh, first, tokens, z.E, kRows, places + at * 2 * kTile + kTile);
  }
  __device__ static Chunk chunk_at(const S* at) { return *reinterpret_cast<const Chunk*>(at); }
  /// The sum of two chunks' products.
  __device__ static float dot(const Chunk& x, const Chunk& y) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < 4; ++w) sum += Number::dot(x.words[w], y.words[w]);
    return sum;
  }

  /// A warp's 16 rows as a left factor, of which the first kKept steps stay in registers and others are read each time.
  template <int kKept>
  struct Left {
    const Chunk* tile = nullptr;
    uint32_t kept[kKept > 0 ? kKept : 1][4];
    /// Of rows that are there.
    __device__ void take(const Chunk* rows) {
      tile = rows;
#pragma unroll
      for (int step = 0; step < kKept; ++step) read(step, kept[step]);
    }
    __device__ void get(int step, uint32_t (&out)[4]) const {
      if (step < kKept)
#pragma unroll
        for (int r = 0; r < 4; ++r) out[r] = kept[kKept > 0 ? step : 0][r];
      else
        read(step, out);
    }
    __device__ void read(int step, uint32_t (&out)[4]) const {
      const LanePlace at = down_first();
      load_matrices(two_chunks_on(tile + place(at.row, at.chunk, kChunks), step, 0), out);
    }
  };
  /// sums += left times kGroups times 16 rows of the tile that lies `further` chunks on, one of kSteps steps.
  template <int kGroups, int kKept>
  __device__ static void add_product(const Left<kKept>& left, int step, const Chunk* tile, Scores (&sums)[kGroups],
                                     int further = 0) {
    uint32_t factor[4];
    left.get(step, factor);
    const LanePlace at = across_first();
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      uint32_t r[4];
      load_matrices(two_chunks_on(tile + place(at.row, at.chunk, kChunks), step, further + group * kGroup), r);
      Number::multiply_add(sums[group][0], factor, {r[0], r[1]});
      Number::multiply_add(sums[group][1], factor, {r[2], r[3]});
    }
  }
  /// sums += weights times 16 rows of the tile that lies `further` chunks on.
  __device__ static void add_weighted(const Weights& weights, const Chunk* tile, Sums& sums, int further = 0) {
#pragma unroll
    for (int n = 0; n < kSize; n += 16) {
      uint32_t right[Number::kSteps][2][2];
      Number::right_of(tile, kChunks, further, n, right);
#pragma unroll
      for (int step = 0; step < Number::kSteps; ++step)
#pragma unroll
        for (int block = 0; block < 2; ++block)
          Number::multiply_add(sums[n / 8 + block], weights[step], right[step][block]);
    }
  }
  /// Writes the sums, times a factor for each half of the rows (8 …), to rows first … of a head.
  __device__ static void store(const Heads<S>& to, int64_t nh, int64_t first, int64_t tokens, int size,
                               const Sums& sums, float factor, float factor_of_8) {
    S* const head = to.row(nh, 0);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t row = first + g_of() + half * 8;
      const float f = half == 0 ? factor : factor_of_8;
#pragma unroll
      for (int n = 0; n < kSize; n += 16) {
        const float(&a)[4] = sums[n / 8];
        const float(&b)[4] = sums[n / 8 + 1];
        Number::store(head + row * to.token + n, row < tokens && n < size, {a[half * 2] * f, a[half * 2 + 1] * f},
                      {b[half * 2] * f, b[half * 2 + 1] * f});
      }
    }
  }
  __device__ static void store(const Heads<S>& to, int64_t nh, int64_t first, int64_t tokens, int size,
                               const Sums& sums, float factor) {
    store(to, nh, first, tokens, size, sums, factor, factor);
  }
};

/// exp, by the hardware's power of two.
__device__ inline float exp_approximate(float x) { return exp2_approximate(x * 1.44269504088896341f); }

/// Takes a block through `tokens` rows, kRows at a time: load(first, which place) begins to bring the rows from
/// `first`, use(first, which place) has them. With two places the next rows come meanwhile.
template <class Tile, class Load, class Use>
__device__ void through_tiles(int64_t tokens, const Load& load, const Use& use) {
  load(int64_t{0}, 0);
  commit_copies();
  int at = 0;
  for (int64_t first = 0; first < tokens; first += Tile::kRows) {
    const int64_t next = first + Tile::kRows;
    const int other = Tile::kPlaces - 1 - at;
    if (Tile::kPlaces == 2 && next < tokens) load(next, other);
    commit_copies();
    wait_for_copies<1>();
    __syncthreads();
    use(first, at);
    __syncthreads();  // before others write there
    if (Tile::kPlaces == 1 && next < tokens) load(next, other);
    at = other;
  }
}

/// True when all rows of the tensors can be read and written 16 bytes at a time, and they are less than 2^31 numbers
/// apart.
template <class... T>
bool in_chunks(const Heads<T>&... tensors) {
  const auto one = [](const auto& x) {
    constexpr int64_t kInChunk = 16 / sizeof(*x.data);
    return reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && x.sample % kInChunk == 0 && x.head % kInChunk == 0 &&
           x.token % kInChunk == 0 && x.token >= 0 && x.token <= 0x7fffffff;
  };
  return (one(tensors) && ...);
}

/// How many warps of a block follow so many rows of a head, so that few are left without any: blocks of equal size.
inline unsigned warps_for(int64_t rows, int most) {
  const int64_t warps = divide_up(rows, kWarpRows);
  return static_cast<unsigned>(divide_up(warps, divide_up(warps, most)));
}

/// Calls f(tiles), with how numbers are multiplied and the size of rows as a type; false where there is none.
template <class F>
bool with_tiles(DType dtype, const AttentionSizes<float>& z, F&& f) {
  const auto suits = [](int size) { return size >= 32 && size <= 128 && size % 16 == 0; };
  if (!suits(z.D) || !suits(z.E)) return false;
  const auto sized = [&](auto number) {
    using Number = decltype(number);
    const int largest = z.D > z.E ? z.D : z.E;
    if (largest <= 32) return f(Tiles<Number, 32>());
    if (largest <= 64) return f(Tiles<Number, 64>());
    return f(Tiles<Number, 128>());
  };
  if (dtype == bf16) return sized(Bf16());
  return dtype == f32 && precision() != Precision::F32 && sized(Tf32());
}

}  // namespace tacit::cuda
