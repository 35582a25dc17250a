// Encoders as ONNX graphs: what an encoder computes in evaluation mode, over NCHW images.
// The rule: what a layer is, is read from the module; the order of layers stands here a second time. So every tensor of
// the encoder must find its place in the graph, and tests/test_onnx.cpp compares each encoder's features with its
// graph's.
#pragma once

#include "nn/encoder.h"
#include "ssl/evaluate/features.h"
#include "ssl/train/onnx_model.h"

namespace tacit::ssl {

/// ResNets, small_cnn, nin and ViTs. Input "image" f32 (N, C, S, S), S and C the views'; output "features" (N, D).
/// include_normalisation: the image is pixels in 0…1 and the graph begins with (x - mean) / std; else the image is
/// normalised already. Weights have the names of state_dict() and its layouts (convolutions OIHW), but those of linear
/// layers are transposed to (in, out), as MatMul wants them, and called NAME.T. Throws Error for an encoder of another
/// network, and UsageError where views of lightness are to be normalised in the graph.
onnx::Model onnx_model(nn::Encoder&, const PlainViews&, bool include_normalisation);

}  // namespace tacit::ssl
