// Convolution and pooling: the checks and shapes; the kernels are the backends'.
#include <algorithm>

#include "tensor/multiply_adds.h"
#include "tensor/ops.h"

namespace tacit {

namespace {

// 0 where the kernel is larger than the padded input.
int64_t output_size(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  const int64_t room = size + 2 * padding - dilation * (kernel - 1);
  return room < 1 ? 0 : (room - 1) / stride + 1;
}

// y's of a convolution of x by w.
Shape convolved(const Shape& x, const Shape& w, const Window& k) {
  return {x[0], output_size(x[1], w[1], k.stride_h, k.padding_h, k.dilation_h),
          output_size(x[2], w[2], k.stride_w, k.padding_w, k.dilation_w), w[0]};
}

// Of strides, paddings and dilations: sizes computed with it fit their type.
constexpr int64_t kLargest = int64_t{1} << 20;

void check_image_batch(const char* op, const Shape& x) {
  TACIT_CHECK(x.rank() == 4, "[", op, "] the input must be (N, H, W, C), got ", x);
}

}  // namespace

std::pair<Window, Shape> conv2d_geometry(const Shape& x, const Shape& w, const Conv2dOptions& o) {
  check_image_batch("conv2d", x);
  TACIT_CHECK(w.rank() == 4, "[conv2d] the weight must be (C_out, kernel_h, kernel_w, C_in / groups), got ", w);
  TACIT_CHECK(o.stride >= 1 && o.padding >= 0 && o.dilation >= 1 && o.groups >= 1 &&
                  std::max({o.stride, o.padding, o.dilation}) <= kLargest,
              "[conv2d] stride ", o.stride, ", padding ", o.padding, ", dilation ", o.dilation, ", groups ", o.groups,
              " are out of range");
  TACIT_CHECK(x[3] == w[3] * o.groups, "[conv2d] weight ", w, " with ", o.groups, " groups expects ", w[3] * o.groups,
              " channels, input has ", x[3], " (images are (N, H, W, C))");
  TACIT_CHECK(w[0] % o.groups == 0, "[conv2d] ", w[0], " output channels do not divide into ", o.groups, " groups");
  TACIT_CHECK(w[1] >= 1 && w[2] >= 1, "[conv2d] empty kernel ", w);
  Window window{.kernel_h = w[1],
                .kernel_w = w[2],
                .stride_h = o.stride,
                .stride_w = o.stride,
                .padding_h = o.padding,
                .padding_w = o.padding,
                .dilation_h = o.dilation,
                .dilation_w = o.dilation,
                .algorithm = o.algorithm};
  const Shape y = convolved(x, w, window);
  TACIT_CHECK(y[1] >= 1 && y[2] >= 1, "[conv2d] kernel ", w[1], " x ", w[2], " with dilation ", o.dilation,
              " is larger than the padded input ", x);
  return {window, y};
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

Tensor conv2d(const Tensor& x, const Tensor& w, const Conv2dOptions& options, Moments* of_y) {
  check_same_kind("conv2d", x, w);
  check_activations("conv2d", x);
  const auto [window, shape] = conv2d_geometry(x.shape(), w.shape(), options);
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  count_convolution(shape, w.shape());
  const Tensor dense_x = x.contiguous_copy_if_needed(), dense_w = w.contiguous_copy_if_needed();
  const bool computed = y.numel() > 0 && w.size(3) > 0;
  if (!computed) y.fill_(0);
  if (computed && of_y) {
    const DType statistics = wide_dtype(x.dtype());
    *of_y = {Tensor::empty({w.size(0)}, statistics, x.device()), Tensor::empty({w.size(0)}, statistics, x.device())};
    y.backend().conv2d_moments(y.view(), of_y->mean.view(), of_y->var.view(), dense_x.view(), dense_w.view(), window);
  } else if (computed) {
    y.backend().conv2d(y.view(), dense_x.view(), dense_w.view(), window);
  } else if (of_y && y.numel() > 0) {
    *of_y = moments(y);
  }
  return y;
}

namespace {
// That dy belongs to a convolution of x and w with that window.
void check_gradient(const char* op, const Shape& x, const Shape& w, const Tensor& dy, const Tensor& other,
                    const Window& k) {
  check_same_kind(op, dy, other);
  check_activations(op, dy);
  TACIT_CHECK(x.rank() == 4 && w.rank() == 4 && dy.rank() == 4, "[", op, "] x ", x, ", w ", w, " and dy ", dy.shape(),
              " must have four dimensions");
  TACIT_CHECK(std::min({k.stride_h, k.stride_w, k.dilation_h, k.dilation_w}) >= 1 &&
                  std::min(k.padding_h, k.padding_w) >= 0 &&
                  std::max({k.stride_h, k.stride_w, k.dilation_h, k.dilation_w, k.padding_h, k.padding_w}) <= kLargest,
              "[", op, "] the window's strides, paddings or dilations are out of range");
  const bool groups = w[3] > 0 ? x[3] % w[3] == 0 && x[3] > 0 && w[0] % (x[3] / w[3]) == 0 : x[3] == 0;
  const Shape y = convolved(x, w, k);
  TACIT_CHECK(groups && k.kernel_h == w[1] && k.kernel_w == w[2] && dy.shape() == y, "[", op, "] x ", x, " and w ", w,
              " make y ", y, " with this window, of a kernel ", k.kernel_h, " x ", k.kernel_w, "; dy is ", dy.shape());
}
}  // namespace

Tensor conv2d_dx(const Shape& x, const Tensor& dy, const Tensor& w, const Window& window) {
  check_gradient("conv2d_dx", x, w.shape(), dy, w, window);
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
  check_gradient("conv2d_dw", x.shape(), w, dy, x, window);
  Tensor dw = Tensor::empty(w, wide_dtype(dy.dtype()), dy.device());
  count_convolution(dy.shape(), w);
  const Tensor dense_x = x.contiguous_copy_if_needed(), dense_dy = dy.contiguous_copy_if_needed();
  if (dy.numel() == 0)
    dw.fill_(0);
  else if (dw.numel() > 0)
    dw.backend().conv2d_dw(dw.view(), dense_x.view(), dense_dy.view(), window);
  return dw;
}

std::pair<Tensor, Tensor> pool(PoolOp op, const Tensor& x, const Window& window, const Shape& shape) {
  check_activations("pool", x);
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
