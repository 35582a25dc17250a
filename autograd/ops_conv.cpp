// Convolution and pooling over (N, H, W, C). The gradients are kernels of their own (tensor/backend.h).
#include "autograd/ops.h"
#include "autograd/product_dtype.h"

namespace tacit {

Variable conv2d(const Variable& x, const Variable& w, const Conv2dOptions& options, Moments* moments) {
  const Window window = conv2d_geometry(x.shape(), w.shape(), options).first;
  const Tensor vw = product_factor(w.value());
  const DType from = x.dtype(), read = product_dtype(x.value());
  return record("conv2d", conv2d(x.value().to(read), vw, options, moments),
                {{x, [=, shape = x.shape()](const Tensor& dy) { return conv2d_dx(shape, dy, vw, window).to(from); }},
                 {w, [=, shape = w.shape(), x = keep(x)](const Tensor& dy) {
                    return conv2d_dw(shape, x().to(read), dy, window);
                  }}});
}

namespace {
Variable record_pool(const char* op, PoolOp kind, const Variable& x, const std::pair<Window, Shape>& geometry) {
  const Window window = geometry.first;
  const std::pair<Tensor, Tensor> y_and_index = pool(kind, x.value(), window, geometry.second);
  return record(op, y_and_index.first, {{x, [=, shape = x.shape(), index = y_and_index.second](const Tensor& dy) {
                                           return pool_grad(kind, shape, dy, index, window);
                                         }}});
}
}  // namespace

Variable max_pool2d(const Variable& x, const PoolOptions& options) {
  return record_pool("max_pool2d", PoolOp::Max, x, pool_geometry("max_pool2d", x.shape(), options));
}

Variable avg_pool2d(const Variable& x, const PoolOptions& options) {
  return record_pool("avg_pool2d", PoolOp::Average, x, pool_geometry("avg_pool2d", x.shape(), options));
}

Variable adaptive_avg_pool2d(const Variable& x, int64_t out_h, int64_t out_w) {
  return record_pool("adaptive_avg_pool2d", PoolOp::Average, x,
                     adaptive_pool_geometry("adaptive_avg_pool2d", x.shape(), out_h, out_w));
}

Variable global_avg_pool(const Variable& x) {
  TACIT_CHECK(x.rank() == 4, "[global_avg_pool] the input must be (N, H, W, C), got ", x.shape());
  return mean(x, {1, 2});
}

}  // namespace tacit
