// Plain ops on Tensors: they compute and record nothing. autograd/ops.h has the same names on Variables.
// Checks of shapes, dtypes and devices live here, once. Mixed dtypes or devices are errors; shapes broadcast.
// Ops of activations take bf16 where the device computes with it: results are bf16, sums f32 or better, scalars f32;
// statistics and the gradients of weights are f32. Losses and metrics read widen(x).
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "tensor/augment_args.h"
#include "tensor/tensor.h"

namespace tacit {

/// Throws Error naming the op unless both are defined, of one dtype and on one device. For the ops built on these too.
void check_same_kind(const char* op, const Tensor& a, const Tensor& b);
/// The same unless x is f32 or f64.
void check_floating(const char* op, const Tensor& x);
/// The same unless x is f32, f64 or, where the device computes with it (Backend::computes_bf16), bf16.
void check_activations(const char* op, const Tensor& x);
/// The same unless a result may be of that dtype where operands are of `dtype`: the same, or f32 of bf16.
void check_result_dtype(const char* op, DType dtype, DType result);

#define TACIT_DECLARE(Functor, name, low, high) Tensor name(const Tensor& x);
TACIT_FOREACH_UNARY(TACIT_DECLARE)
#undef TACIT_DECLARE
Tensor unary(UnaryOp, const Tensor& x);
/// dx = dy * f'(x, y) for any function of the table, written to dx if it is given; that may be dy.
Tensor unary_grad(UnaryOp, const Tensor& dy, const Tensor& x, const Tensor& y, Tensor dx = {});

#define TACIT_DECLARE(Functor, name, compares) Tensor name(const Tensor& a, const Tensor& b);
TACIT_FOREACH_BINARY(TACIT_DECLARE)
#undef TACIT_DECLARE
Tensor binary(BinaryOp, const Tensor& a, const Tensor& b);

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator-(const Tensor& x) { return neg(x); }
Tensor operator+(const Tensor& a, double b);
Tensor operator-(const Tensor& a, double b);
Tensor operator*(const Tensor& a, double b);
Tensor operator/(const Tensor& a, double b);
inline Tensor operator+(double a, const Tensor& b) { return b + a; }
Tensor operator-(double a, const Tensor& b);
inline Tensor operator*(double a, const Tensor& b) { return b * a; }
Tensor operator/(double a, const Tensor& b);

/// bf16 as f32; any other tensor is itself.
inline Tensor widen(const Tensor& x) { return x.to(wide_dtype(x.dtype())); }
/// x + b, with b broadcast to x and of its dtype, or f32 beside a bf16 x.
Tensor add_bias(const Tensor& x, const Tensor& b);

/// cond (u8) != 0 ? a : b, all three broadcast.
Tensor where(const Tensor& cond, const Tensor& a, const Tensor& b);

// ---- reductions. No dims: over everything, to a scalar. keepdim leaves a dimension of size 1.
Tensor reduce(ReduceOp, const Tensor& x, std::span<const int> dims, bool keepdim);
/// The same in another dtype than x's: f32 of bf16.
Tensor reduce(ReduceOp, const Tensor& x, std::span<const int> dims, bool keepdim, DType);
/// The shape with each named dimension set to 1; none named means all.
Shape reduced_shape(const Shape&, std::span<const int> dims);
Tensor sum(const Tensor& x, std::initializer_list<int> dims = {}, bool keepdim = false);
Tensor mean(const Tensor& x, std::initializer_list<int> dims = {}, bool keepdim = false);
Tensor amax(const Tensor& x, std::initializer_list<int> dims = {}, bool keepdim = false);
Tensor amin(const Tensor& x, std::initializer_list<int> dims = {}, bool keepdim = false);
/// Biased variance (divides by n); f32 of bf16.
Tensor var(const Tensor& x, std::initializer_list<int> dims = {}, bool keepdim = false);
/// Sums over the dimensions in which `shape` was broadcast to x's shape; the gradient of broadcasting.
Tensor sum_to(const Tensor& x, const Shape& shape);
/// The same in another dtype than x's: f32 of bf16.
Tensor sum_to(const Tensor& x, const Shape& shape, DType);
/// Index (i64) of the largest / smallest along a dimension, which is removed.
Tensor argmax(const Tensor& x, int dim = -1);
Tensor argmin(const Tensor& x, int dim = -1);
/// The k largest of the last dimension in falling order: {values, indices (i64)}.
std::pair<Tensor, Tensor> top_k(const Tensor& x, int64_t k);

/// (…, M, K) x (…, K, N) -> (…, M, N); leading dimensions broadcast.
Tensor matmul(const Tensor& a, const Tensor& b);
/// The same in another dtype than the factors': f32 of bf16.
Tensor matmul(const Tensor& a, const Tensor& b, DType);
/// x w^T + b of rows: x (N, D_in), w (D_out, D_in), b (D_out) or undefined.
Tensor linear_rows(const Tensor& x, const Tensor& w, const Tensor& b);
/// gelu(x w^T + b) and, with_derivative, gelu's derivative there.
struct LinearGelu {
  Tensor y, derivative;
};
LinearGelu linear_gelu_rows(const Tensor& x, const Tensor& w, const Tensor& b, bool with_derivative);
/// (dy w) derivative, element by element: from the gradient of what follows a gelu to that of its input; dy (N, D_out),
/// w (D_out, D_in), derivative (N, D_in).
Tensor linear_gelu_dx_rows(const Tensor& dy, const Tensor& w, const Tensor& derivative);
/// The gradients {dy^T x, sum of dy's rows} of a weight and a bias; dy (N, D_out), x (N, D_in). f32 of bf16.
std::pair<Tensor, Tensor> linear_dw_rows(const Tensor& dy, const Tensor& x);

// ---- indexing
/// torch.gather: index (i64) has x's rank; its size along other dimensions must equal x's (or 1, broadcast).
Tensor gather(const Tensor& x, int dim, const Tensor& index);
/// Rows index (n) of a dimension: torch.index_select.
Tensor index_select(const Tensor& x, int dim, const Tensor& index);
/// target[index[i], …] = source[i, …] (torch.index_copy_ along dimension 0): index (n) i64 without repeats, source of
/// target's dtype and of its shape but for n rows. Not differentiable.
void index_copy_(const Tensor& target, const Tensor& index, const Tensor& source);
/// A zero tensor of `shape` to which src is added at index along dim; the gradient of gather.
Tensor scatter_add(const Shape& shape, int dim, const Tensor& index, const Tensor& src);
Tensor concatenate(const std::vector<Tensor>& xs, int dim);
Tensor stack(const std::vector<Tensor>& xs, int dim);

// ---- convolution and pooling over (N, H, W, C)
struct Conv2dOptions {
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
  ConvAlgorithm algorithm = ConvAlgorithm::Auto;
};
struct PoolOptions {
  int64_t kernel = 2, stride = 2, padding = 0;
};
/// Checks the shapes and gives the geometry and y's shape; w is (C_out, kernel_h, kernel_w, C_in / groups).
std::pair<Window, Shape> conv2d_geometry(const Shape& x, const Shape& w, const Conv2dOptions&);
std::pair<Window, Shape> pool_geometry(const char* op, const Shape& x, const PoolOptions&);
std::pair<Window, Shape> adaptive_pool_geometry(const char* op, const Shape& x, int64_t out_h, int64_t out_w);
struct Moments;
/// `moments`, where given, receives those of the result if that is not empty; some backends sum them up while they make
/// it.
Tensor conv2d(const Tensor& x, const Tensor& w, const Conv2dOptions& = {}, Moments* moments = nullptr);
Tensor conv2d_dx(const Shape& x, const Tensor& dy, const Tensor& w, const Window&);
/// f32 of bf16.
Tensor conv2d_dw(const Shape& w, const Tensor& x, const Tensor& dy, const Window&);
/// {y, index of the maximum (i64, h * W + w); undefined for averages}.
std::pair<Tensor, Tensor> pool(PoolOp, const Tensor& x, const Window&, const Shape& y);
Tensor pool_grad(PoolOp, const Shape& x, const Tensor& dy, const Tensor& index, const Window&);
Tensor max_pool2d(const Tensor& x, const PoolOptions& = {});
Tensor avg_pool2d(const Tensor& x, const PoolOptions& = {});
Tensor adaptive_avg_pool2d(const Tensor& x, int64_t out_h, int64_t out_w);

// ---- softmax over the last dimension; f32 of bf16
Tensor softmax(const Tensor& x);
Tensor log_softmax(const Tensor& x);

/// Mean and biased variance, (C) each, of every channel (last dimension) over all other dimensions; f32 of bf16.
struct Moments {
  Tensor mean, var;
};
Moments moments(const Tensor& x);

/// Rows divided by max(their Euclidean norm, eps): torch.nn.functional.normalize over the last dimension. f32 of bf16.
Tensor l2_normalize(const Tensor& x, double eps = 1e-12);

/// Sum of squares over all tensors, in f64; on the device of the first.
Tensor sum_squares(std::span<const Tensor> xs);
/// target += weight * (source - target) for each pair, in place.
void lerp_(std::span<const Tensor> targets, std::span<const Tensor> sources, const Tensor& weight);

/// A view of an 8-bit image for each entry, (B, size, size, channels) f32, on the device of the packed pixels (bytes)
/// u8. channels is 1 or 3; 1 where the policy makes lightness.
Tensor augment_images(const Tensor& pixels, std::span<const AugmentView> views, const AugmentPolicy&, int64_t size,
                      int64_t channels);

/// Identity of n rows, as u8 (a mask).
Tensor eye_mask(int64_t n, Device = default_device());

/// Largest absolute value of a - b, in f64 on the host; both may be of any dtype and device. For tests and reports.
double max_abs_difference(const Tensor& a, const Tensor& b);

}  // namespace tacit
