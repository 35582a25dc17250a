// Staged: a network whose features can be looked at half-way: `tacit knn --feature layer3`. The rule: the features of a
// stage are its output averaged over positions; those of the last stage are the network's own (a ViT's may be its class
// token).
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
  /// images (N, H, W, C) -> (N, channels of that stage), after the first `count` stages; 1 <= count.
  virtual Variable after_stages(const Variable& images, int count) = 0;
};

}  // namespace tacit::nn
