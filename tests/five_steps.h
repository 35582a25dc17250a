// Five whole steps of a method against PyTorch's: what five_steps of fixtures/common.py noted.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "optim/optimizer.h"
#include "ssl/methods/method.h"

namespace tacit::testing {

/// Trains a method whose values are drawn already (draw_weights(), before the optimiser is made) for five steps, on
/// views(step) at the rate lr_scale * lr_at(step). Checks the losses ("<name> losses"), the parameters against how far
/// torch moved them (above 1 % of their size: common.py checks it), and each floating buffer ("<name> <path>").
void five_steps(const std::string& name, ssl::Method&, DType, optim::Optimizer&, double lr_scale,
                const std::function<std::vector<Tensor>(int step)>& views);

}  // namespace tacit::testing
