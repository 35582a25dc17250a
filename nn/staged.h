// Staged: a network whose features can be looked at half-way: `tacit knn --feature layer3`. The rule: the features of a
// stage are its output averaged over positions; those of the last stage are the network's own (a ViT's may be its class
// token). Networks of images give stage_map() and get the rest; those without a map of positions give after_stages().
#pragma once

#include <string>
#include <vector>

#include "autograd/variable.h"

namespace tacit::nn {

class Staged {
 public:
  virtual ~Staged() = default;
  /// How many stages there are, and what one is called: {"layer", 4} for layer1 … layer4.
  virtual std::pair<std::string, int> stages() const = 0;
  /// images (N, H, W, C) -> (N, h, w, channels of that stage), after the first `count` stages; 1 <= count. Throws Error
  /// where the network has no such map.
  virtual Variable stage_map(const Variable& images, int count);
  /// images (N, H, W, C) -> (N, channels of that stage): stage_map() averaged over h and w.
  virtual Variable after_stages(const Variable& images, int count);
};

}  // namespace tacit::nn
