// Philox against the published vectors, and the distributions made from it.
#include "tensor/random.h"

#include <cmath>
#include <set>

#include "tests/values.h"

using namespace tacit;
using namespace tacit::testing;

TEST_CASE("philox: the known answers of Random123") {
  using Words = std::array<uint32_t, 4>;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr uint32_t kOnes = 0xffffffff;
  CHECK(philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("random_block: counter and key are laid out as documented") {
  CHECK(random_block(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3, 0x243f6a88) ==
        philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}));
}

TEST_CASE("random_stream: names, ids and their order all count") {
  std::set<uint64_t> seen;
  for (const char* purpose : {"", "a", "b", "augment"})
    for (uint64_t a = 0; a < 3; ++a)
      for (uint64_t b = 0; b < 3; ++b)
        for (uint64_t c = 0; c < 3; ++c)
          for (uint64_t d = 0; d < 3; ++d) seen.insert(random_stream(purpose, a, b, c, d));
  CHECK(seen.size() == 4 * 81);
  CHECK(random_stream("augment", 1, 2) == random_stream("augment", 1, 2));
}

TEST_CASE("Random: words come in the order of the blocks, uniforms take 24 bits") {
  Random random(7, 11, 3);
  for (uint32_t block = 0; block < 3; ++block)
    for (const uint32_t word : random_block(7, 11, 3, block)) CHECK(random.word() == word);
  CHECK(uniform_from(0) == 0.0);
  CHECK(uniform_from(0xff) == 0.0);
  CHECK(uniform_from(0x80000000) == 0.5);
  CHECK(uniform_from(0xffffffff) == 1.0 - 0x1p-24);
  CHECK(static_cast<float>(uniform_from(0xffffffff)) < 1.0f);
}

TEST_CASE("Random: moments of uniform and normal") {
  constexpr int kCount = 100000;
  Random random(1, random_stream("test"));
  double sum = 0, squares = 0;
  for (int i = 0; i < kCount; ++i) {
    const double u = random.uniform(-1, 3);
    REQUIRE((u >= -1 && u < 3));
    sum += u;
    squares += u * u;
  }
  const double uniform_mean = sum / kCount;
  CHECK(std::abs(uniform_mean - 1) < 0.015);  // four standard errors
  CHECK(std::abs(squares / kCount - uniform_mean * uniform_mean - 16.0 / 12) < 0.02);

  double moments[5] = {};
  for (int i = 0; i < kCount; ++i) {
    const double x = random.normal();
    for (int k = 1; k <= 4; ++k) moments[k] += std::pow(x, k) / kCount;
  }
  CHECK(std::abs(moments[1]) < 0.013);
  CHECK(std::abs(moments[2] - 1) < 0.018);
  CHECK(std::abs(moments[3]) < 0.05);
  CHECK(std::abs(moments[4] - 3) < 0.13);
}

TEST_CASE("normals_from: Box-Muller, finite at the ends of the range") {
  check_values(tensor_of({normals_from(0, 123)[0], normals_from(0, 123)[1]}, {2}, f64), {0, 0});
  const auto largest = normals_from(0xffffffff, 0);  // radius sqrt(-2 ln 2^-24)
  CHECK(largest[0] == doctest::Approx(std::sqrt(48 * std::log(2.0))));
  CHECK(largest[1] == doctest::Approx(0.0));
  const auto quarter = normals_from(0x80000000, 0x40000000);  // radius sqrt(2 ln 2), a quarter turn
  CHECK(std::abs(quarter[0]) < 1e-15);
  CHECK(quarter[1] == doctest::Approx(std::sqrt(2 * std::log(2.0))));
}

TEST_CASE("Random::below: in range, even, and whole for large n") {
  Random random(5, 6);
  int counts[10] = {};
  for (int i = 0; i < 20000; ++i) {
    const uint64_t v = random.below(10);
    REQUIRE(v < 10);
    ++counts[v];
  }
  for (const int count : counts) CHECK(std::abs(count - 2000) < 200);
  for (int i = 0; i < 100; ++i) CHECK(random.below(1) == 0);
  const uint64_t large = uint64_t{1} << 63;
  bool upper_half = false;
  for (int i = 0; i < 64; ++i) {
    const uint64_t v = random.below(large);
    CHECK(v < large);
    upper_half |= v >= large / 2;
  }
  CHECK(upper_half);
}

TEST_CASE("Random::chance: never at 0, always at 1") {
  Random random(9, 9);
  int hits = 0;
  for (int i = 0; i < 1000; ++i) {
    CHECK_FALSE(random.chance(0));
    CHECK(random.chance(1));
    hits += random.chance(0.25);
  }
  CHECK(std::abs(hits - 250) < 60);
}

TEST_CASE("random tensors: the numbers of the host's blocks, on every device") {
  for (const char* name : {"cpu", "reference"}) {
    CAPTURE(name);
    const Device device(name);
    const auto u = Tensor::uniform({3, 3}, 21, 4, f64, device).to_vector<double>();
    const auto n = Tensor::normal({9}, 21, 4, f64, device).to_vector<double>();
    for (size_t i = 0; i < 9; ++i) {
      const auto words = random_block(21, 4, 0, static_cast<uint32_t>(i / 4));
      const size_t pair = i % 4 / 2 * 2;
      CHECK(u[i] == uniform_from(words[i % 4]));
      CHECK(n[i] == doctest::Approx(normals_from(words[pair], words[pair + 1])[i % 2]).epsilon(1e-14));
    }
    // f32 holds the same uniforms exactly, and a longer tensor begins with a shorter one.
    const auto longer = Tensor::uniform({50}, 21, 4, f32, device).to_vector<float>();
    for (size_t i = 0; i < 9; ++i) CHECK(static_cast<double>(longer[i]) == u[i]);
  }
  CHECK(mentions(error_of([] { Tensor::uniform({2}, 0, 0, i32); }), "[random]"));
}
