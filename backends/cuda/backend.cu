// The CUDA backend's device, stream and memory. The kernels are in the files named after their families.
#include "backends/cuda/backend.h"

#include <exception>
#include <utility>

#include "backends/cuda/launch.h"
#include "backends/cuda/state.h"

namespace tacit::cuda {

namespace {
__global__ void probe_kernel() {}
}  // namespace

CudaBackend::State::~State() {
  if (stream == nullptr) return;
  cudaSetDevice(index);
  cudaStreamSynchronize(stream);
#ifdef TACIT_WITH_CUDNN
  cudnn.reset();
#endif
  cudaFree(workspace);
  cudaFree(fault);
  if (blas != nullptr) cublasLtDestroy(blas);
  cudaStreamDestroy(stream);
}

CudaBackend::CudaBackend(int index) : state_(std::make_unique<State>()) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  TACIT_CHECK(status == cudaSuccess && count > 0,
              "[cuda] no usable GPU: ", status == cudaSuccess ? "none found" : cudaGetErrorString(status),
              "; use --device cpu");
  if (index >= count)
    throw NoSuchDevice("[cuda] there is no GPU number " + std::to_string(index) + ": this machine has " +
                       std::to_string(count));
  state_->index = index;
  check(cudaSetDevice(index), "device");
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, probe_kernel) != cudaSuccess) {
    cudaGetLastError();
    cudaDeviceProp card{};
    check(cudaGetDeviceProperties(&card, index), "device");
    detail::fail("[cuda] no usable GPU: this build has no code for ", card.name, " (sm_", card.major, card.minor,
                 "); add it to CMAKE_CUDA_ARCHITECTURES, or use --device cpu");
  }
  check(cudaStreamCreateWithFlags(&state_->stream, cudaStreamNonBlocking), "stream");
  // Scratch memory stays with the process once it was taken: a step asks for what the step before asked for.
  cudaMemPool_t pool = nullptr;
  check(cudaDeviceGetDefaultMemPool(&pool, index), "memory pool");
  uint64_t keep = UINT64_MAX;
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep), "memory pool");
  TACIT_CHECK(cublasLtCreate(&state_->blas) == CUBLAS_STATUS_SUCCESS, "[cuda] cuBLASLt does not start");
  check(cudaMalloc(&state_->workspace, State::kWorkspaceBytes), "workspace");
  void* fault = nullptr;
  check(cudaMalloc(&fault, sizeof(Fault)), "workspace");
  state_->fault = static_cast<Fault*>(fault);
  check(cudaMemsetAsync(fault, 0, sizeof(Fault), state_->stream), "workspace");
#ifdef TACIT_WITH_CUDNN
  state_->cudnn = std::make_unique<Cudnn>(index, state_->stream);
#endif
}

CudaBackend::~CudaBackend() = default;

cudaStream_t CudaBackend::stream() const {
  const std::thread::id capturer = state_->capturer;
  TACIT_CHECK(capturer == std::thread::id() || capturer == std::this_thread::get_id(),
              "[cuda] another thread captures a step as a graph, of which this would become a part");
  check(cudaSetDevice(state_->index), "device");
  return state_->stream;
}

void* CudaBackend::allocate(size_t bytes) {
  not_captured("take memory from the device");
  check(cudaSetDevice(state_->index), "device");
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, std::max<size_t>(bytes, 1));
  if (status != cudaSuccess) {
    cudaGetLastError();  // out of memory is not sticky, but stays readable
    size_t available = 0, total = 0;
    cudaMemGetInfo(&available, &total);
    detail::fail("[cuda] no memory for ", bytes, " bytes: ", available, " of ", total, " are free (",
                 cudaGetErrorString(status), ")");
  }
  return data;
}

void CudaBackend::deallocate(void* data, size_t) noexcept {
  cudaSetDevice(state_->index);
  cudaFree(data);
}

int64_t CudaBackend::available_memory() const {
  check(cudaSetDevice(state_->index), "device");
  size_t available = 0, total = 0;
  check(cudaMemGetInfo(&available, &total), "memory");
  return static_cast<int64_t>(available);
}

void CudaBackend::upload(void* dst, const void* host, size_t bytes) {
  if (bytes == 0) return;
  state_->uploads.copy(dst, host, bytes, stream(), [this](cudaEvent_t event) {
    if (cudaEventQuery(event) == cudaSuccess) return;
    cudaGetLastError();  // "not ready" stays readable
    wait_for(event);
  });
}

void CudaBackend::download(void* host, const void* src, size_t bytes) {
  if (bytes == 0) return;
  not_captured("read from the device");
  check(cudaMemcpyAsync(host, src, bytes, cudaMemcpyDeviceToHost, stream()), "download");
  wait("download");
}

void CudaBackend::synchronize() { wait("synchronize"); }

std::unique_ptr<Download> CudaBackend::start_download(std::span<const View> views) {
  not_captured("read from the device");
  return state_->downloads.start(
      views, state_->fault, stream(), [this](cudaEvent_t event) { wait_for(event); },
      [this](const Fault& fault) { report(fault); });
}

void CudaBackend::wait_for(cudaEvent_t event) {
  not_captured("wait for the device");
  count_wait();
  check(cudaEventSynchronize(event), "event");
}

void CudaBackend::not_captured(const char* what) const {
  TACIT_CHECK(state_->capturer.load() != std::this_thread::get_id(),
              "[cuda] a step that is captured as a graph cannot ", what);
}

namespace {

class CapturedGraph final : public Graph {
 public:
  CapturedGraph(cudaGraphExec_t exec, std::unique_ptr<Constants> constants, cudaStream_t stream,
                std::function<void()> launched)
      : exec_(exec), constants_(std::move(constants)), stream_(stream), launched_(std::move(launched)) {}
  ~CapturedGraph() override {
    cudaStreamSynchronize(stream_);
    cudaGraphExecDestroy(exec_);
  }
  void launch() override {
    launched_();
    check(cudaGraphLaunch(exec_, stream_), "graph");
  }

 private:
  cudaGraphExec_t exec_;
  std::unique_ptr<Constants> constants_;  // what the graph uploads
  cudaStream_t stream_;
  std::function<void()> launched_;
};

}  // namespace

std::unique_ptr<Graph> CudaBackend::capture(const std::function<void()>& work) {
  not_captured("be captured again");
  const cudaStream_t on = stream();
  auto constants = std::make_unique<Constants>();
  check(cudaStreamBeginCapture(on, cudaStreamCaptureModeThreadLocal), "capture");
  state_->capturer = std::this_thread::get_id();
  state_->uploads.capture(constants.get());
  std::exception_ptr fault;
  try {
    work();
  } catch (...) {
    fault = std::current_exception();
  }
  state_->uploads.capture(nullptr);
  state_->capturer = std::thread::id();
  cudaGraph_t graph = nullptr;
  const cudaError_t status = cudaStreamEndCapture(on, &graph);
  if (fault != nullptr) {
    cudaGetLastError();
    if (graph != nullptr) cudaGraphDestroy(graph);
    std::rethrow_exception(fault);
  }
  check(status, "capture");
  cudaGraphExec_t exec = nullptr;
  const cudaError_t made = cudaGraphInstantiate(&exec, graph, 0);
  cudaGraphDestroy(graph);
  check(made, "graph");
  return std::make_unique<CapturedGraph>(exec, std::move(constants), on, [this] {
    check(cudaSetDevice(state_->index), "device");
    state_->unchecked = true;  // it may hold kernels that check indices
  });
}

void CudaBackend::wait(const char* what) {
  not_captured("wait for the device");
  const cudaStream_t on = stream();
  const bool look = state_->unchecked.exchange(false);
  Fault fault{};
  if (look) check(cudaMemcpyAsync(&fault, state_->fault, sizeof fault, cudaMemcpyDeviceToHost, on), what);
  count_wait();
  check(cudaStreamSynchronize(on), what);
  if (look) report(fault);
}

IndexCheck CudaBackend::index_check(Indexed op, int64_t size) {
  state_->unchecked = true;
  return {state_->fault, op, size};
}

void CudaBackend::report(const Fault& fault) {
  if (fault.op == 0) return;
  check(cudaMemsetAsync(state_->fault, 0, sizeof fault, stream()), "index check");
  throw Error(out_of_range(static_cast<Indexed>(fault.op - 1), fault.index, fault.size));
}

}  // namespace tacit::cuda
