// Philox 4x32-10, a counter-based generator (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
// The rule: a random number is a function of (seed, stream, step, position), never of how many were drawn before,
// so that every backend, thread count and resumed run sees the same ones.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>

#include "tensor/hd.h"

namespace tacit {

/// Ten rounds of Philox 4x32: four random words from a counter and a key.
TACIT_HD inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * counter[0], p1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// Names a stream: hashes a purpose ("augment", a module's path, …) and up to four ids (epoch, image, view, …).
uint64_t random_stream(std::string_view purpose, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0);

/// Word w (0 … 3) of block b of a stream: the counter is {b, step, stream low, stream high}, the key is the seed.
/// Element i of a random tensor is word i % 4 of block i / 4.
TACIT_HD inline std::array<uint32_t, 4> random_block(uint64_t seed, uint64_t stream, uint32_t step, uint32_t block) {
  return philox({block, step, static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

/// A word as a number in [0, 1): 24 bits, exact in f32 and f64 alike.
TACIT_HD inline double uniform_from(uint32_t word) { return (word >> 8) * 0x1p-24; }

/// Two words as two independent normals (Box-Muller in double precision, as everywhere in tacit).
TACIT_HD inline std::array<double, 2> normals_from(uint32_t word0, uint32_t word1) {
  // 1 - u lies in (0, 1], so the logarithm is finite.
  const double radius = ::sqrt(-2.0 * ::log(1.0 - uniform_from(word0)));
  const double angle = 6.283185307179586 * uniform_from(word1);
  return {radius * ::cos(angle), radius * ::sin(angle)};
}

/// Reads one stream in order, on the host. Cheap to make: one per image and view.
class Random {
 public:
  Random(uint64_t seed, uint64_t stream, uint32_t step = 0) : seed_(seed), stream_(stream), step_(step) {}

  uint32_t word();
  /// Uniform in [0, 1).
  double uniform() { return uniform_from(word()); }
  /// Uniform in [low, high).
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Uniform in 0 … n-1; n > 0. Lemire's multiply-shift without rejection on 64 bits: bias below n / 2^64.
  uint64_t below(uint64_t n);
  bool chance(double p) { return uniform() < p; }
  double normal();

 private:
  uint64_t seed_, stream_;
  uint32_t step_, block_ = 0;
  int used_ = 4;
  std::array<uint32_t, 4> words_{};
};

/// Puts a sequence in random order (Fisher-Yates, from the end).
template <class Sequence>
void shuffle(Sequence& values, Random& random) {
  for (size_t left = values.size(); left > 1; --left) std::swap(values[left - 1], values[random.below(left)]);
}

}  // namespace tacit
