// Which layer of an encoder a parameter belongs to, for layer-wise learning-rate decay. The rule (BEiT's and MAE's):
// 0 for what stands before the first block, then the blocks in order, the norm behind them last; a head comes after it.
#pragma once

#include <string>

#include "nn/encoder.h"

namespace tacit::nn {

/// ViTs of L blocks: cls_token, pos_embed, patch_embed 0, blocks.i i + 1, norm and fc_norm L + 1. ResNets: the stem 0,
/// layer1 … layer4 1 … 4. small_cnn and nin: their blocks from 0 on. Throws Error for a name of no known layer.
int64_t encoder_layer(Encoder&, const std::string& parameter);
/// The layer of a classifier behind the encoder: ViTs L + 1, the norm's; others one behind their last.
int64_t head_layer(Encoder&);

}  // namespace tacit::nn
