#include "nn/staged.h"

#include "autograd/ops.h"

namespace tacit::nn {

Variable Staged::stage_map(const Variable&, int) {
  detail::fail("[encoder] this encoder has no spatial map of its features; use a convolutional one, such as resnet18");
}

Variable Staged::after_stages(const Variable& images, int count) { return global_avg_pool(stage_map(images, count)); }

}  // namespace tacit::nn
