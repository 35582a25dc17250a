// What a run says of itself before its first step, in seven lines: what learns, from what, by which steps, in how much
// memory. The rule: nothing that a command line can get wrong is left for the curves to show.
#pragma once

#include <string>
#include <vector>

#include "optim/optimizer.h"
#include "ssl/train/pretrain.h"

namespace tacit::ssl {

/// "data        …", "encoder     …", "recipe      …", "optimiser   …", "parameters  …", "memory      …", "chance …".
/// `views`: the policies of the method's views; `memory`: what check_training_memory() said. The encoder's arithmetic
/// is counted on one image of zeros.
std::vector<std::string> summary(const TrainConfig&, const ImageSource&, Method&, const optim::Optimizer&,
                                 const RunPlan&, const std::vector<ViewPolicy>& views, const std::string& memory);

/// Floating-point operations: "13.4 MFLOP", "1.11 GFLOP".
std::string readable_flop(double operations);

}  // namespace tacit::ssl
