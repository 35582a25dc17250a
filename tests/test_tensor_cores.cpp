// The emulated device's tensor cores, matrix loads and asynchronous copies do what backends/cuda/tensor_core.h says of
// the real ones; and where attention's tiles put their chunks.
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "backends/cuda/attention_tiles.h"
#include "backends/cuda/tensor_core.h"
#include "emulated.h"

using namespace tacit::testing;

TEST_CASE("tensor cores multiply what the lanes of a warp hold, as tensor_core.h says") {
  // Small whole numbers, exact in tf32 and bf16; two warps with factors of their own.
  const auto a = [](int warp, int i, int k) { return static_cast<float>((i * 7 + k * 3 + warp) % 11 - 5); };
  const auto b = [](int warp, int k, int j) { return static_cast<float>((k * 5 + j * 2 + warp) % 13 - 6); };
  for (const int steps : {8, 16}) {
    Memory<float> results(2 * 16 * 8);
    float* const out = results.data;
    CHECK(run(1, 64, 0, [=] {
            const int warp = static_cast<int>(threadIdx.x) / 32, g = static_cast<int>(threadIdx.x) % 32 / 4,
                      t = static_cast<int>(threadIdx.x) % 4;
            uint32_t left[4], right[2];
            float sums[4];
            for (int r = 0; r < 4; ++r) {
              const int i = g + r % 2 * 8, k = r / 2 * steps / 2;
              left[r] = steps == 8 ? tacit::cuda::to_tf32(a(warp, i, k + t))
                                   : tacit::cuda::to_bf16_pair(a(warp, i, k + 2 * t), a(warp, i, k + 2 * t + 1));
              sums[r] = static_cast<float>(r);
            }
            for (int r = 0; r < 2; ++r) {
              const int k = r * steps / 2;
              right[r] = steps == 8 ? tacit::cuda::to_tf32(b(warp, k + t, g))
                                    : tacit::cuda::to_bf16_pair(b(warp, k + 2 * t, g), b(warp, k + 2 * t + 1, g));
            }
            if (steps == 8)
              tacit::cuda::multiply_add_tf32(sums, left, right);
            else
              tacit::cuda::multiply_add_bf16(sums, left, right);
            for (int r = 0; r < 4; ++r) out[(warp * 16 + g + r / 2 * 8) * 8 + 2 * t + r % 2] = sums[r];
          }) == cudaSuccess);
    for (int warp = 0; warp < 2; ++warp)
      for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 8; ++j) {
          float sum = static_cast<float>(i / 8 * 2 + j % 2);  // what the lane's sums began with
          for (int k = 0; k < steps; ++k) sum += a(warp, i, k) * b(warp, k, j);
          CHECK(out[(warp * 16 + i) * 8 + j] == sum);
        }
  }
  CHECK(tacit::cuda::to_tf32(1 + 0x1p-11f) == 0x3f802000);                   // a tie, away from zero
  CHECK(tacit::cuda::to_bf16_pair(1 + 0x1p-8f, 1 + 0x3p-8f) == 0x3f823f80);  // ties, to even
}

TEST_CASE("ldmatrix gives every lane two neighbours of a row, or of a column, of each of four matrices") {
  Memory<uint32_t> results(2 * 2 * 4 * 32);
  uint32_t* const out = results.data;
  CHECK(run(1, 64, 2 * sizeof(uint16_t[32][8]), [out] {
          const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
          uint16_t* const rows = emulator::dynamic_shared<uint16_t>() + warp * 256;  // 4 matrices, one after the other
          for (unsigned c = 0; c < 8; ++c) rows[lane * 8 + c] = static_cast<uint16_t>(1000 * warp + lane * 8 + c);
          __syncwarp();
          uint32_t got[2][4];
          tacit::cuda::load_matrices(tacit::cuda::shared_address(rows + lane * 8), got[0]);
          tacit::cuda::load_matrices_transposed(tacit::cuda::shared_address(rows + (lane ^ 8) * 8), got[1]);
          for (unsigned m = 0; m < 4; ++m)
            for (unsigned k = 0; k < 2; ++k) out[((warp * 2 + k) * 4 + m) * 32 + lane] = got[k][m];
        }) == cudaSuccess);
  for (unsigned warp = 0; warp < 2; ++warp)
    for (unsigned m = 0; m < 4; ++m)
      for (unsigned lane = 0; lane < 32; ++lane) {
        const unsigned g = lane / 4, t = lane % 4, first = 1000 * warp + m * 64 + g * 8 + 2 * t;
        const unsigned column = 1000 * warp + (m ^ 1) * 64 + 2 * t * 8 + g;  // whose rows were said to be those
        CHECK(out[((warp * 2 + 0) * 4 + m) * 32 + lane] == (first | (first + 1) << 16));
        CHECK(out[((warp * 2 + 1) * 4 + m) * 32 + lane] == (column | (column + 8) << 16));
      }
  CHECK(has(fault(32,
                  [] {
                    alignas(16) static char memory[544];
                    uint32_t got[4];
                    tacit::cuda::load_matrices(tacit::cuda::shared_address(memory + threadIdx.x * 16 + 8), got);
                  }),
            "ldmatrix reads"));
}

TEST_CASE("attention's tiles: every chunk has its place, and eight rows' chunks of a column lie in all eight banks") {
  for (int chunks = 1; chunks <= 40; ++chunks) {
    CAPTURE(chunks);
    std::vector<int> used(static_cast<size_t>(16 * chunks));
    for (int chunk = 0; chunk < chunks; ++chunk)
      for (int first = 0; first < 16; first += 8) {
        unsigned banks = 0;
        for (int row = first; row < first + 8; ++row) {
          const int at = tacit::cuda::place(row, chunk, chunks);
          ++used.at(static_cast<size_t>(at));
          banks |= 1u << at % 8;
        }
        CHECK(banks == 0xffu);
      }
    CHECK(std::all_of(used.begin(), used.end(), [](int n) { return n == 1; }));
  }
}

TEST_CASE("cp.async: a copy may happen at once, or not before it is waited for") {
  constexpr unsigned kThreads = 256;
  Memory<tacit::cuda::Chunk> from(2 * kThreads);
  for (unsigned i = 0; i < 2 * kThreads; ++i) from.data[i] = {{i, i, i, i}};
  Memory<uint32_t> results(4 * kThreads);
  const auto* const numbers = from.data;
  uint32_t* const out = results.data;
  CHECK(run(1, kThreads, 2 * kThreads * sizeof(tacit::cuda::Chunk), [=] {
          auto* const shared = emulator::dynamic_shared<tacit::cuda::Chunk>();
          const unsigned t = threadIdx.x;
          tacit::cuda::copy_async(shared + t, numbers + t, false);
          tacit::cuda::commit_copies();
          tacit::cuda::copy_async(shared + kThreads + t, numbers + kThreads + t, t % 2 == 1);
          out[t] = shared[t].words[3];
          tacit::cuda::commit_copies();
          tacit::cuda::wait_for_copies<1>();
          out[kThreads + t] = shared[t].words[3];
          out[2 * kThreads + t] = shared[kThreads + t].words[3];
          tacit::cuda::wait_for_copies<0>();
          out[3 * kThreads + t] = shared[kThreads + t].words[3];
        }) == cudaSuccess);
  int early[2] = {0, 0};  // of the groups that were not waited for
  for (unsigned t = 0; t < kThreads; ++t) {
    const uint32_t second = t % 2 == 1 ? 0 : kThreads + t;
    early[0] += out[t] == t ? 1 : 0;
    early[1] += out[2 * kThreads + t] == second ? 1 : 0;
    CHECK(out[kThreads + t] == t);
    CHECK(out[3 * kThreads + t] == second);
  }
  for (const int count : early) CHECK((count > 0 && count < static_cast<int>(kThreads)));
  CHECK(has(fault(1, [=] { tacit::cuda::copy_async(nullptr, reinterpret_cast<const char*>(numbers) + 4, false); }),
            "cp.async reads"));
}
