#include "tensor/random.h"

namespace tacit {

uint64_t random_stream(std::string_view purpose, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  uint64_t h = 0xcbf29ce484222325;  // FNV-1a over the name, then a SplitMix64 step per id
  for (const char ch : purpose) h = (h ^ static_cast<unsigned char>(ch)) * 0x100000001b3;
  for (const uint64_t id : {a, b, c, d}) {
    h += 0x9E3779B97F4A7C15 + id;
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EB;
    h ^= h >> 31;
  }
  return h;
}

uint32_t Random::word() {
  if (used_ == 4) {
    words_ = random_block(seed_, stream_, step_, block_++);
    used_ = 0;
  }
  return words_[static_cast<size_t>(used_++)];
}

uint64_t Random::below(uint64_t n) {
  const uint64_t high = word(), low = word();
  return static_cast<uint64_t>((static_cast<unsigned __int128>(high << 32 | low) * n) >> 64);
}

double Random::normal() {
  const uint32_t first = word();
  return normals_from(first, word())[0];
}

}  // namespace tacit
