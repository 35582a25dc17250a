#include "ssl/methods/mae_decoder.h"

#include "autograd/ops.h"
#include "nn/position_embedding.h"

namespace tacit::ssl {

MAEDecoder::MAEDecoder(int64_t encoder_dim, int64_t grid_h, int64_t grid_w, int64_t outputs, const MAEDecoderOptions& o,
                       uint64_t seed)
    : embed_(encoder_dim, o.dim, nn::transformer_linear()),
      norm_(o.dim, nn::kViTNormEps),
      pred_(o.dim, outputs, nn::transformer_linear()) {
  TACIT_CHECK(o.depth > 0, "[MAE] the decoder needs at least one block, got ", o.depth);
  const nn::DeferInit defer;
  mask_token_ = nn::Parameter(Tensor::zeros({1, 1, o.dim}));
  positions_ = nn::Buffer(nn::sincos_position_embedding(o.dim, grid_h, grid_w, true));
  for (int64_t i = 0; i < o.depth; ++i) blocks_.emplace_back(nn::BlockOptions{.dim = o.dim, .heads = o.heads});
  nn::initialize(*this, seed);
}

Variable MAEDecoder::operator()(const Variable& latent, const Tensor& restore) const {
  const Variable seen = embed_(latent);
  const int64_t n = seen.size(0), visible = seen.size(1) - 1, patches = restore.size(1), dim = seen.size(2);
  // Visible tokens, then one mask token for each hidden patch, put back in the image's order. The class token has no
  // place in that order and stays in front.
  const Variable hidden = broadcast_to(mask_token_, {n, patches - visible, dim});
  const Variable shuffled = concatenate(std::vector<Variable>{slice(seen, 1, 1, 1 + visible), hidden}, 1);
  const Variable tokens = gather(shuffled, 1, restore.unsqueeze(2));
  Variable x = concatenate(std::vector<Variable>{slice(seen, 1, 0, 1), tokens}, 1) + positions_.value();
  for (const nn::Block& block : blocks_) x = block(x);
  return slice(pred_(norm_(x)), 1, 1, 1 + patches);
}

void MAEDecoder::visit(nn::Visitor& v) {
  v("mask_token", mask_token_);
  v("decoder_pos_embed", positions_);
  v("decoder_embed", embed_);
  for (size_t i = 0; i < blocks_.size(); ++i) v("decoder_blocks." + std::to_string(i), blocks_[i]);
  v("decoder_norm", norm_);
  v("decoder_pred", pred_);
}

void MAEDecoder::reset(const nn::Initializer& init) { init("mask_token", mask_token_, nn::Init::normal(0, 0.02)); }

}  // namespace tacit::ssl
