// Random numbers: each a function of (seed, stream, step, its position).
#include "tensor/random.h"
#include "backends/reference/backend.h"
#include "backends/reference/loops.h"

namespace tacit::reference {

void ReferenceBackend::random(Distribution distribution, const View& out, uint64_t seed, uint64_t stream,
                              const View& step) {
  const auto time = static_cast<uint32_t>(*step.ptr<int64_t>());
  const auto block_of = [&](int64_t i) { return random_block(seed, stream, time, static_cast<uint32_t>(i / 4)); };
  const int64_t n = out.numel();

  if (distribution == Distribution::Bits) {
    for (int64_t i = 0; i < n; ++i)
      out.ptr<int32_t>()[i] = static_cast<int32_t>(block_of(i)[static_cast<size_t>(i % 4)]);
    return;
  }
  visit_floating("random", out.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < n; ++i) {
      const auto words = block_of(i);
      const auto w = static_cast<size_t>(i % 4),
                 pair = w / 2 * 2;  // words (0,1) make normals 0 and 1, (2,3) the others
      out.ptr<T>()[i] =
          static_cast<T>(distribution == Distribution::Uniform ? uniform_from(words[w])
                                                               : normals_from(words[pair], words[pair + 1])[w % 2]);
    }
  });
}

}  // namespace tacit::reference
