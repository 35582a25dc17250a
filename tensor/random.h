// Philox 4x32-10, a counter-based generator (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
// The rule: a random number is a function of (seed, stream, step, position), never of how many were drawn before,
// so that every backend, thread count and resumed run sees the same ones.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

namespace tacit {

/// Ten rounds of Philox 4x32: four random words from a counter and a key.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// Names a stream: hashes a purpose ("augment", a module's path, …) and up to four ids (epoch, image, view, …).
uint64_t random_stream(std::string_view purpose, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0);

/// Word w (0 … 3) of block b of a stream: the counter is {b, step, stream low, stream high}, the key is the seed.
/// Element i of a random tensor is word i % 4 of block i / 4.
inline std::array<uint32_t, 4> random_block(uint64_t seed, uint64_t stream, uint32_t step, uint32_t block) {
  return philox({block, step, static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

/// A word as a number in [0, 1): 24 bits, exact in f32 and f64 alike.
inline double uniform_from(uint32_t word) { return (word >> 8) * 0x1p-24; }

/// Two words as two independent normals (Box-Muller in double precision, as everywhere in tacit).
std::array<double, 2> normals_from(uint32_t word0, uint32_t word1);

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
