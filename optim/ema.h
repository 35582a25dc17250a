// Moving average of weights: the momentum encoder of MoCo, the target network of BYOL.
// The rule: parameters are averaged, buffers are not. A target in training mode keeps batch norm statistics of its own,
// as the official MoCo and BYOL have it.
#pragma once

#include "nn/module.h"

namespace tacit::optim {

/// target = momentum target + (1 - momentum) online for every parameter, in place, by one kernel call (momentum 0: a
/// copy). Frozen<M> as target and M as online have the same names. Throws Error unless names, shapes and dtypes are the
/// same on both sides, momentum is in [0, 1], and the two share no memory.
void ema_update_(nn::Module& target, nn::Module& online, double momentum);
/// The same for a momentum that changes from step to step: `weight` is 1 - momentum, one f64 on their device.
void ema_update_(nn::Module& target, nn::Module& online, const Tensor& weight);
/// cosine_momentum()'s weight for that, as an input of this step. base is above 0, or the first copy would be none.
Tensor cosine_weight(int64_t step, int64_t steps, double base, const Device&);

/// BYOL's momentum (Grill et al. 2020, section 3.3): 1 - (1 - base) (cos(pi step / steps) + 1) / 2, from `base` at step
/// 0 to 1 at step == steps. 0 <= step <= steps.
double cosine_momentum(int64_t step, int64_t steps, double base);

}  // namespace tacit::optim
