#include "nn/encoder_layers.h"

#include <algorithm>

#include "nn/staged.h"
#include "nn/vit.h"

namespace tacit::nn {

namespace {

/// The number directly after `word` at the beginning of the name ("layer" of "layer3.0.bn1.bias": 3); -1 if none.
int64_t number_after(const std::string& name, const std::string& word) {
  if (name.rfind(word, 0) != 0) return -1;
  int64_t number = -1;
  for (size_t i = word.size(); i < name.size() && name[i] >= '0' && name[i] <= '9'; ++i)
    number = 10 * std::max<int64_t>(number, 0) + (name[i] - '0');
  return number;
}

int64_t vit_layer(ViT& vit, const std::string& name) {
  const int64_t block = number_after(name, "blocks.");
  if (block >= 0) return block + 1;
  if (name == "cls_token" || name == "pos_embed" || name.rfind("patch_embed.", 0) == 0) return 0;
  if (name.rfind("norm.", 0) == 0 || name.rfind("fc_norm.", 0) == 0) return vit.options().depth + 1;
  return -1;
}

int64_t convolutional_layer(const std::string& stages, const std::string& name) {
  if (stages == "layer") {  // ResNets: "layer2.0.conv1.weight"; their stem is conv1, bn1
    const int64_t stage = number_after(name, "layer");
    if (stage >= 0) return stage;
    return name.rfind("conv1.", 0) == 0 || name.rfind("bn1.", 0) == 0 ? 0 : -1;
  }
  for (const char* word : {"block", "conv", "bn"})  // nin: "block2.conv1.weight"; small_cnn: "conv2.weight"
    if (const int64_t block = number_after(name, word); block > 0) return block - 1;
  return -1;
}

}  // namespace

int64_t encoder_layer(Encoder& encoder, const std::string& parameter) {
  int64_t layer = -1;
  if (ViT* const vit = encoder.as<ViT>())
    layer = vit_layer(*vit, parameter);
  else if (Staged* const staged = encoder.as<Staged>())
    layer = convolutional_layer(staged->stages().first, parameter);
  TACIT_CHECK(layer >= 0, "[layer decay] the layer of the encoder's ", parameter, " is not known");
  return layer;
}

int64_t head_layer(Encoder& encoder) {
  if (ViT* const vit = encoder.as<ViT>()) return vit->options().depth + 1;
  int64_t last = 0;
  for (const auto& named : encoder.named_parameters()) last = std::max(last, encoder_layer(encoder, named.first));
  return last + 1;
}

}  // namespace tacit::nn
