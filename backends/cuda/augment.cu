// Views of images: one block makes one view, passing over it from step to step; small ones stay in the caches.
#include "backends/cuda/backend.h"
#include "backends/cuda/combine.h"
#include "tensor/augment_image.h"

namespace tacit::cuda {

namespace {

constexpr int kAugmentThreads = 256;

struct BlockLanes {
  __device__ int64_t first() const { return threadIdx.x; }
  __device__ int64_t step() const { return kAugmentThreads; }
  __device__ void sync() const { __syncthreads(); }
  __device__ double sum(double value) const { return over_block<SumOf, kAugmentThreads>(value); }
};

__global__ void augment_kernel(const __grid_constant__ augment::Job job, float* floats, int32_t* ranges) {
  const int64_t i = blockIdx.x;
  const BlockLanes lanes;
  augment::ViewOfImage<BlockLanes>(lanes, job, i, floats + i * job.floats(), ranges + i * job.ranges()).make();
}

}  // namespace

void CudaBackend::augment(const AugmentArgs& args) {
  const augment::Job job(args);
  Scratch scratch(stream());
  float* const floats = scratch.take<float>(job.count * job.floats());
  int32_t* const ranges = scratch.take<int32_t>(job.count * job.ranges());
  launch(stream(), augment_kernel, Grid{job.count}, dim3(kAugmentThreads), 0, job, floats, ranges);
}

}  // namespace tacit::cuda
