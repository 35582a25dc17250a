// Views of images: the definition, in tensor/augment_image.h, by one lane.
#include <vector>

#include "backends/reference/backend.h"
#include "tensor/augment_image.h"

namespace tacit::reference {

void ReferenceBackend::augment(const AugmentArgs& args) {
  const augment::Job job(args);
  std::vector<float> floats(static_cast<size_t>(job.floats()));
  std::vector<int32_t> ranges(static_cast<size_t>(job.ranges()));
  for (int64_t i = 0; i < job.count; ++i)
    augment::ViewOfImage(augment::OneLane(), job, i, floats.data(), ranges.data()).make();
}

}  // namespace tacit::reference
