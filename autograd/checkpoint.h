// Activation checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"): a part of a network
// keeps its input alone and is computed again when its gradient is asked for. The rule: both passes must give the same
// numbers. Random layers do, their numbers being functions of counters.
#pragma once

#include <functional>

#include "autograd/variable.h"

namespace tacit {

/// What can be checkpointed: a part of a network.
using VariableFunction = std::function<Variable(const Variable&)>;

/// f(x) without its graph; the backward pass calls again(x) (undefined: f) and goes back through that, which also gives
/// the parameters that f holds their gradients: the same bits as without. Where x needs no gradient, or nothing is
/// recorded, it is f(x) and no more.
Variable checkpoint(const VariableFunction& f, const Variable& x, const VariableFunction& again = {});

}  // namespace tacit
