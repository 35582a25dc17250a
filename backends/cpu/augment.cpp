// Views of images, one a thread. Loaders that augment on the host have a faster way (kernels/augment.h); this one is
// for those that leave it to the device, whichever it is.
#include <vector>

#include "backends/cpu/backend.h"
#include "backends/cpu/parallel.h"
#include "tensor/augment_image.h"

namespace tacit::cpu {

void CpuBackend::augment(const AugmentArgs& args) {
  const augment::Job job(args);
  parallel_pieces(job.count, [&](int64_t i) {
    std::vector<float> floats(static_cast<size_t>(job.floats()));
    std::vector<int32_t> ranges(static_cast<size_t>(job.ranges()));
    augment::ViewOfImage(augment::OneLane(), job, i, floats.data(), ranges.data()).make();
  });
}

}  // namespace tacit::cpu
