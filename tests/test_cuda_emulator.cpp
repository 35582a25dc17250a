// The emulated device finds what it is there to find: kernels of this file that are wrong in one way each.
#include <cublasLt.h>
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "backends/cuda/backend.h"
#include "emulated.h"
#include "tensor/error.h"
#include "tensor/late_numbers.h"

using namespace tacit::testing;

namespace {

// Every thread's neighbour's square, through shared memory.
__global__ void neighbours_kernel(int* out, bool with_barrier) {
  __shared__ emulator::Shared<int[256]> squares;
  squares[threadIdx.x] = static_cast<int>(threadIdx.x * threadIdx.x);
  if (with_barrier) __syncthreads();
  out[threadIdx.x] = squares[(threadIdx.x + 1) % 256];
}
// Two rounds through one shared array: with a barrier before the second write, or with none there.
__global__ void two_rounds_kernel(int* out, bool with_barrier) {
  __shared__ emulator::Shared<int[8]> warps;
  const unsigned warp = threadIdx.x / 32;
  int sums[2] = {};
  for (int round = 0; round < 2; ++round) {
    const int given = __shfl_sync(0xffffffffu, static_cast<int>(warp + 100 * static_cast<unsigned>(round)), 0);
    if (with_barrier && round > 0) __syncthreads();
    if (threadIdx.x % 32 == 0) warps[warp] = given;
    __syncthreads();
    for (int w = 0; w < 8; ++w) sums[round] += warps[w];
  }
  out[blockIdx.x * 256 + threadIdx.x] = sums[0] + sums[1];
}
__global__ void unfinished_kernel() {
  if (threadIdx.x >= 40) return;
  __syncthreads();
}

}  // namespace

TEST_CASE("every thread of every block runs once, whatever the shape") {
  Memory<int> counts(3 * 2 * 4 * 6 * 2 * 3);
  for (int i = 0; i < 864; ++i) counts.data[i] = 0;
  int* const count = counts.data;
  CHECK(run(dim3(3, 2, 4), dim3(6, 2, 3), 0, [count] {
          const unsigned block = blockIdx.x + 3 * (blockIdx.y + 2 * blockIdx.z);
          const unsigned thread = threadIdx.x + 6 * (threadIdx.y + 2 * threadIdx.z);
          atomicAdd(&count[36 * block + thread], 1 + static_cast<int>(gridDim.z + blockDim.z) - 7);
        }) == cudaSuccess);
  for (int i = 0; i < 864; ++i) CHECK(count[i] == 1);
}

TEST_CASE("a barrier brings every thread's writes; without it some threads read what is not there yet") {
  Memory<int> out(256);
  for (const bool with_barrier : {true, false}) {
    emulator::launch(neighbours_kernel, 1, 256, 0, nullptr, out.data, with_barrier);
    int wrong = 0;
    for (int i = 0; i < 256; ++i) wrong += out.data[i] != (i + 1) % 256 * ((i + 1) % 256) ? 1 : 0;
    CAPTURE(with_barrier);
    CHECK((wrong > 0) == !with_barrier);
  }
}

TEST_CASE("a thread may be as far behind the others as barriers let it: a second write that does not wait is seen") {
  constexpr int kBlocks = 8, kSum = 28 + 828;
  Memory<int> out(256 * kBlocks);
  for (const bool with_barrier : {true, false}) {
    emulator::launch(two_rounds_kernel, kBlocks, 256, 0, nullptr, out.data, with_barrier);
    int wrong = 0;
    for (int i = 0; i < 256 * kBlocks; ++i) wrong += out.data[i] != kSum ? 1 : 0;
    CAPTURE(with_barrier);
    CHECK((wrong > 0) == !with_barrier);
  }
}

TEST_CASE("memory that nothing was written to is NaN: allocations, static and dynamic shared memory, block by block") {
  Memory<float> out(8);
  CHECK(std::isnan(out.data[0]));
  float* const data = out.data;
  run(4, 1, 8, [data] {
    __shared__ emulator::Shared<double[2]> fixed;
    float* const dynamic = emulator::dynamic_shared<float>();
    data[2 * blockIdx.x] = static_cast<float>(fixed[1]);
    data[2 * blockIdx.x + 1] = dynamic[1];
    fixed[1] = dynamic[1] = 0;  // the next block does not see it
  });
  for (int i = 0; i < 8; ++i) CHECK(std::isnan(out.data[i]));
}

TEST_CASE("threads that do not meet are an error that names the kernel and the lines") {
  emulator::launch(unfinished_kernel, 1, 40, 0, nullptr);
  try {
    emulator::launch(unfinished_kernel, 1, 64, 0, nullptr);
    FAIL("a barrier without 24 threads");
  } catch (const tacit::Error& error) {
    const std::string what = error.what();
    CAPTURE(what);
    CHECK(has(what, "unfinished_kernel"));
    CHECK(has(what, "24 have ended; 40 wait for the block at"));
    CHECK(has(what, "test_cuda_emulator.cpp:"));
  }
  const std::string two_lines = fault(32, [] {
    if (threadIdx.x < 10)
      __syncthreads();
    else
      __syncthreads();
  });
  CHECK(has(two_lines, "10 wait for the block"));
  CHECK(has(two_lines, "22 wait for the block"));
  CHECK(has(fault(32,
                  [] {
                    if (threadIdx.x != 3) __shfl_sync(0xffffffffu, 1, 0);
                  }),
            "31 wait for their warp"));
  CHECK(has(fault(16, [] { __shfl_xor_sync(0xffffffffu, 1, 1); }), "16 wait for their warp"));
  CHECK(has(fault(32, [] { __shfl_sync(0x0000ffffu, 1, 0); }), "the mask has not both"));
  CHECK(has(fault(1, [] { throw tacit::Error("from a kernel"); }), "from a kernel"));
  emulator::launch(unfinished_kernel, 2, 32, 0, nullptr);  // the device goes on after a fault
}

TEST_CASE("lanes of a warp exchange values and votes; halves of a warp meet apart") {
  Memory<double> results(8 * 64);
  double* const out = results.data;
  CHECK(run(1, 64, 0, [out] {
          const int t = static_cast<int>(threadIdx.x);
          const auto put = [&](int row, double value) { out[64 * row + t] = value; };
          put(0, __shfl_sync(0xffffffffu, 0.5 + t, 5));
          put(1, __shfl_xor_sync(0xffffffffu, t, 16));
          put(2, __shfl_down_sync(0xffffffffu, t, 2u, 8));
          put(3, __shfl_up_sync(0xffffffffu, static_cast<float>(t), 1u));
          put(4, __ballot_sync(0xffffffffu, t % 32 < 3));
          put(5, __any_sync(0xffffffffu, t == 40) ? 1 : 0);
          put(6, __all_sync(0xffffffffu, t < 32) ? 1 : 0);
          if (t % 32 < 16)
            put(7, __shfl_sync(0x0000ffffu, t, 1));
          else
            put(7, __shfl_sync(0xffff0000u, t, 17));
          __syncwarp();
        }) == cudaSuccess);
  for (int t = 0; t < 64; ++t) {
    CAPTURE(t);
    const int warp = t / 32 * 32;
    CHECK(out[t] == warp + 5.5);
    CHECK(out[64 + t] == (t ^ 16));
    CHECK(out[128 + t] == (t % 8 < 6 ? t + 2 : t));
    CHECK(out[192 + t] == (t % 32 == 0 ? t : t - 1));
    CHECK(out[256 + t] == 7);
    CHECK(out[320 + t] == (t >= 32 ? 1 : 0));
    CHECK(out[384 + t] == (t < 32 ? 1 : 0));
    CHECK(out[448 + t] == (t % 32 < 16 ? warp + 1 : warp + 17));
  }
}

TEST_CASE("launches and copies that CUDA refuses") {
  auto nothing = [] {};
  CHECK(run(1, 1024, 48 << 10, nothing) == cudaSuccess);
  CHECK(run(1, 1025, 0, nothing) == cudaErrorInvalidConfiguration);
  CHECK(run(1, dim3(1, 1, 65), 0, nothing) == cudaErrorInvalidConfiguration);
  CHECK(run(dim3(1, 65536), 1, 0, nothing) == cudaErrorInvalidConfiguration);
  CHECK(run(0, 1, 0, nothing) == cudaErrorInvalidConfiguration);
  CHECK(run(1, 1, (48 << 10) + 1, nothing) == cudaErrorInvalidValue);
  const auto* const kernel = reinterpret_cast<const void*>(call_kernel<decltype(nothing)>);
  CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (227 << 10) + 1) ==
        cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 227 << 10) == cudaSuccess);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(run(1, 1, 227 << 10, nothing) == cudaSuccess);

  Memory<char> device(64);
  std::array<char, 64> host{};
  CHECK(cudaMemcpyAsync(device.data, host.data(), 64, cudaMemcpyHostToDevice, nullptr) == cudaSuccess);
  CHECK(cudaMemcpyAsync(device.data + 1, host.data(), 64, cudaMemcpyHostToDevice, nullptr) == cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(host.data(), device.data, 64, cudaMemcpyHostToDevice, nullptr) == cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(device.data, host.data(), 64, cudaMemcpyDeviceToDevice, nullptr) == cudaErrorInvalidValue);
  CHECK(cudaFree(host.data()) == cudaErrorInvalidValue);
  void* huge = nullptr;
  CHECK(cudaMalloc(&huge, size_t{1} << 40) == cudaErrorMemoryAllocation);
  cudaGetLastError();
}

TEST_CASE("streams: what no event orders happens in either order; waiting and waited-for work in its own") {
  cudaStream_t compute = nullptr, copies = nullptr;
  cudaStreamCreateWithFlags(&compute, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking);
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  Memory<int> memory(2);
  int* const device = memory.data;
  void* locked = nullptr;
  cudaMallocHost(&locked, sizeof(int));
  auto* const host = static_cast<int*>(locked);
  for (const bool ordered : {true, false}) {
    int late = 0, early = 0;
    for (int i = 1; i <= 64; ++i) {
      *host = i;
      cudaMemcpyAsync(device, host, sizeof(int), cudaMemcpyHostToDevice, copies);
      if (ordered) {
        cudaEventRecord(event, copies);
        cudaStreamWaitEvent(compute, event);
      }
      auto add = [device] { device[1] = device[0]; };
      emulator::launch(call_kernel<decltype(add)>, 1, 1, 0, compute, add);
      if (ordered) cudaEventSynchronize(event);
      *host = -i;  // the copy must have been waited for
      cudaStreamSynchronize(compute);
      cudaStreamSynchronize(copies);
      late += device[1] != i ? 1 : 0;
      early += device[1] == i ? 1 : 0;
    }
    CAPTURE(ordered);
    CHECK((late > 0) == !ordered);
    CHECK(early > 0);
  }
  cudaFreeHost(locked);
  cudaEventDestroy(event);
  cudaStreamDestroy(compute);
  cudaStreamDestroy(copies);
}

TEST_CASE("captures: recorded and not done, done again at each launch; what would wait or take memory is refused") {
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  Memory<int> memory(1);
  int* const count = memory.data;
  *count = 0;
  auto add = [count] { ++*count; };
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  emulator::launch(call_kernel<decltype(add)>, 1, 2, 0, stream, add);
  void* scratch = nullptr;
  CHECK(cudaMallocAsync(&scratch, 4, stream) == cudaSuccess);
  CHECK(cudaFreeAsync(scratch, stream) == cudaSuccess);
  CHECK(cudaFreeAsync(memory.data, stream) == cudaErrorInvalidValue);  // no memory of the graph
  cudaGetLastError();
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  cudaStreamSynchronize(stream);
  CHECK(*count == 0);
  cudaGraphExec_t exec = nullptr;
  CHECK(cudaGraphInstantiate(&exec, graph) == cudaSuccess);
  cudaGraphDestroy(graph);
  for (int i = 0; i < 3; ++i) CHECK(cudaGraphLaunch(exec, stream) == cudaSuccess);
  cudaStreamSynchronize(stream);
  CHECK(*count == 6);
  cudaGraphExecDestroy(exec);

  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  int host = 0;
  const std::vector<std::pair<std::string, std::function<cudaError_t()>>> refused = {
      {"cudaMalloc", [&] { return cudaMalloc(&scratch, 4); }},
      {"cudaFree", [&] { return cudaFree(count); }},
      {"cudaMallocHost", [&] { return cudaMallocHost(&scratch, 4); }},
      {"cudaStreamSynchronize", [&] { return cudaStreamSynchronize(stream); }},
      {"cudaEventSynchronize", [&] { return cudaEventSynchronize(event); }},
      {"cudaStreamWaitEvent", [&] { return cudaStreamWaitEvent(stream, event); }},
      {"movable memory", [&] { return cudaMemcpyAsync(count, &host, 4, cudaMemcpyHostToDevice, stream); }},
  };
  for (const auto& [what, call] : refused) {
    const std::string name = what;
    CAPTURE(name);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    CHECK(call() != cudaSuccess);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
    CHECK(graph == nullptr);
  }
  cudaGetLastError();
  cudaEventDestroy(event);
  cudaStreamDestroy(stream);
}

TEST_CASE("the backend counts what the host waits for") {
  const tacit::Device device("emulated");
  const auto waits = [&](const auto& f) {
    const int64_t ours = device.backend().waits(), all = emulator::waits();
    f();
    CHECK((device.backend().waits() > ours) == (emulator::waits() > all));
    return device.backend().waits() - ours;
  };
  tacit::Tensor x = tacit::Tensor::zeros({1}, tacit::f32, device);
  tacit::LateNumbers late({x});
  CHECK(waits([&] { x.item(); }) == 1);
  CHECK(waits([&] { device.backend().synchronize(); }) == 1);
  CHECK(waits([&] { x.fill_(2); }) == 0);
  CHECK(waits([&] { x = tacit::Tensor::from(std::vector<float>{1}, {1}, device); }) == 0);
  CHECK(waits([&] { late.get(); }) == 1);
  CHECK(waits([&] { late.get(); }) == 0);
  CHECK(waits([&] { late = tacit::LateNumbers({x}); }) == 0);
}

TEST_CASE("uploads that no kernel has come to yet are not written over by later ones") {
  const tacit::Device device("emulated"), host("cpu");
  const emulator::Hold hold(dynamic_cast<tacit::cuda::CudaBackend&>(device.backend()).stream());
  std::vector<tacit::Tensor> there;  // three times the staging memory of such copies
  for (int i = 0; i < 12; ++i) there.push_back(tacit::Tensor::full({int64_t{4} << 20}, i, tacit::u8, host).to(device));
  for (int i = 0; i < 12; ++i) CHECK(there[static_cast<size_t>(i)].slice(0, 77, 78).item() == i);
}

TEST_CASE("a batch is uploaded while the step before computes, and read after it has come") {
  const tacit::Device device("emulated"), host("cpu");
  const cudaStream_t stream = dynamic_cast<tacit::cuda::CudaBackend&>(device.backend()).stream();
  constexpr int64_t kBytes = int64_t{72} << 20;  // more than the ring, whose parts are used again
  std::array<tacit::Tensor, 2> batches;
  for (int i = 0; i < 2; ++i) batches[static_cast<size_t>(i)] = tacit::Tensor::full({kBytes}, i + 1, tacit::u8, host);
  tacit::Tensor on_device = batches[0].to(device);  // takes the memory that it needs
  bool done = false;
  const emulator::Hold hold(stream);
  auto step = [&done] { done = true; };
  emulator::launch(call_kernel<decltype(step)>, 1, 1, 0, stream, step);
  on_device = tacit::Tensor();
  on_device = batches[1].to(device);  // into the block that the first had
  CHECK_FALSE(done);                  // whatever the host waited for, it was not the step
  for (const int64_t at : {int64_t{0}, kBytes / 2, kBytes - 1}) CHECK(on_device.slice(0, at, at + 1).item() == 2);
  CHECK(done);
}

TEST_CASE("products agree with the sum, and with their descriptions or not at all") {
  // d (2 x 3) = a^T (2 x 4) b (4 x 3), column-major, one column of b's padding between the two of a batch.
  cublasLtMatmulDesc_t op = nullptr;
  cublasLtMatmulDescCreate(&op, CUBLAS_COMPUTE_64F, CUDA_R_64F);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
  std::array<cublasLtMatrixLayout_t, 3> layouts{};
  const std::array<std::array<int64_t, 4>, 3> shapes = {{{4, 2, 5, 10}, {4, 3, 4, 16}, {2, 3, 2, 6}}};
  for (size_t m = 0; m < 3; ++m) {
    const int32_t batch = 2;
    cublasLtMatrixLayoutCreate(&layouts[m], CUDA_R_64F, static_cast<uint64_t>(shapes[m][0]),
                               static_cast<uint64_t>(shapes[m][1]), shapes[m][2]);
    cublasLtMatrixLayoutSetAttribute(layouts[m], CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch);
    cublasLtMatrixLayoutSetAttribute(layouts[m], CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &shapes[m][3],
                                     sizeof shapes[m][3]);
  }
  Memory<double> a(20), b(32), d(12), small(11);
  for (int i = 0; i < 20; ++i) a.data[i] = i * i % 7 - 3;
  for (int i = 0; i < 32; ++i) b.data[i] = i * i % 5 - 2;
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtMatmulPreferenceCreate(&preference);
  const auto plan = [&](uint32_t alignment, cublasLtMatrixLayout_t c) {
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &alignment,
                                         sizeof alignment);
    std::array<cublasLtMatmulHeuristicResult_t, 3> found{};
    int n = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(nullptr, op, layouts[0], layouts[1], c, c, preference, 3, found.data(), &n);
    CHECK((n == 3) == (status == CUBLAS_STATUS_SUCCESS));
    return std::pair(status, found[2].algo);  // the two before it cannot be had
  };
  CHECK(plan(256, layouts[2]).first == CUBLAS_STATUS_INVALID_VALUE);  // no word on the order of partial sums
  const uint32_t in_order = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &in_order,
                                       sizeof in_order);
  const double one = 1, zero = 0;
  const auto product = [&](const double* left, double* to, const cublasLtMatmulAlgo_t& algo) {
    return cublasLtMatmul(nullptr, op, &one, left, layouts[0], b.data, layouts[1], &zero, to, layouts[2], to,
                          layouts[2], &algo, a.data, 0, nullptr);
  };
  const cublasLtMatmulAlgo_t algo = plan(256, layouts[2]).second;
  CHECK(product(a.data, d.data, algo) == CUBLAS_STATUS_SUCCESS);
  for (int n = 0; n < 2; ++n)
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 3; ++j) {
        double sum = 0;
        for (int k = 0; k < 4; ++k) sum += a.data[10 * n + 5 * i + k] * b.data[16 * n + 4 * j + k];
        CHECK(d.data[6 * n + 2 * j + i] == sum);
      }
  CHECK(product(a.data, small.data, algo) == CUBLAS_STATUS_INVALID_VALUE);  // beyond its memory
  CHECK(product(a.data + 1, d.data, algo) == CUBLAS_STATUS_NOT_SUPPORTED);  // less aligned than planned
  CHECK(product(a.data + 1, d.data, plan(8, layouts[2]).second) == CUBLAS_STATUS_SUCCESS);
  CHECK(plan(8, layouts[1]).first == CUBLAS_STATUS_INVALID_VALUE);  // 4 rows for a product of 2
  const int64_t other_stride = 8;
  cublasLtMatrixLayoutSetAttribute(layouts[1], CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &other_stride,
                                   sizeof other_stride);
  CHECK(product(a.data, d.data, algo) == CUBLAS_STATUS_NOT_SUPPORTED);  // another product's plan
  for (const cublasLtMatrixLayout_t m : layouts) cublasLtMatrixLayoutDestroy(m);
  cublasLtMatmulPreferenceDestroy(preference);
  cublasLtMatmulDescDestroy(op);
}
