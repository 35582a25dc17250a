// Which encoder a file of weights is of: the remedy of an error about one that does not fit.
#pragma once

#include <map>
#include <string>

#include "ssl/train/config.h"

namespace tacit::ssl {

/// Names and shapes of tensors, as files hold them.
using TensorShapes = std::map<std::string, Shape>;

/// The weight that sees the image, one of these in every encoder: it tells channels, width, stem and size of patches.
inline constexpr const char* kFirstWeights[] = {"conv1.weight", "patch_embed.proj.weight", "block1.conv1.weight"};

/// The flags that make an encoder with just these tensors where `config` makes another, as "--encoder resnet50 --stem
/// imagenet"; "" where no known encoder has them. `file`: names without a wrapper's prefix; heads behind the encoder do
/// not matter. Makes each encoder that may fit, which takes a second or two.
std::string fitting_flags(const TrainConfig& config, const TensorShapes& file);

}  // namespace tacit::ssl
