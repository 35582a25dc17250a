// Vision Transformer (Dosovitskiy et al., ICLR 2021) with timm's names, shapes and numbers (vit_*_patch16_224 with
// num_classes 0), for any image whose sides the patch divides.
// The rule: operator() is pool(encode_tokens(patches(images))); masked training calls the two with tokens left out.
//
// Initial values are MAE's: every Linear as transformer_linear() says; the patch embedding xavier-uniform as the matrix
// (dim, patch² channels), its bias torch's; the class token N(0, 0.02); a learned position embedding truncated
// N(0, 0.02), as in timm.
#pragma once

#include <optional>
#include <vector>

#include "nn/conv.h"
#include "nn/staged.h"
#include "nn/transformer.h"

namespace tacit::nn {

/// Images (N, H, W, C) -> tokens (N, H/p W/p, dim): a convolution of kernel and stride p. Member `proj`, so that files
/// hold the weight as (dim, C, p, p).
class PatchEmbed : public Module {
 public:
  PatchEmbed(int64_t channels, int64_t dim, int64_t patch);
  Variable operator()(const Variable& images) const;
  /// The same from pixels of patches (N, L, p² C), in row-major order, channels last: that convolution is this product.
  Variable of_patches(const Variable& pixels) const;
  void visit(Visitor& v) override { v("proj", proj_); }

 private:
  Conv2d proj_;
};

/// How tokens become one vector of features.
enum class Pool : uint8_t {
  Cls,  ///< the class token after the last norm
  Mean  ///< the mean of the patch tokens
};
/// How tokens know their place.
enum class Position : uint8_t {
  Learned,  ///< a parameter
  SinCos    ///< fixed, nn/position_embedding.h
};

struct ViTOptions {
  int64_t dim = 192, depth = 12, heads = 3;
  int64_t patch = 16, image_h = 224, image_w = 224, channels = 3;
  double mlp_ratio = 4;
  Pool pool = Pool::Cls;
  bool fc_norm = true;  ///< for Pool::Mean: the norm follows the mean, as `fc_norm` (timm, MAE's fine-tuning); false:
                        ///< every token is normalised by `norm` before it
  Position position = Position::Learned;
  double drop_path = 0;     ///< of the last block; block i of n has i / (n - 1) of it
  bool checkpoint = false;  ///< blocks keep their input alone and are computed again in the backward pass
  uint64_t seed = 0;
};

class ViT : public Module, public Staged {
 public:
  explicit ViT(ViTOptions = {});
  /// (N, H, W, C) -> (N, dim).
  Variable operator()(const Variable& images);
  /// (N, H, W, C) -> (N, tokens(), dim): patch and position embeddings, without the class token.
  Variable patches(const Variable& images) const;
  /// Some of them: pixels (N, V, p² C) of the patches index (N, V) i64 of each image -> (N, V, dim). No work is done
  /// for the others.
  Variable patches(const Variable& pixels, const Tensor& index) const;
  /// Any T' of those tokens (N, T', dim) -> (N, 1 + T', dim): the class token with its position before them, through
  /// all blocks and `norm` (with Pool::Mean and fc_norm there is none: the blocks' output).
  Variable encode_tokens(const Variable& tokens) const;

  /// block1 …: after each block, the mean over the patch tokens; the last is operator() itself.
  std::pair<std::string, int> stages() const override { return {"block", static_cast<int>(blocks_.size())}; }
  Variable after_stages(const Variable& images, int count) override;

  /// Throws Error unless (N, H, W, C) are images of the size that the network is made for.
  void check_images(const Shape&) const;

  const ViTOptions& options() const { return options_; }
  int64_t features() const { return options_.dim; }
  int64_t grid_h() const { return options_.image_h / options_.patch; }
  int64_t grid_w() const { return options_.image_w / options_.patch; }
  int64_t tokens() const { return grid_h() * grid_w(); }

  /// Members cls_token, pos_embed (a buffer where it is fixed), patch_embed, blocks.i, norm or fc_norm.
  void visit(Visitor& v) override;
  void reset(const Initializer&) override;

 private:
  bool pools_before_norm() const { return options_.pool == Pool::Mean && options_.fc_norm; }
  /// The class token and its position before `tokens`, through the first `count` blocks.
  Variable through_blocks(const Variable& tokens, size_t count) const;
  /// Rows [lo, hi) of the position embedding.
  Variable positions(int64_t lo, int64_t hi) const;

  ViTOptions options_;
  Parameter cls_token_, learned_positions_;
  Buffer fixed_positions_;
  PatchEmbed patch_embed_;
  std::vector<Block> blocks_;
  LayerNorm norm_;  // `norm` or `fc_norm`
};

}  // namespace tacit::nn
