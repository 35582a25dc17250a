// What a CudaBackend holds: its device, its stream, cuBLASLt's handle and the products it has planned.
// The rule: included by this folder's .cu files only, so that the rest of tacit compiles without CUDA's headers.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "backends/cuda/backend.h"
#include "backends/cuda/downloads.h"
#include "backends/cuda/faults.h"
#include "backends/cuda/uploads.h"
#ifdef TACIT_WITH_CUDNN
#include "backends/cuda/cudnn.h"
#endif

namespace tacit::cuda {

/// A product's types, shape, layout and alignments: what a plan depends on.
using ProductKey = std::array<int64_t, 20>;

/// A name for cuBLASLt's struct that has none, which nvcc 13 does not compile a vector of.
struct ProductAlgorithm {
  cublasLtMatmulAlgo_t value;
};

/// What a product does besides: add a bias to each row of the result, or sum the rows of its left factor (both: one
/// number for each column of w.x + bias, or for each row of dw).
struct CudaBackend::Epilogue {
  cublasLtEpilogue_t kind = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;  ///< read by EPILOGUE_BIAS, written by EPILOGUE_BGRADB
};

struct CudaBackend::State {
  State() = default;
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  int index = 0;
  cudaStream_t stream = nullptr;
  cublasLtHandle_t blas = nullptr;
  void* workspace = nullptr;  ///< cuBLASLt's
  Uploads uploads;
  Downloads downloads;
  std::atomic<std::thread::id> capturer{};  ///< the thread that captures a step; none: nobody
  Fault* fault = nullptr;                   ///< on the device
  std::atomic<bool> unchecked{false};       ///< kernels that check indices were launched since the host last looked
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;
#ifdef TACIT_WITH_CUDNN
  std::unique_ptr<Cudnn> cudnn;
#endif
  std::mutex mutex;  ///< guards plans
  /// cuBLASLt's algorithms, best first; none: it has no such product.
  std::map<ProductKey, std::vector<ProductAlgorithm>> plans;
};

}  // namespace tacit::cuda
