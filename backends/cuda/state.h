// What a CudaBackend holds: its device, its stream, cuBLASLt's handle and the products it has planned.
// The rule: included by this folder's .cu files only, so that the rest of tacit compiles without CUDA's headers.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <array>
#include <map>
#include <mutex>

#include "backends/cuda/backend.h"
#ifdef TACIT_WITH_CUDNN
#include "backends/cuda/cudnn.h"
#endif

namespace tacit::cuda {

/// A product's shape, layout, arithmetic and alignments: what a plan depends on.
using ProductKey = std::array<int64_t, 16>;

struct CudaBackend::State {
  State() = default;
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  int index = 0;
  cudaStream_t stream = nullptr;
  cublasLtHandle_t blas = nullptr;
  void* workspace = nullptr;  ///< cuBLASLt's
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;
#ifdef TACIT_WITH_CUDNN
  std::unique_ptr<Cudnn> cudnn;
#endif
  std::mutex mutex;  ///< guards plans
  std::map<ProductKey, cublasLtMatmulAlgo_t> plans;
};

}  // namespace tacit::cuda
