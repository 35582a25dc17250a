// One choice of algorithm for each product and shape, and cuDNN's descriptors for the length of a call.
#include "backends/cuda/cudnn.h"

#include <cudnn.h>

#include <array>
#include <map>
#include <mutex>

#include "backends/cuda/conv_operands.h"
#include "backends/cuda/launch.h"
#include "tensor/precision.h"

namespace tacit::cuda {

namespace {

void check_cudnn(cudnnStatus_t status, const char* what) {
  TACIT_CHECK(status == CUDNN_STATUS_SUCCESS, "[conv2d] cuDNN ", what, ": ", cudnnGetErrorString(status));
}

int to_int(int64_t value) { return ConvSizes::to_int(value); }

/// How a convolution is computed: the type of its tensors and what may become of their numbers. (CUDNN_DEFAULT_MATH
/// alone would let tensor cores round them to tf32 always.)
struct Arithmetic {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  cudnnMathType_t math = CUDNN_FMA_MATH;
};

Arithmetic arithmetic_of(DType tensors) {
  if (tensors == bf16) return {CUDNN_DATA_BFLOAT16, CUDNN_TENSOR_OP_MATH};
  return {CUDNN_DATA_FLOAT, precision() == Precision::F32 ? CUDNN_FMA_MATH : CUDNN_DEFAULT_MATH};
}

struct Widen {
  float* to;
  const BFloat16* from;
  TACIT_HD void operator()(int64_t i) const { to[i] = convert<float>(from[i]); }
};

/// cuDNN's words for the three tensors and the window of a convolution, for the length of a call.
struct Descriptors {
  Descriptors(const Arithmetic& arithmetic, const Shape& xs, const Shape& ws, const Shape& ys, const Window& window) {
    check_cudnn(cudnnCreateTensorDescriptor(&x), "descriptor");
    check_cudnn(cudnnCreateTensorDescriptor(&y), "descriptor");
    check_cudnn(cudnnCreateFilterDescriptor(&w), "descriptor");
    check_cudnn(cudnnCreateConvolutionDescriptor(&convolution), "descriptor");
    constexpr cudnnTensorFormat_t kFormat = CUDNN_TENSOR_NHWC;
    const cudnnDataType_t type = arithmetic.type;
    check_cudnn(
        cudnnSetTensor4dDescriptor(x, kFormat, type, to_int(xs[0]), to_int(xs[3]), to_int(xs[1]), to_int(xs[2])), "x");
    check_cudnn(
        cudnnSetTensor4dDescriptor(y, kFormat, type, to_int(ys[0]), to_int(ys[3]), to_int(ys[1]), to_int(ys[2])), "y");
    check_cudnn(
        cudnnSetFilter4dDescriptor(w, type, kFormat, to_int(ws[0]), to_int(ws[3]), to_int(ws[1]), to_int(ws[2])), "w");
    check_cudnn(
        cudnnSetConvolution2dDescriptor(convolution, to_int(window.padding_h), to_int(window.padding_w),
                                        to_int(window.stride_h), to_int(window.stride_w), to_int(window.dilation_h),
                                        to_int(window.dilation_w), CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
        "window");
    check_cudnn(cudnnSetConvolutionGroupCount(convolution, to_int(xs[3] / ws[3])), "groups");
    check_cudnn(cudnnSetConvolutionMathType(convolution, arithmetic.math), "math type");
  }
  ~Descriptors() {
    cudnnDestroyConvolutionDescriptor(convolution);
    cudnnDestroyFilterDescriptor(w);
    cudnnDestroyTensorDescriptor(y);
    cudnnDestroyTensorDescriptor(x);
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t w = nullptr;
  cudnnConvolutionDescriptor_t convolution = nullptr;
};

/// Which of the three products, and everything that it depends on.
using Key = std::array<int64_t, 18>;

Key key_of(int64_t product, const Arithmetic& arithmetic, const Shape& x, const Shape& w, const Shape& y,
           const Window& window) {
  return {product,
          arithmetic.math,
          x[0],
          x[1],
          x[2],
          x[3],
          w[0],
          w[1],
          w[2],
          w[3],
          y[1],
          y[2],
          window.stride_h,
          window.stride_w,
          window.padding_h,
          window.padding_w,
          window.dilation_h,
          window.dilation_w};
}

/// An algorithm as cuDNN numbers it; negative: there is none.
struct Choice {
  int algorithm = -1;
  size_t workspace = 0;
};

/// The first of the list of `get`, one of cudnnGetConvolution…Algorithm_v7, best first, that works, repeats its bits
/// and needs no more than 1 GiB beside.
template <class Performance, class Get, class... Descriptors>
Choice choose(Get get, const Arithmetic& arithmetic, cudnnHandle_t handle, Descriptors... descriptors) {
  constexpr size_t kMostWorkspace = size_t{1} << 30;
  constexpr int kAlgorithms = 16;
  Performance list[kAlgorithms];
  int count = 0;
  if (get(handle, descriptors..., kAlgorithms, &count, list) != CUDNN_STATUS_SUCCESS) return {};
  for (int i = 0; i < count; ++i)
    if (list[i].status == CUDNN_STATUS_SUCCESS && list[i].determinism == CUDNN_DETERMINISTIC &&
        list[i].memory <= kMostWorkspace && (list[i].mathType == CUDNN_FMA_MATH || list[i].mathType == arithmetic.math))
      return {static_cast<int>(list[i].algo), list[i].memory};
  return {};
}

}  // namespace

struct Cudnn::State {
  int device = 0;
  cudaStream_t stream = nullptr;
  cudnnHandle_t handle = nullptr;
  std::mutex mutex;
  std::map<Key, Choice> choices;

  /// find() gives the choice for a new key; run(algorithm, workspace, bytes) does the work and gives cuDNN's status.
  template <class Find, class Run>
  bool convolve(const Key& key, Find&& find, Run&& run) {
    check(cudaSetDevice(device), "device");
    const std::lock_guard lock(mutex);
    auto found = choices.find(key);
    if (found == choices.end()) found = choices.emplace(key, find()).first;
    Choice& choice = found->second;
    if (choice.algorithm < 0) return false;
    Scratch scratch(stream);
    const cudnnStatus_t status =
        run(choice.algorithm, scratch.take<char>(static_cast<int64_t>(choice.workspace)), choice.workspace);
    if (status == CUDNN_STATUS_NOT_SUPPORTED) choice.algorithm = -1;  // the heuristic may promise too much
    if (choice.algorithm < 0) return false;
    check_cudnn(status, "convolution");
    return true;
  }
};

Cudnn::Cudnn(int device, cudaStream_t stream) : state_(std::make_unique<State>()) {
  state_->device = device;
  state_->stream = stream;
  check_cudnn(cudnnCreate(&state_->handle), "start");
  check_cudnn(cudnnSetStream(state_->handle, stream), "stream");
}
Cudnn::~Cudnn() { cudnnDestroy(state_->handle); }

bool Cudnn::conv2d(const View& y, const View& x, const View& w, const Window& window) {
  if (y.dtype == f64 || y.numel() == 0 || x.numel() == 0) return false;
  const Arithmetic how = arithmetic_of(y.dtype);
  const Descriptors d(how, x.shape, w.shape, y.shape, window);
  return state_->convolve(
      key_of(0, how, x.shape, w.shape, y.shape, window),
      [&] {
        return choose<cudnnConvolutionFwdAlgoPerf_t>(cudnnGetConvolutionForwardAlgorithm_v7, how, state_->handle, d.x,
                                                     d.w, d.convolution, d.y);
      },
      [&](int algorithm, void* workspace, size_t bytes) {
        const float one = 1, zero = 0;
        return cudnnConvolutionForward(state_->handle, &one, d.x, x.data, d.w, w.data, d.convolution,
                                       static_cast<cudnnConvolutionFwdAlgo_t>(algorithm), workspace, bytes, &zero, d.y,
                                       y.data);
      });
}

bool Cudnn::conv2d_dx(const View& dx, const View& dy, const View& w, const Window& window) {
  if (dx.dtype == f64 || dx.numel() == 0 || dy.numel() == 0) return false;
  const Arithmetic how = arithmetic_of(dx.dtype);
  const Descriptors d(how, dx.shape, w.shape, dy.shape, window);
  return state_->convolve(
      key_of(1, how, dx.shape, w.shape, dy.shape, window),
      [&] {
        return choose<cudnnConvolutionBwdDataAlgoPerf_t>(cudnnGetConvolutionBackwardDataAlgorithm_v7, how,
                                                         state_->handle, d.w, d.y, d.convolution, d.x);
      },
      [&](int algorithm, void* workspace, size_t bytes) {
        const float one = 1, zero = 0;
        return cudnnConvolutionBackwardData(state_->handle, &one, d.w, w.data, d.y, dy.data, d.convolution,
                                            static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm), workspace, bytes,
                                            &zero, d.x, dx.data);
      });
}

// Of bf16 factors cuDNN gives bf16 sums only: rounded once, as PyTorch's autocast has them, and widened. (f32 copies of
// x and dy for a product in tf32 would move more bytes than all the rest of the layer's gradients.)
bool Cudnn::conv2d_dw(const View& dw, const View& x, const View& dy, const Window& window) {
  if (dw.dtype == f64 || dw.numel() == 0 || dy.numel() == 0 || x.numel() == 0) return false;
  const Arithmetic how = arithmetic_of(x.dtype);
  const Descriptors d(how, x.shape, dw.shape, dy.shape, window);
  Scratch scratch(state_->stream);
  BFloat16* const narrow = x.dtype == bf16 ? scratch.take<BFloat16>(dw.numel()) : nullptr;
  const bool done = state_->convolve(
      key_of(2, how, x.shape, dw.shape, dy.shape, window),
      [&] {
        return choose<cudnnConvolutionBwdFilterAlgoPerf_t>(cudnnGetConvolutionBackwardFilterAlgorithm_v7, how,
                                                           state_->handle, d.x, d.y, d.convolution, d.w);
      },
      [&](int algorithm, void* workspace, size_t bytes) {
        const float one = 1, zero = 0;
        return cudnnConvolutionBackwardFilter(state_->handle, &one, d.x, x.data, d.y, dy.data, d.convolution,
                                              static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm), workspace, bytes,
                                              &zero, d.w, narrow != nullptr ? narrow : dw.data);
      });
  if (done && narrow != nullptr) for_each_index(state_->stream, dw.numel(), Widen{dw.ptr<float>(), narrow});
  return done;
}

}  // namespace tacit::cuda
