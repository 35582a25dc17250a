#include "optim/schedule.h"

#include <cmath>
#include <numbers>

#include "tensor/error.h"

namespace tacit::optim {

double warmup_cosine(int64_t step, int64_t warmup_steps, int64_t steps, double peak) {
  TACIT_CHECK(step >= 0 && warmup_steps >= 0 && steps >= warmup_steps, "[warmup_cosine] step ", step, " with ",
              warmup_steps, " warm-up steps of ", steps, " in all");
  if (step < warmup_steps) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (step >= steps) return 0;
  const double progress = static_cast<double>(step - warmup_steps) / static_cast<double>(steps - warmup_steps);
  return peak * 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

double warmup_steps(int64_t step, int64_t warmup_steps, const std::vector<int64_t>& drops, double factor, double peak) {
  TACIT_CHECK(step >= 0 && warmup_steps >= 0, "[warmup_steps] step ", step, " with ", warmup_steps, " warm-up steps");
  if (step < warmup_steps) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  for (const int64_t drop : drops)
    if (drop <= step) peak *= factor;
  return peak;
}

}  // namespace tacit::optim
