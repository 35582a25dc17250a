#include "ssl/methods/jigsaw.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "autograd/ops.h"
#include "ssl/methods/batch_metrics.h"
#include "ssl/methods/permutations.h"
#include "tensor/random.h"
#include "tensor/step_input.h"

namespace tacit::ssl {

namespace {

constexpr int64_t kLeastPatch = 6;  // three of small_cnn's halvings still see more than one pixel

/// (N, p, p, C) by each patch's and channel's own mean and biased variance. A patch of one colour becomes 0.
Tensor normalized(const Tensor& patches) {
  constexpr double kEps = 1e-5;  // far below the variance of anything but noise, where pixels are normalised
  return (patches - mean(patches, {1, 2}, true)) / sqrt(var(patches, {1, 2}, true) + kEps);
}

/// What is drawn for one step, a row an image: its order, and in each cell where its patch starts, as a row of all
/// images' pixels (B S S, C).
std::vector<int64_t> draw(const PatchGeometry& g, int64_t batch, int64_t size, int64_t grid, int64_t permutations,
                          Random random) {
  std::vector<int64_t> drawn;
  for (int64_t b = 0; b < batch; ++b) {
    drawn.push_back(static_cast<int64_t>(random.below(static_cast<uint64_t>(permutations))));
    for (int64_t cell = 0; cell < grid * grid; ++cell) {
      const auto jitter = [&] { return static_cast<int64_t>(random.below(static_cast<uint64_t>(g.gap + 1))); };
      const int64_t y = g.margin + cell / grid * g.cell + jitter();
      const int64_t x = g.margin + cell % grid * g.cell + jitter();
      drawn.push_back((b * size + y) * size + x);
    }
  }
  return drawn;
}

/// Cuts and shuffles square images in the orders of `permutations`, (P, grid²) i64.
Puzzle deal(const Tensor& images, const JigsawOptions& options, const Tensor& permutations, int64_t step) {
  TACIT_CHECK(images.rank() == 4 && images.size(1) == images.size(2), "[jigsaw] cuts square images (B, S, S, C), got ",
              images.shape());
  const int64_t batch = images.size(0), size = images.size(1), cells = options.grid * options.grid;
  const PatchGeometry g = patch_geometry(size, options.grid, options.gap);
  std::vector<int64_t> within;  // the pixels of a patch, as rows from its start on
  for (int64_t i = 0; i < g.patch * g.patch; ++i) within.push_back(i / g.patch * size + i % g.patch);
  const Device device = images.device();
  const Tensor drawn = step_input<int64_t>(
      {batch, 1 + cells}, device, step,
      [=, grid = options.grid, seed = options.seed, orders = permutations.size(0)](int64_t at) {
        return draw(g, batch, size, grid, orders, Random(seed, random_stream("jigsaw", static_cast<uint64_t>(at))));
      });
  const Tensor labels = drawn.select(1, 0).contiguous_copy_if_needed();
  const Tensor starts = gather(drawn.slice(1, 1, 1 + cells), 1, index_select(permutations, 0, labels));
  const Tensor rows = starts.reshape({batch * cells, 1}) + Tensor::from(within, {1, g.patch * g.patch}, device);
  Tensor patches = index_select(images.reshape({batch * size * size, images.size(3)}), 0, rows.flatten())
                       .reshape({batch * cells, g.patch, g.patch, images.size(3)});
  if (options.patch_normalization) patches = normalized(patches);
  return {patches, labels};
}

}  // namespace

int64_t permutation_count(int64_t grid, int64_t permutations) {
  return permutations > 0 ? permutations : std::min<int64_t>(100, permutation_limit(grid));
}

PatchGeometry patch_geometry(int64_t image_size, int64_t grid, std::optional<int64_t> gap) {
  PatchGeometry g;
  g.cell = image_size / grid;
  g.gap = gap.value_or(g.cell / 4);
  g.patch = g.cell - g.gap;
  g.margin = (image_size - grid * g.cell) / 2;
  TACIT_CHECK(g.gap >= 0, "[jigsaw] --gap must not be negative, got ", g.gap);
  TACIT_CHECK(g.patch >= kLeastPatch, "[jigsaw] --grid ", grid, " cuts images of --image-size ", image_size,
              " into cells of ", g.cell, " pixels, and --gap ", g.gap, " leaves patches of ", g.patch, ", fewer than ",
              kLeastPatch, "; use a larger --image-size, a smaller --grid or a smaller --gap");
  return g;
}

Tensor laid_puzzles(const Tensor& images, const JigsawOptions& options, const Tensor& permutations, int64_t step) {
  const int64_t grid = options.grid, size = images.size(1), batch = images.size(0), channels = images.size(3);
  const Puzzle puzzle = deal(images, options, permutations, step);
  const PatchGeometry g = patch_geometry(size, grid, options.gap);
  const Tensor patches = puzzle.patches.reshape({batch, grid * grid, g.patch, g.patch, channels});
  const Tensor laid = Tensor::zeros(images.shape(), images.dtype(), images.device());
  for (int64_t place = 0; place < grid * grid; ++place) {
    const int64_t top = g.margin + place / grid * g.cell + g.gap / 2,
                  left = g.margin + place % grid * g.cell + g.gap / 2;
    laid.slice(1, top, top + g.patch).slice(2, left, left + g.patch).copy_(patches.select(1, place));
  }
  return laid;
}

Jigsaw::Jigsaw(nn::Encoder encoder, JigsawOptions options)
    : options_(options),
      encoder_(std::move(encoder)),
      fc_(encoder_.features(), options_.patch_features, {.bias = false}),  // the norm would remove a bias
      bn_(options_.patch_features),
      classifier_(options_.grid * options_.grid * options_.patch_features,
                  permutation_count(options_.grid, options_.permutations)),
      permutations_(jigsaw_permutations(options_.grid, permutation_count(options_.grid, options_.permutations))) {
  nn::initialize(fc_, options_.seed, "fc");
  nn::initialize(classifier_, options_.seed, "classifier");
}

Puzzle Jigsaw::puzzle(const Tensor& images, int64_t step) const {
  return deal(images, options_, permutations_.value(), step);
}

Variable Jigsaw::loss(const std::vector<Tensor>& views, const Progress& progress) {
  TACIT_CHECK(views.size() == 1, "[jigsaw] needs one view (B, S, S, C) of each image, got ", views.size());
  const Puzzle puzzle = this->puzzle(views[0], progress.step);
  const Variable features = encoder_(puzzle.patches);
  const Variable logits = classifier_(reshape(project(features), {puzzle.labels.size(0), -1}));
  metrics_ = {{"feature_std", feature_spread(features.value())},
              {"pretext_top1", top1_of(logits.value(), puzzle.labels)}};
  return cross_entropy(logits, puzzle.labels);
}

Chance Jigsaw::chance(int64_t) const {
  const auto orders = static_cast<double>(permutations_.value().size(0));
  return {std::log(orders), 1 / orders};
}

std::vector<std::string> Jigsaw::describe(int64_t, int64_t) const {
  const Separation apart = separation(permutations_);
  char text[160];
  std::snprintf(text, sizeof text,
                "puzzle      %d x %d patches in one of %d orders that differ in %.2f places, at least %d",
                static_cast<int>(options_.grid), static_cast<int>(options_.grid),
                static_cast<int>(permutations_.value().size(0)), apart.mean, static_cast<int>(apart.least));
  std::vector<std::string> lines = {text};
  if (options_.gap == 0)
    lines.emplace_back("warning: --gap 0: patches touch, so that their edges alone give the order away");
  return lines;
}

void Jigsaw::visit(nn::Visitor& v) {
  v("encoder", encoder_);
  v("fc", fc_);
  v("bn", bn_);
  v("classifier", classifier_);
  v("permutations", permutations_);
}

}  // namespace tacit::ssl
