// PyTorch's results (tests/fixtures/results.json, written by fixtures/make.py) and the inputs both sides draw.
// The rule: draw(name) and draw_weights(module) are those of make.py, name for name.
#pragma once

#include <string>
#include <vector>

#include "nn/module.h"

namespace tacit::testing {

/// Normals of the stream "fixture <name>", seed 0.
Tensor draw(const std::string& name, const Shape&, DType);

/// Converts the module to `dtype` and gives every parameter and buffer its drawn value, by its name and shape in files.
void draw_weights(nn::Module&, DType);

/// Checks a tensor (shapes as torch has them) against the result of that name: the norm, the sum and the samples, each
/// within `tolerance` of the tensor's root mean square (the sum: of that times the root of the count).
void check_fixture(const std::string& name, const Tensor&, double tolerance);

/// How far a set of weights is from torch's, against how far torch moved them from `before`: over all the samples,
/// |w - w*| / |w* - before|. Names are "<prefix> <name>"; num_batches_tracked and other integers are left out.
double relative_to_movement(const std::string& prefix, const nn::StateDict& weights, const nn::StateDict& before);

}  // namespace tacit::testing
