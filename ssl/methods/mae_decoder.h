// MAE's decoder: from the tokens of the visible patches to the pixels of the hidden ones.
// The rule: it stands alone beside the encoder, under the official names, and is thrown away when features are wanted.
// The official code predicts all patches, in the image's order, and then forgets the visible ones: the loss is the
// same.
#pragma once

#include <vector>

#include "nn/transformer.h"
#include "ssl/methods/patches.h"

namespace tacit::ssl {

struct MAEDecoderOptions {
  int64_t dim = 512, depth = 8, heads = 16;  ///< the official ones for every encoder
};

class MAEDecoder : public nn::Module {
 public:
  /// From tokens of `encoder_dim` to `outputs` numbers a patch, for a grid of patches. dim must be a multiple of 4 and
  /// of heads.
  MAEDecoder(int64_t encoder_dim, int64_t grid_h, int64_t grid_w, int64_t outputs, const MAEDecoderOptions&,
             uint64_t seed);
  /// latent (N, 1 + V, encoder_dim): class token and the patches of Masking::keep. Hidden patches start as the mask
  /// token. (N, L - V, outputs): what is predicted for those of Masking::hidden.
  Variable operator()(const Variable& latent, const Masking&) const;

  /// Members mask_token, decoder_pos_embed (fixed), decoder_embed, decoder_blocks.i, decoder_norm, decoder_pred.
  void visit(nn::Visitor& v) override;
  /// The mask token: N(0, 0.02). Linears: nn::transformer_linear().
  void reset(const nn::Initializer&) override;

 private:
  nn::Parameter mask_token_;
  nn::Buffer positions_;
  nn::Linear embed_;
  std::vector<nn::Block> blocks_;
  nn::LayerNorm norm_;
  nn::Linear pred_;
};

}  // namespace tacit::ssl
