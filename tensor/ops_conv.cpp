// Convolution and pooling: the checks and shapes; the kernels are the backends'.
#include "tensor/ops.h"

#include "tensor/multiply_adds.h"

namespace tacit {

namespace {

int64_t output_size(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
}

void check_image_batch(const char* op, const Shape& x) {
  TACIT_CHECK(x.rank() == 4, "[", op, "] the input must be (N, H, W, C), got ", x);
}

}  // namespace

std::pair<Window, Shape> conv2d_geometry(const Shape& x, const Shape& w, const Conv2dOptions& o) {
  check_image_batch("conv2d", x);
  TACIT_CHECK(w.rank() == 4, "[conv2d] the weight must be (C_out, kernel_h, kernel_w, C_in / groups), got ", w);
  TACIT_CHECK(o.stride >= 1 && o.padding >= 0 && o.dilation >= 1 && o.groups >= 1, "[conv2d] stride ", o.stride,
              ", padding ", o.padding, ", dilation ", o.dilation, ", groups ", o.groups, " are out of range");
  TACIT_CHECK(x[3] == w[3] * o.groups, "[conv2d] weight ", w, " with ", o.groups, " groups expects ", w[3] * o.groups,
              " channels, input has ", x[3], " (images are (N, H, W, C))");
  TACIT_CHECK(w[0] % o.groups == 0, "[conv2d] ", w[0], " output channels do not divide into ", o.groups, " groups");
  TACIT_CHECK(w[1] >= 1 && w[2] >= 1, "[conv2d] empty kernel ", w);
  const int64_t h = x[1] + 2 * o.padding - o.dilation * (w[1] - 1), v = x[2] + 2 * o.padding - o.dilation * (w[2] - 1);
  TACIT_CHECK(h >= 1 && v >= 1, "[conv2d] kernel ", w[1], " x ", w[2], " with dilation ", o.dilation,
              " is larger than the padded input ", x);
  Window window{.kernel_h = w[1],
                .kernel_w = w[2],
                .stride_h = o.stride,
                .stride_w = o.stride,
                .padding_h = o.padding,
                .padding_w = o.padding,
                .dilation_h = o.dilation,
                .dilation_w = o.dilation,
                .algorithm = o.algorithm};
  return {window, Shape{x[0], output_size(x[1], w[1], o.stride, o.padding, o.dilation),
                        output_size(x[2], w[2], o.stride, o.padding, o.dilation), w[0]}};
}

std::pair<Window, Shape> pool_geometry(const char* op, const Shape& x, const PoolOptions& o) {
  check_image_batch(op, x);
  TACIT_CHECK(o.kernel >= 1 && o.stride >= 1 && o.padding >= 0 && 2 * o.padding <= o.kernel, "[", op, "] kernel ",
              o.kernel, ", stride ", o.stride, ", padding ", o.padding, ": padding is at most half the kernel");
  TACIT_CHECK(x[1] + 2 * o.padding >= o.kernel && x[2] + 2 * o.padding >= o.kernel, "[", op, "] kernel ", o.kernel,
              " is larger than the padded input ", x);
  Window window{.kernel_h = o.kernel,
                .kernel_w = o.kernel,
                .stride_h = o.stride,
                .stride_w = o.stride,
                .padding_h = o.padding,
                .padding_w = o.padding};
  return {window, Shape{x[0], output_size(x[1], o.kernel, o.stride, o.padding, 1),
                        output_size(x[2], o.kernel, o.stride, o.padding, 1), x[3]}};
}

std::pair<Window, Shape> adaptive_pool_geometry(const char* op, const Shape& x, int64_t out_h, int64_t out_w) {
  check_image_batch(op, x);
  TACIT_CHECK(out_h >= 1 && out_w >= 1 && x[1] >= 1 && x[2] >= 1, "[", op, "] ", out_h, " x ", out_w, " windows over ",
              x);
  return {Window{.adaptive = true}, Shape{x[0], out_h, out_w, x[3]}};
}

// Each of y's numbers is a sum over a window of its group's channels; both gradients have the same products.
static void count_convolution(const Shape& y, const Shape& w) { MultiplyAdds::add(y.numel(), w[1] * w[2] * w[3]); }

Tensor conv2d(const Tensor& x, const Tensor& w, const Conv2dOptions& options) {
  check_same_kind("conv2d", x, w);
  const auto [window, shape] = conv2d_geometry(x.shape(), w.shape(), options);
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  count_convolution(shape, w.shape());
  const Tensor dense_x = x.contiguous_copy_if_needed(), dense_w = w.contiguous_copy_if_needed();
  if (w.size(3) == 0)
    y.fill_(0);
  else if (y.numel() > 0)
    y.backend().conv2d(y.view(), dense_x.view(), dense_w.view(), window);
  return y;
}

Tensor conv2d_dx(const Shape& x, const Tensor& dy, const Tensor& w, const Window& window) {
  Tensor dx = Tensor::empty(x, dy.dtype(), dy.device());
  count_convolution(dy.shape(), w.shape());
  const Tensor dense_dy = dy.contiguous_copy_if_needed(), dense_w = w.contiguous_copy_if_needed();
  if (dy.numel() == 0)
    dx.fill_(0);
  else if (dx.numel() > 0)
    dx.backend().conv2d_dx(dx.view(), dense_dy.view(), dense_w.view(), window);
  return dx;
}

Tensor conv2d_dw(const Shape& w, const Tensor& x, const Tensor& dy, const Window& window) {
  Tensor dw = Tensor::empty(w, dy.dtype(), dy.device());
  count_convolution(dy.shape(), w);
  const Tensor dense_x = x.contiguous_copy_if_needed(), dense_dy = dy.contiguous_copy_if_needed();
  if (dy.numel() == 0)
    dw.fill_(0);
  else if (dw.numel() > 0)
    dw.backend().conv2d_dw(dw.view(), dense_x.view(), dense_dy.view(), window);
  return dw;
}

std::pair<Tensor, Tensor> pool(PoolOp op, const Tensor& x, const Window& window, const Shape& shape) {
  TACIT_CHECK(x.dtype() == f32 || x.dtype() == f64, "[pool] needs f32 or f64, got ", name_of(x.dtype()));
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  Tensor index = op == PoolOp::Max ? Tensor::empty(shape, i64, x.device()) : Tensor();
  const Tensor dense = x.contiguous_copy_if_needed();
  if (y.numel() > 0) x.backend().pool(op, y.view(), index.view(), dense.view(), window);
  return {y, index};
}

Tensor pool_grad(PoolOp op, const Shape& x, const Tensor& dy, const Tensor& index, const Window& window) {
  Tensor dx = Tensor::empty(x, dy.dtype(), dy.device());
  const Tensor dense = dy.contiguous_copy_if_needed();
  if (dy.numel() == 0)
    dx.fill_(0);
  else if (dx.numel() > 0)
    dx.backend().pool_grad(op, dx.view(), dense.view(), index.view(), window);
  return dx;
}

Tensor max_pool2d(const Tensor& x, const PoolOptions& options) {
  const auto [window, shape] = pool_geometry("max_pool2d", x.shape(), options);
  return pool(PoolOp::Max, x, window, shape).first;
}
Tensor avg_pool2d(const Tensor& x, const PoolOptions& options) {
  const auto [window, shape] = pool_geometry("avg_pool2d", x.shape(), options);
  return pool(PoolOp::Average, x, window, shape).first;
}
Tensor adaptive_avg_pool2d(const Tensor& x, int64_t out_h, int64_t out_w) {
  const auto [window, shape] = adaptive_pool_geometry("adaptive_avg_pool2d", x.shape(), out_h, out_w);
  return pool(PoolOp::Average, x, window, shape).first;
}

}  // namespace tacit
