// Random numbers: blocks of four words in parallel, each a function of its position alone.
#include "tensor/random.h"

#include "backends/cpu/backend.h"
#include "backends/cpu/loops.h"

namespace tacit::cpu {

namespace {

/// Fills out (n elements) from f(block, element 0 … 3 of the block).
template <class T, class F>
void fill_blocks(T* out, int64_t n, F&& f) {
  parallel_ranges((n + 3) / 4, kPiece / 8, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      T four[4];
      f(static_cast<uint32_t>(b), four);
      for (int64_t i = 4 * b; i < std::min(n, 4 * b + 4); ++i) out[i] = four[i - 4 * b];
    }
  });
}

}  // namespace

void CpuBackend::random(Distribution distribution, const View& out, uint64_t seed, uint64_t stream, const View& step) {
  const auto time = static_cast<uint32_t>(*step.ptr<int64_t>());
  const int64_t n = out.numel();
  if (distribution == Distribution::Bits) {
    fill_blocks(out.ptr<int32_t>(), n, [&](uint32_t block, int32_t* four) {
      const auto words = random_block(seed, stream, time, block);
      for (size_t i = 0; i < 4; ++i) four[i] = static_cast<int32_t>(words[i]);
    });
    return;
  }
  visit_floating("random", out.dtype, [&](auto zero) {
    using T = decltype(zero);
    fill_blocks(out.ptr<T>(), n, [&](uint32_t block, T* four) {
      const auto words = random_block(seed, stream, time, block);
      for (size_t i = 0; i < 4; i += 2) {
        const auto pair = distribution == Distribution::Uniform
                              ? std::array<double, 2>{uniform_from(words[i]), uniform_from(words[i + 1])}
                              : normals_from(words[i], words[i + 1]);
        four[i] = static_cast<T>(pair[0]);
        four[i + 1] = static_cast<T>(pair[1]);
      }
    });
  });
}

}  // namespace tacit::cpu
