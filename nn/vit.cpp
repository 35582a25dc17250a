#include "nn/vit.h"

#include <cmath>

#include "autograd/ops.h"
#include "nn/checkpointed.h"
#include "nn/position_embedding.h"

namespace tacit::nn {

namespace {

const ViTOptions& checked(const ViTOptions& o) {
  TACIT_CHECK(o.dim > 0 && o.depth > 0 && o.patch > 0 && o.image_h > 0 && o.image_w > 0 && o.channels > 0,
              "[ViT] sizes must be positive, got dimension ", o.dim, ", depth ", o.depth, ", --patch-size ", o.patch,
              ", images of ", o.image_h, " x ", o.image_w, " x ", o.channels);
  TACIT_CHECK(o.image_h % o.patch == 0 && o.image_w % o.patch == 0, "[ViT] --patch-size ", o.patch,
              " does not divide images of ", o.image_h, " x ", o.image_w,
              " pixels; choose a divisor of both sides, or another image size");
  return o;
}

// MAE treats the convolution as the matrix (dim, patch² channels) that it is.
Init as_matrix(int64_t inputs, int64_t outputs) {
  const double bound = std::sqrt(6.0 / static_cast<double>(inputs + outputs));
  return Init::uniform(-bound, bound);
}

Variable mean_of_patches(const Variable& tokens) { return mean(slice(tokens, 1, 1, tokens.size(1)), {1}); }

}  // namespace

PatchEmbed::PatchEmbed(int64_t channels, int64_t dim, int64_t patch)
    : proj_(channels, dim, patch, {.stride = patch, .init = as_matrix(patch * patch * channels, dim)}) {}

Variable PatchEmbed::operator()(const Variable& images) const { return flatten(proj_(images), 1, 2); }

Variable PatchEmbed::of_patches(const Variable& pixels) const {
  return linear(pixels, flatten(proj_.weight, 1), proj_.bias);
}

ViT::ViT(ViTOptions o) : options_(checked(o)), patch_embed_(o.channels, o.dim, o.patch), norm_(o.dim, kViTNormEps) {
  const DeferInit defer;
  cls_token_ = Parameter(Tensor::zeros({1, 1, o.dim}));
  if (o.position == Position::Learned)
    learned_positions_ = Parameter(Tensor::zeros({1, 1 + tokens(), o.dim}));
  else
    fixed_positions_ = Buffer(sincos_position_embedding(o.dim, grid_h(), grid_w(), true));
  for (int64_t i = 0; i < o.depth; ++i) {
    const double share = o.depth > 1 ? static_cast<double>(i) / static_cast<double>(o.depth - 1) : 0;
    blocks_.emplace_back(
        BlockOptions{.dim = o.dim, .heads = o.heads, .mlp_ratio = o.mlp_ratio, .drop_path = share * o.drop_path});
  }
  initialize(*this, o.seed);
}

Variable ViT::operator()(const Variable& images) {
  const Variable x = encode_tokens(patches(images));
  if (options_.pool == Pool::Cls) return select(x, 1, 0);
  return pools_before_norm() ? norm_(mean_of_patches(x)) : mean_of_patches(x);
}

void ViT::check_images(const Shape& shape) const {
  TACIT_CHECK(shape.rank() == 4 && shape[1] == options_.image_h && shape[2] == options_.image_w &&
                  shape[3] == options_.channels,
              "[ViT] the network is made for images (N, ", options_.image_h, ", ", options_.image_w, ", ",
              options_.channels, "), got ", shape);
}

Variable ViT::patches(const Variable& images) const {
  check_images(images.shape());
  return add_bias(patch_embed_(images), positions(1, 1 + tokens()));
}

Variable ViT::patches(const Variable& pixels, const Tensor& index) const {
  TACIT_CHECK(pixels.rank() == 3 && index.shape() == Shape({pixels.size(0), pixels.size(1)}), "[ViT] pixels ",
              pixels.shape(), " must be (N, V, values) for an index (N, V), got ", index.shape());
  const Variable grid = broadcast_to(positions(1, 1 + tokens()), {index.size(0), tokens(), options_.dim});
  return add_bias(patch_embed_.of_patches(pixels), gather(grid, 1, index.unsqueeze(2)));
}

Variable ViT::encode_tokens(const Variable& tokens) const {
  const Variable x = through_blocks(tokens, blocks_.size());
  return pools_before_norm() ? x : norm_(x);
}

Variable ViT::through_blocks(const Variable& tokens, size_t count) const {
  TACIT_CHECK(tokens.rank() == 3 && tokens.size(2) == options_.dim, "[ViT] tokens must be (N, T, ", options_.dim,
              "), got ", tokens.shape());
  const Variable cls = broadcast_to(cls_token_ + positions(0, 1), {tokens.size(0), 1, options_.dim});
  Variable x = concatenate(std::vector<Variable>{cast(cls, tokens.dtype()), tokens}, 1);
  for (size_t i = 0; i < count; ++i) x = run_block(blocks_[i], x, options_.checkpoint);
  return x;
}

Variable ViT::positions(int64_t lo, int64_t hi) const {
  if (learned_positions_.defined()) return slice(learned_positions_, 1, lo, hi);
  return fixed_positions_.value().slice(1, lo, hi);
}

Variable ViT::after_stages(const Variable& images, int count) {
  if (static_cast<size_t>(count) >= blocks_.size()) return (*this)(images);
  return mean_of_patches(through_blocks(patches(images), static_cast<size_t>(count)));
}

void ViT::visit(Visitor& v) {
  v("cls_token", cls_token_);
  v("pos_embed", learned_positions_);
  v("pos_embed", fixed_positions_);
  v("patch_embed", patch_embed_);
  for (size_t i = 0; i < blocks_.size(); ++i) v("blocks." + std::to_string(i), blocks_[i]);
  v(pools_before_norm() ? "fc_norm" : "norm", norm_);
}

void ViT::reset(const Initializer& init) {
  init("cls_token", cls_token_, Init::normal(0, 0.02));
  init("pos_embed", learned_positions_, Init::truncated_normal(0.02));
}

}  // namespace tacit::nn
