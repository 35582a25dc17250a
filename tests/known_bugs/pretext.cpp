// Bugs that the older pretext tasks are known for, each as a test that fails when it is put in.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "ssl/data/augment.h"
#include "ssl/methods/jigsaw.h"
#include "ssl/methods/rotation.h"
#include "tensor/ops.h"

using namespace tacit;
using namespace tacit::ssl;

namespace {

Jigsaw jigsaw(int64_t grid, uint64_t seed, bool normalization = true) {
  return Jigsaw(nn::make_encoder({.name = "small_cnn", .width = 4}),
                {.grid = grid, .patch_features = 8, .patch_normalization = normalization, .seed = seed});
}

/// The number of each pixel, alike in all images: a patch then tells where it was cut.
Tensor numbered(int64_t images, int64_t size) {
  std::vector<float> v;
  for (int64_t i = 0; i < images * size * size; ++i) v.push_back(static_cast<float>(i % (size * size)));
  return Tensor::from(v, {images, size, size, 1});
}

/// The permutations of a model, as its checkpoint has them.
std::vector<int64_t> orders_of(Jigsaw model) { return nn::state_dict(model).at("permutations").to_vector<int64_t>(); }

}  // namespace

TEST_CASE("bug 34: turned images are made of the same pixels, none interpolated, none padded") {
  for (const int64_t size : {5, 16}) {
    const Tensor images = Tensor::normal({3, size, size, 2}, 1, 2);
    const Tensor turned = four_rotations(images);
    const auto pixels = [](const Tensor& image, int64_t channel) {
      std::vector<float> v = image.select(2, channel).clone().to_vector<float>();
      std::sort(v.begin(), v.end());
      return v;
    };
    for (int64_t i = 0; i < 12; ++i)
      for (const int64_t channel : {0, 1})
        CHECK(pixels(turned.select(0, i), channel) == pixels(images.select(0, i / 4), channel));
    // Four quarters are a whole, and no two of the four are alike.
    Tensor around = images;
    for (int quarter = 0; quarter < 4; ++quarter) around = four_rotations(around).slice(0, 1, 12, 4).clone();
    CHECK(around.to_vector<float>() == images.to_vector<float>());
    for (int64_t a = 0; a < 4; ++a)
      for (int64_t b = 0; b < a; ++b) CHECK(max_abs_difference(turned.select(0, a), turned.select(0, b)) > 0.1);
  }
}

TEST_CASE("bug 34: a turned image is the normalised image turned, not normalised by numbers of its own") {
  // Channels with statistics of their own, as a policy's mean and std leave them.
  const Tensor images = Tensor::normal({2, 8, 8, 3}, 3, 4) * Tensor::from(std::vector<float>{1, 2, 3}, {3}) +
                        Tensor::from(std::vector<float>{-1, 0, 5}, {3});
  const std::vector<float> before = images.to_vector<float>();
  const Tensor turned = four_rotations(images);
  for (const int64_t turn : {1, 2, 3}) {
    const Tensor half = turned.slice(0, turn, 8, 4).clone();
    CHECK(max_abs_difference(moments(half).mean, moments(images).mean) < 1e-5);
    CHECK(max_abs_difference(moments(half).var, moments(images).var) < 1e-4);
  }
  CHECK(turned.slice(0, 0, 8, 4).clone().to_vector<float>() == before);
  // The policy normalises by constants of the data, before the turns.
  const ViewPolicy policy = augmentation("rotation", 32, 3)[0];
  CHECK(policy.mean.size() == 3);
  CHECK(policy.jitter == 0);
}

TEST_CASE("bug 35: a gap keeps patches apart, and each is cut at a place of its own") {
  constexpr int64_t kSize = 32, kBatch = 200, kCells = 4, kPatch = 12, kGap = 4, kCell = 16;
  const Jigsaw model = jigsaw(2, 0, false);
  const std::vector<int64_t> orders = orders_of(model);
  std::set<std::vector<int64_t>> places;  // of the four patches of one image, per step
  double touching = 0, pairs = 0, sum = 0;
  for (int64_t step = 0; step < 2; ++step) {
    const Puzzle puzzle = model.puzzle(numbered(kBatch, kSize), step);
    REQUIRE(puzzle.patches.shape() == Shape{kBatch * kCells, kPatch, kPatch, 1});
    const std::vector<float> first = puzzle.patches.slice(1, 0, 1).slice(2, 0, 1).clone().to_vector<float>();
    const std::vector<int64_t> labels = puzzle.labels.to_vector<int64_t>();
    for (int64_t b = 0; b < kBatch; ++b) {
      std::vector<int64_t> jitter(2 * kCells);  // y and x of each cell
      for (int64_t place = 0; place < kCells; ++place) {
        const int64_t cell = orders[static_cast<size_t>(labels[static_cast<size_t>(b)] * kCells + place)];
        const auto pixel = static_cast<int64_t>(first[static_cast<size_t>(b * kCells + place)]);
        jitter[static_cast<size_t>(2 * cell)] = pixel / kSize - cell / 2 * kCell;
        jitter[static_cast<size_t>(2 * cell + 1)] = pixel % kSize - cell % 2 * kCell;
      }
      for (const int64_t j : jitter) {
        REQUIRE(j >= 0);
        REQUIRE(j <= kGap);
        sum += static_cast<double>(j);
      }
      // Columns between the patches of cells 0 and 1.
      const int64_t between = kGap + jitter[3] - jitter[1];
      touching += between == 0;
      pairs += 1;
      places.insert(jitter);
    }
  }
  CHECK(touching / pairs < 0.1);  // one in 25 by chance
  CHECK(std::abs(sum / (pairs * 2 * kCells) - kGap / 2.0) < 0.1);
  CHECK(places.size() > 395);  // images and steps do not share their draws: 5^8 possible places
}

TEST_CASE("bug 35: patches are normalised one by one, so that their brightness says nothing") {
  const Jigsaw model = jigsaw(3, 0);
  const Tensor gradient = Tensor::arange(27 * 27).to(f32).reshape({1, 27, 27, 1}) * 0.01;
  const Tensor images = (Tensor::normal({4, 27, 27, 2}, 5, 6) * 0.3 + gradient) * 3.0;
  const Puzzle puzzle = model.puzzle(images, 0);
  const Tensor means = mean(puzzle.patches, {1, 2}), variances = var(puzzle.patches, {1, 2});
  CHECK(max_abs_difference(means, Tensor::zeros(means.shape())) < 1e-4);
  CHECK(max_abs_difference(variances, Tensor::ones(variances.shape())) < 1e-3);
  // A patch of one colour is 0, not a division by 0.
  const Tensor flat = model.puzzle(Tensor::full({2, 27, 27, 2}, 7), 0).patches;
  CHECK(max_abs_difference(flat, Tensor::zeros(flat.shape())) < 1e-3);
}

TEST_CASE("bug 35: gray images against colour fringes, most of the time; no jitter of colours") {
  const ViewPolicy policy = augmentation("jigsaw", 32, 3)[0];
  int gray = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    Random random(8, i);
    gray += draw_view(policy, 32, 32, random).gray;
  }
  CHECK(std::abs(gray / 2000.0 - 0.66) < 0.04);
  CHECK(policy.jitter == 0);
}

TEST_CASE("bug 35: the permutations depend on no seed, are in the checkpoint, and a resume meets the same puzzles") {
  for (const int64_t grid : {2, 3}) {
    Jigsaw one = jigsaw(grid, 1), other = jigsaw(grid, 2);
    CHECK(orders_of(one) == orders_of(other));
    const Tensor images = Tensor::normal({8, 30, 30, 1}, 9, 9);
    Jigsaw resumed = jigsaw(grid, 1);
    one.puzzle(images, 0);  // what was drawn before does not matter
    const Puzzle a = one.puzzle(images, 5), b = resumed.puzzle(images, 5), c = one.puzzle(images, 6),
                 d = other.puzzle(images, 5);
    CHECK(a.labels.to_vector<int64_t>() == b.labels.to_vector<int64_t>());
    CHECK(a.patches.to_vector<float>() == b.patches.to_vector<float>());
    CHECK(a.labels.to_vector<int64_t>() != c.labels.to_vector<int64_t>());
    CHECK(a.labels.to_vector<int64_t>() != d.labels.to_vector<int64_t>());
  }
  // What a checkpoint says is what labels mean, whatever another version would choose.
  Jigsaw model = jigsaw(2, 1);
  nn::StateDict state = nn::state_dict(model);
  state.at("permutations").copy_(Tensor::from(std::vector<int64_t>{3, 2, 1, 0}, {1, 4}).broadcast_to({24, 4}));
  nn::load_state(model, state);
  const Jigsaw plain = jigsaw(2, 1, false);
  Jigsaw backwards = jigsaw(2, 1, false);
  nn::load_state(backwards, state);
  const Tensor images = numbered(6, 24);
  const Tensor dealt = backwards.puzzle(images, 3).patches;
  const std::vector<float> first = dealt.slice(1, 0, 1).slice(2, 0, 1).clone().to_vector<float>();
  for (size_t i = 0; i < first.size(); ++i) {
    const auto pixel = static_cast<size_t>(first[i]);
    CHECK(pixel / 24 / 12 * 2 + pixel % 24 / 12 == 3 - i % 4);
  }
}
