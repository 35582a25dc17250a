// The encoder of a run as other programs name it. The rule: a file fits its format's model by name and shape, or there
// is an error; nothing is renamed silently.
#pragma once

#include <string>
#include <vector>

#include "ssl/train/build.h"

namespace tacit::ssl {

/// torchvision: convolutional encoders (ResNets: strict=True). timm: ViTs and ResNets (strict=True, num_classes=0).
/// mae: ViTs under the official MAE's names, which are timm's, with mask_token and decoder_* where the run has them.
/// onnx: the network itself, by onnx_model(); exported_tensors() has no such format.
std::vector<std::string> export_formats();
/// What is exported without a choice, and the names in an ONNX file: timm for ViTs, torchvision for others.
std::string default_export_format(const std::string& encoder);

/// The encoder that is exported. teacher: the momentum encoder, with its own batch norm statistics; throws UsageError
/// where the method has none.
nn::Encoder& exported_encoder(Pretrained&, bool teacher);

/// Tensors as torch lays them out, of exported_encoder(). Throws UsageError where the encoder does not fit the format.
nn::StateDict exported_tensors(Pretrained&, const std::string& format, bool teacher);

/// How timm makes this ViT, so that the exported weights give the same features: "VisionTransformer(img_size=32, …)".
/// "" for other encoders. timm pools by its class token unless told otherwise.
std::string timm_call(nn::Encoder&);

/// The official name of a tensor of MAE's decoder, found in a model's own name for it ("decoder.decoder_blocks.0.norm1
/// .weight": "decoder_blocks.0.norm1.weight"); "" for any other tensor.
std::string mae_decoder_name(const std::string& name);

}  // namespace tacit::ssl
