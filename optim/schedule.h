// Learning-rate schedules: pure functions of the step, so that a resumed run needs nothing but its step.
#pragma once

#include <cstdint>
#include <vector>

namespace tacit::optim {

/// Linear warm-up to `peak` over warmup_steps, then a cosine to 0 (Loshchilov & Hutter 2017, without restarts).
/// `step` counts from 0: the first warm-up step already has peak / warmup_steps, step warmup_steps has the peak, and
/// step == steps would have 0.
double warmup_cosine(int64_t step, int64_t warmup_steps, int64_t steps, double peak);

/// Linear warm-up to `peak` as above, then peak * factor^(number of `drops` that are <= step). `drops` are steps.
double warmup_steps(int64_t step, int64_t warmup_steps, const std::vector<int64_t>& drops, double factor, double peak);

}  // namespace tacit::optim
