// Jigsaw: the set of permutations, where patches come from, and that a network learns to lay the puzzle.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "optim/adamw.h"
#include "ssl/methods/jigsaw.h"
#include "ssl/methods/permutations.h"
#include "tensor/ops.h"

using namespace tacit;
using namespace tacit::ssl;

namespace {

nn::Encoder tiny_encoder() { return nn::make_encoder({.name = "small_cnn", .width = 4}); }

std::vector<std::vector<int64_t>> rows_of(const Tensor& permutations) {
  std::vector<std::vector<int64_t>> rows;
  for (int64_t i = 0; i < permutations.size(0); ++i)
    rows.push_back(permutations.select(0, i).clone().to_vector<int64_t>());
  return rows;
}

int64_t distance(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  int64_t d = 0;
  for (size_t i = 0; i < a.size(); ++i) d += a[i] != b[i];
  return d;
}

}  // namespace

TEST_CASE("permutations: all different, the first are the first of more, 24 are all of 2 x 2") {
  for (const auto& [grid, count] : {std::pair<int64_t, int64_t>{2, 24}, {3, 100}}) {
    const auto rows = rows_of(jigsaw_permutations(grid, count));
    CHECK(std::set<std::vector<int64_t>>(rows.begin(), rows.end()).size() == static_cast<size_t>(count));
    for (std::vector<int64_t> row : rows) {
      std::sort(row.begin(), row.end());
      for (size_t i = 0; i < row.size(); ++i) CHECK(row[i] == static_cast<int64_t>(i));
    }
    const auto few = rows_of(jigsaw_permutations(grid, 10));
    CHECK(std::equal(few.begin(), few.end(), rows.begin()));
  }
}

TEST_CASE("permutations: each is as far from those before it, on average, as any that is left") {
  const auto chosen = rows_of(jigsaw_permutations(2, 24));
  std::vector<std::vector<int64_t>> left;
  std::vector<int64_t> order = {0, 1, 2, 3};
  do left.push_back(order);
  while (std::next_permutation(order.begin(), order.end()));
  const auto total = [&](const std::vector<int64_t>& candidate, size_t before) {
    int64_t sum = 0;
    for (size_t i = 0; i < before; ++i) sum += distance(candidate, chosen[i]);
    return sum;
  };
  for (size_t k = 0; k < chosen.size(); ++k) {
    for (const auto& candidate : left) CHECK(total(chosen[k], k) >= total(candidate, k));
    left.erase(std::find(left.begin(), left.end(), chosen[k]));
  }
  // Random ones differ in 8 places of 9 on average, in 3 or fewer at times.
  const Separation apart = separation(jigsaw_permutations(3, 100));
  CHECK(apart.mean > 8.05);
  CHECK(apart.least >= 4);
  const Separation nine = separation(jigsaw_permutations(3, 9));
  CHECK(nine.mean == 9);  // no cell twice at one place
}

TEST_CASE("permutations: impossible grids and counts are refused") {
  CHECK_THROWS_WITH_AS(jigsaw_permutations(2, 25), doctest::Contains("24"), Error);
  CHECK_THROWS_WITH_AS(jigsaw_permutations(3, 362881), doctest::Contains("362880"), Error);
  CHECK_THROWS_AS(jigsaw_permutations(3, 1), Error);
  CHECK_THROWS_WITH_AS(jigsaw_permutations(4, 10), doctest::Contains("grid"), Error);
}

TEST_CASE("patches: cells, gaps and sizes") {
  struct Row {
    int64_t size, grid, cell, gap, patch, margin;
  };
  for (const Row& row : {Row{255, 3, 85, 21, 64, 0}, Row{28, 2, 14, 3, 11, 0}, Row{32, 3, 10, 2, 8, 1},
                         Row{64, 3, 21, 5, 16, 0}, Row{16, 2, 8, 2, 6, 0}}) {
    const PatchGeometry g = patch_geometry(row.size, row.grid, std::nullopt);
    CHECK(g.cell == row.cell);
    CHECK(g.gap == row.gap);
    CHECK(g.patch == row.patch);
    CHECK(g.margin == row.margin);
  }
  Jigsaw large(tiny_encoder(), {.grid = 3, .permutations = 4, .patch_features = 4});
  const Puzzle puzzle = large.puzzle(Tensor::normal({2, 255, 255, 3}, 1, 1), 0);
  CHECK(puzzle.patches.shape() == Shape{18, 64, 64, 3});
  CHECK(std::isfinite(large.loss({Tensor::normal({2, 255, 255, 3}, 1, 1)}, {0, 1}).item()));
  CHECK(patch_geometry(32, 2, 0).patch == 16);
  CHECK_THROWS_WITH_AS(patch_geometry(16, 3, std::nullopt), doctest::Contains("--grid 3"), Error);
  CHECK_THROWS_WITH_AS(patch_geometry(32, 2, 11), doctest::Contains("--gap 11"), Error);
  CHECK_THROWS_WITH_AS(patch_geometry(2, 3, std::nullopt), doctest::Contains("--image-size 2"), Error);
  CHECK_THROWS_WITH_AS(patch_geometry(32, 2, -1), doctest::Contains("--gap"), Error);
}

TEST_CASE("puzzles: place i shows whole pixels of cell permutation[i], anywhere in the cell") {
  constexpr int64_t kSize = 35, kGrid = 3, kBatch = 20, kCells = 9;  // cells of 11, gap 2, patches of 9, margin 1
  const Jigsaw model(tiny_encoder(),
                     {.grid = kGrid, .permutations = 30, .patch_features = 4, .patch_normalization = false});
  const PatchGeometry g = patch_geometry(kSize, kGrid, std::nullopt);
  // The first channel is the row's number, the second the column's, the third the image's.
  std::vector<float> pixels;
  for (int64_t b = 0; b < kBatch; ++b)
    for (int64_t p = 0; p < kSize * kSize; ++p)
      for (const int64_t value : {p / kSize, p % kSize, b}) pixels.push_back(static_cast<float>(value));
  const Tensor images = Tensor::from(pixels, {kBatch, kSize, kSize, 3});
  const auto orders = rows_of(jigsaw_permutations(kGrid, 30));
  const Puzzle puzzle = model.puzzle(images, 7);
  CHECK(puzzle.patches.shape() == Shape{kBatch * kCells, g.patch, g.patch, 3});
  const std::vector<float> v = puzzle.patches.to_vector<float>();
  const std::vector<int64_t> labels = puzzle.labels.to_vector<int64_t>();
  std::set<int64_t> used, jitters;
  bool right = true;
  for (int64_t b = 0; b < kBatch; ++b)
    for (int64_t place = 0; place < kCells; ++place) {
      const auto& order = orders.at(static_cast<size_t>(labels[static_cast<size_t>(b)]));
      const int64_t cell = order[static_cast<size_t>(place)];
      const auto at = [&](int64_t y, int64_t x, int64_t c) {
        return static_cast<int64_t>(
            v[static_cast<size_t>((((b * kCells + place) * g.patch + y) * g.patch + x) * 3 + c)]);
      };
      const int64_t down = at(0, 0, 0) - g.margin - cell / kGrid * g.cell,
                    right_by = at(0, 0, 1) - g.margin - cell % kGrid * g.cell;
      right = right && down >= 0 && down <= g.gap && right_by >= 0 && right_by <= g.gap;
      for (int64_t y = 0; y < g.patch; ++y)
        for (int64_t x = 0; x < g.patch; ++x)
          right = right && at(y, x, 0) == at(0, 0, 0) + y && at(y, x, 1) == at(0, 0, 1) + x && at(y, x, 2) == b;
      jitters.insert(down * 10 + right_by);
      used.insert(labels[static_cast<size_t>(b)]);
    }
  CHECK(right);
  CHECK(jitters.size() == static_cast<size_t>((g.gap + 1) * (g.gap + 1)));  // every place, the last one too
  CHECK(used.size() > 10);
}

TEST_CASE("puzzles: rectangular images and wrong numbers of views or permutations are refused") {
  Jigsaw model(tiny_encoder(), {.grid = 2, .patch_features = 4});
  CHECK_THROWS_WITH_AS(model.loss({Tensor::zeros({2, 16, 20, 3})}, {}), doctest::Contains("square"), Error);
  CHECK_THROWS_WITH_AS(model.loss({Tensor::zeros({2, 8, 8, 3})}, {}), doctest::Contains("--image-size 8"), Error);
  const Tensor view = Tensor::zeros({2, 16, 16, 3});
  CHECK_THROWS_WITH_AS(model.loss({view, view}, {}), doctest::Contains("one view"), Error);
  CHECK_THROWS_AS(Jigsaw(tiny_encoder(), {.grid = 2, .permutations = 25}), Error);
  CHECK(permutation_count(2, 0) == 24);
  CHECK(permutation_count(3, 0) == 100);
  CHECK(permutation_count(3, 7) == 7);
}

TEST_CASE("jigsaw is learned: accuracy and spread say so, chance is one of the orders") {
  // Bright in the middle, dark at the edges, under noise: each corner of the picture has a shading of its own.
  constexpr int64_t kSize = 16;
  std::vector<float> light;
  for (int64_t p = 0; p < kSize * kSize; ++p) {
    const double y = static_cast<double>(p / kSize) - 7.5, x = static_cast<double>(p % kSize) - 7.5;
    light.push_back(static_cast<float>(1 - (x * x + y * y) / 56));
  }
  Jigsaw model(tiny_encoder(), {.grid = 2, .patch_features = 16});
  CHECK(model.chance(99).loss == doctest::Approx(std::log(24.0)));
  CHECK(model.chance(99).top1 == doctest::Approx(1 / 24.0));
  optim::AdamW optimizer(model, {.lr = 1e-2});
  double first = 0, last = 0;
  for (int64_t step = 0; step < 80; ++step) {
    const Tensor view = Tensor::normal({32, kSize, kSize, 3}, static_cast<uint64_t>(step), 1) * 0.2 +
                        Tensor::from(light, {1, kSize, kSize, 1});
    const Variable loss = model.loss({view}, {step, 80});
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    last = loss.item();
    if (step == 0) first = last;
  }
  CHECK(first == doctest::Approx(std::log(24.0)).epsilon(0.2));
  CHECK(last < 0.5 * first);
  CHECK(model.metrics().at("pretext_top1").item() > 0.5);
  CHECK(model.metrics().at("feature_std").item() > 0.2);
  CHECK(model.project(model.encoder()(Tensor::zeros({3, kSize, kSize, 3}))).shape() == Shape{3, 16});
}

TEST_CASE("laid puzzles show each image's patches in the order of the step") {
  const Tensor images = Tensor::uniform({5, 20, 20, 3}, 1, 2);
  for (const bool normalization : {false, true}) {
    const JigsawOptions options{.grid = 2, .patch_features = 8, .patch_normalization = normalization, .seed = 3};
    const Jigsaw jigsaw(tiny_encoder(), options);
    const Tensor permutations = jigsaw_permutations(2, permutation_count(2, options.permutations));
    const Tensor laid = laid_puzzles(images, options, permutations, 7);
    REQUIRE(laid.shape() == images.shape());
    const Tensor patches = jigsaw.puzzle(images, 7).patches.reshape({5, 4, 8, 8, 3});
    for (int64_t place = 0; place < 4; ++place) {
      const int64_t top = place / 2 * 10 + 1, left = place % 2 * 10 + 1;  // cells of 10 pixels, a gap of 2
      CHECK(laid.slice(1, top, top + 8).slice(2, left, left + 8).clone().to_vector<float>() ==
            patches.select(1, place).clone().to_vector<float>());
    }
    CHECK(laid.select(1, 0).clone().to_vector<float>() == std::vector<float>(5 * 20 * 3, 0.0f));
    CHECK(laid.clone().to_vector<float>() != laid_puzzles(images, options, permutations, 8).to_vector<float>());
  }
}
