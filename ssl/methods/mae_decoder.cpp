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

Variable MAEDecoder::operator()(const Variable& latent, const Masking& masking) const {
  const Variable seen = embed_(latent);
  const int64_t n = seen.size(0), visible = masking.keep.size(1), hidden = masking.hidden.size(1), dim = seen.size(2);
  TACIT_CHECK(seen.size(1) == 1 + visible && 1 + visible + hidden == positions_.value().size(1), "[MAEDecoder] tokens ",
              latent.shape(), " are not the class token and the ", visible, " visible patches of a grid of ",
              positions_.value().size(1) - 1);
  // To a transformer a token's place is its position embedding: all stay in the order drawn, hidden ones last.
  const auto place = [&](const Tensor& patches) {
    const Tensor grid = positions_.value().slice(1, 1, 1 + visible + hidden).broadcast_to({n, visible + hidden, dim});
    return gather(grid, 1, patches.unsqueeze(2));
  };
  const Tensor positions = concatenate(std::vector<Tensor>{positions_.value().slice(1, 0, 1).broadcast_to({n, 1, dim}),
                                                           place(masking.keep), place(masking.hidden)},
                                       1);
  const Variable mask_tokens = cast(broadcast_to(mask_token_, {n, hidden, dim}), seen.dtype());
  Variable x = add_bias(concatenate(std::vector<Variable>{seen, mask_tokens}, 1), positions);
  for (size_t i = 0; i + 1 < blocks_.size(); ++i) x = blocks_[i](x);
  return widen(pred_(norm_(blocks_.back()(x, 1 + visible))));
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
