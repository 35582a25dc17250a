// Random numbers: each a function of (seed, stream, step, its position).
#include "tensor/random.h"

#include "backends/cuda/backend.h"
#include "backends/cuda/launch.h"

namespace tacit::cuda {

namespace {

// One thread makes the four words of a block.
template <class T>
struct Draw {
  T* out;
  const int64_t* step;
  int64_t count;
  uint64_t seed, stream;
  Distribution distribution;

  TACIT_HD void operator()(int64_t block) const {
    const auto words = random_block(seed, stream, static_cast<uint32_t>(*step), static_cast<uint32_t>(block));
    for (size_t w = 0; w < 4; ++w) {
      const int64_t i = 4 * block + static_cast<int64_t>(w);
      if (i >= count) break;
      if (distribution == Distribution::Bits) {
        out[i] = static_cast<T>(static_cast<int32_t>(words[w]));
      } else if (distribution == Distribution::Uniform) {
        out[i] = static_cast<T>(uniform_from(words[w]));
      } else {
        const size_t pair = w / 2 * 2;
        out[i] = static_cast<T>(normals_from(words[pair], words[pair + 1])[w % 2]);
      }
    }
  }
};

}  // namespace

void CudaBackend::random(Distribution distribution, const View& out, uint64_t seed, uint64_t stream_id,
                         const View& step) {
  const int64_t n = out.numel();
  const auto draw = [&](auto zero) {
    using T = decltype(zero);
    for_each_index(stream(), divide_up(n, 4),
                   Draw<T>{out.ptr<T>(), step.ptr<int64_t>(), n, seed, stream_id, distribution});
  };
  if (distribution == Distribution::Bits)
    draw(int32_t{});
  else
    visit_floating("random", out.dtype, draw);
}

}  // namespace tacit::cuda
