// Jigsaw (Noroozi & Favaro: "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles", ECCV 2016).
//   cut each image into grid x grid cells; take from each cell a patch smaller by the gap, anywhere in the cell
//   bring every patch to mean 0 and deviation 1; put the patches into one of P orders, drawn for each image
//   h = ReLU(batch norm(fc(encoder(patch)))) of every patch, one network for all; the classifier reads all h side by
//   side loss = mean of -log softmax(classifier(h))[the order drawn]
// Gap and jitter keep edges from giving the order away, gray images (the policy's) the lens's colour fringes, the norm
// of each patch its brightness. Variants chosen here: the head is VISSL's (encoder, then one layer a patch), not the
// paper's AlexNet; gap and jitter are VISSL's (cells of 85 pixels, patches of 64), except that every place in the cell
// is possible, the last one too; the norm of each patch is the paper's and can be switched off, as in VISSL.
// Evaluation feeds the encoder whole images, normalised by the policy, as the paper feeds its AlexNet: the running
// statistics of its batch norms are those of patches.
#pragma once

#include <optional>

#include "nn/linear.h"
#include "nn/norm.h"
#include "ssl/methods/method.h"

namespace tacit::ssl {

struct JigsawOptions {
  int64_t grid = 3;                 ///< cells a side, 2 or 3
  int64_t permutations = 0;         ///< orders to tell apart; 0: all 24 of 2 x 2, 100 of 3 x 3
  std::optional<int64_t> gap = {};  ///< pixels; unset: a quarter of the cell, rounded down
  int64_t patch_features = 1000;    ///< size of h
  bool patch_normalization = true;  ///< each patch and channel by its own mean and deviation
  uint64_t seed = 0;                ///< of the head's initial weights, and of orders and places
};

/// `permutations` as it is, or what 0 stands for.
int64_t permutation_count(int64_t grid, int64_t permutations);

/// Where patches lie in an image: cells of `cell` pixels from (margin, margin) on, in each a patch of `patch` pixels.
struct PatchGeometry {
  int64_t cell = 0, gap = 0, patch = 0, margin = 0;
};
/// Throws Error naming the flags where patches would have fewer than 6 pixels or the gap is negative.
PatchGeometry patch_geometry(int64_t image_size, int64_t grid, std::optional<int64_t> gap);

/// Shuffled patches and their answer.
struct Puzzle {
  Tensor patches;  ///< (B grid², p, p, C): row b grid² + i is what lies at place i of image b's puzzle
  Tensor labels;   ///< (B) i64: which permutation; place i shows cell permutation[i]
};

/// Square images (B, S, S, C) as the network is shown them in step `step`, for people: every image's patches at their
/// places in the puzzle, on a ground of the mean colour, 0. `permutations` are those of the options.
Tensor laid_puzzles(const Tensor& images, const JigsawOptions&, const Tensor& permutations, int64_t step);

class Jigsaw : public Method {
 public:
  Jigsaw(nn::Encoder encoder, JigsawOptions options);
  /// Cuts and shuffles square images (B, S, S, C). Orders and places are a function of the seed and the step.
  Puzzle puzzle(const Tensor& images, int64_t step) const;
  Variable loss(const std::vector<Tensor>& views, const Progress&) override;
  nn::Encoder& encoder() override { return encoder_; }
  /// What the head makes of one patch's features, or of a whole image's: (N, D) -> (N, patch_features).
  Variable project(const Variable& features) override { return bn_.relu(fc_(features)); }
  /// log P and 1/P.
  Chance chance(int64_t) const override;
  std::string why_not_captured() const override { return ""; }
  std::map<std::string, Tensor> metrics() const override { return metrics_; }
  std::vector<std::string> describe(int64_t images, int64_t batch_size) const override;
  void visit(nn::Visitor& v) override;

 private:
  JigsawOptions options_;
  nn::Encoder encoder_;
  nn::Linear fc_;
  nn::BatchNorm1d bn_;
  nn::Linear classifier_;
  nn::Buffer permutations_;  // (P, grid²) i64
  std::map<std::string, Tensor> metrics_;
};

}  // namespace tacit::ssl
