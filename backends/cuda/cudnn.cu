// One plan for each product, shape and alignment.
#include "backends/cuda/cudnn.h"

#include <array>
#include <map>
#include <mutex>

#include "backends/cuda/cudnn_plan.h"
#include "backends/cuda/map.h"
#include "tensor/precision.h"

namespace tacit::cuda {

namespace {

struct Widen {
  TACIT_HD float operator()(BFloat16 value) const { return convert<float>(value); }
};

using Key = std::array<int64_t, 20>;

Key key_of(const Convolution& c) {
  const Window& v = c.window;
  return {static_cast<int64_t>(c.product),
          static_cast<int64_t>(c.dtype),
          c.tensor_cores,
          c.alignment,
          c.x[0],
          c.x[1],
          c.x[2],
          c.x[3],
          c.w[0],
          c.w[1],
          c.w[2],
          c.w[3],
          c.y[1],
          c.y[2],
          v.stride_h,
          v.stride_w,
          v.padding_h,
          v.padding_w,
          v.dilation_h,
          v.dilation_w};
}

}  // namespace

struct Cudnn::State {
  int device = 0;
  cudaStream_t stream = nullptr;
  cudnnHandle_t handle = nullptr;
  std::mutex mutex;
  std::map<Key, std::optional<ConvolutionPlan>> plans;  ///< nothing: there is none

  /// False: cuDNN has no such product.
  bool run(Convolution::Product product, const View& x, const View& w, const View& y, const Window& window) {
    if (x.dtype == f64 || x.numel() == 0 || w.numel() == 0 || y.numel() == 0) return false;
    constexpr uintptr_t kMostAlignment = 16;  // that an engine asks for
    uintptr_t addresses = 0;
    for (const View* const v : {&x, &w, &y}) addresses |= reinterpret_cast<uintptr_t>(v->data);
    const Convolution convolution{.product = product,
                                  .dtype = x.dtype,
                                  .tensor_cores = x.dtype == bf16 || precision() != Precision::F32,
                                  .alignment = common_alignment(addresses, kMostAlignment),
                                  .x = x.shape,
                                  .w = w.shape,
                                  .y = y.shape,
                                  .window = window};
    check(cudaSetDevice(device), "device");
    const std::lock_guard lock(mutex);
    const Key key = key_of(convolution);
    auto found = plans.find(key);
    if (found == plans.end()) found = plans.emplace(key, ConvolutionPlan::find(convolution, {.handle = handle})).first;
    std::optional<ConvolutionPlan>& plan = found->second;
    for (; plan; plan = ConvolutionPlan::find(convolution, {.handle = handle}, plan->place() + 1)) {
      Scratch scratch(stream);
      const int64_t bytes = plan->workspace_bytes();
      if (plan->run(handle, x.data, w.data, y.data, bytes > 0 ? scratch.take<char>(bytes) : nullptr)) return true;
    }
    return false;
  }
};

Cudnn::Cudnn(int device, cudaStream_t stream) : state_(std::make_unique<State>()) {
  state_->device = device;
  state_->stream = stream;
  check_cudnn(cudnnCreate(&state_->handle), "start");
  check_cudnn(cudnnSetStream(state_->handle, stream), "stream");
}
Cudnn::~Cudnn() {
  state_->plans.clear();
  cudnnDestroy(state_->handle);
}

bool Cudnn::conv2d(const View& y, const View& x, const View& w, const Window& window) {
  return state_->run(Convolution::Product::Y, x, w, y, window);
}

bool Cudnn::conv2d_dx(const View& dx, const View& dy, const View& w, const Window& window) {
  return state_->run(Convolution::Product::Dx, dx, w, dy, window);
}

// Of bf16 factors cuDNN gives bf16 sums only: rounded once, as PyTorch's autocast has them, and widened. (f32 copies of
// x and dy for a product in tf32 would move more bytes than all the rest of the layer's gradients.)
bool Cudnn::conv2d_dw(const View& dw, const View& x, const View& dy, const Window& window) {
  View target = dw;
  Scratch scratch(state_->stream);
  if (x.dtype == bf16) target.dtype = bf16, target.data = scratch.take<BFloat16>(dw.numel());
  if (!state_->run(Convolution::Product::Dw, x, target, dy, window)) return false;
  if (x.dtype == bf16) map(state_->stream, dw.shape, Widen(), operand<float>(dw), operand<BFloat16>(target));
  return true;
}

}  // namespace tacit::cuda
