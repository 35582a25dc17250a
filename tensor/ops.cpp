#include "tensor/ops.h"

#include <algorithm>
#include <cmath>

namespace tacit {

namespace {

void check_same_device(const char* op, const Tensor& a, const Tensor& b) {
  TACIT_CHECK(a.device() == b.device(), "[", op, "] devices differ: ", a.device().name(), " and ", b.device().name(),
              "; move one with to()");
}

// Dense strides do not matter to most kernels, but some families ask for dense views.
View dense_view(const Tensor& t, Tensor* keep) {
  *keep = t.contiguous_copy_if_needed();
  return keep->view();
}

}  // namespace

void check_floating(const char* op, const Tensor& x) {
  TACIT_CHECK(x.dtype() == f32 || x.dtype() == f64, "[", op, "] needs f32 or f64, got ", name_of(x.dtype()),
              "; convert with to(f32)");
}

void check_activations(const char* op, const Tensor& x) {
  if (x.dtype() != bf16 || !x.backend().computes_bf16()) check_floating(op, x);
}

void check_same_kind(const char* op, const Tensor& a, const Tensor& b) {
  TACIT_CHECK(a.defined() && b.defined(), "[", op, "] an input is undefined");
  TACIT_CHECK(a.dtype() == b.dtype(), "[", op, "] dtypes differ: ", name_of(a.dtype()), " and ", name_of(b.dtype()),
              "; convert one with to()");
  check_same_device(op, a, b);
}

void check_result_dtype(const char* op, DType dtype, DType result) {
  TACIT_CHECK(result == dtype || result == wide_dtype(dtype), "[", op, "] the result of ", name_of(dtype),
              " cannot be ", name_of(result));
}

// ---- element-wise

Tensor unary(UnaryOp op, const Tensor& x) {
  check_activations("unary", x);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  if (x.numel() > 0) x.backend().unary(op, y.view(), x.view());
  return y;
}

Tensor unary_grad(UnaryOp op, const Tensor& dy, const Tensor& x, const Tensor& y, Tensor dx) {
  if (!dx.defined()) dx = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
  if (dy.numel() > 0) dy.backend().unary_grad(op, dx.view(), dy.view(), x.view(), y.view());
  return dx;
}

namespace {

// One operand may be f32 where the other is bf16.
Tensor compute(BinaryOp op, const Tensor& a, const Tensor& b) {
  const DType dtype = b.dtype() == bf16 ? bf16 : a.dtype();
  TACIT_CHECK(dtype != bf16 || a.backend().computes_bf16(), "[binary] ", a.device().name(),
              " does not compute in bf16; convert with to(f32)");
  const Shape shape = a.shape() == b.shape() ? a.shape() : broadcast("binary", a.shape(), b.shape());
  Tensor out = Tensor::empty(shape, compares(op) ? u8 : dtype, a.device());
  if (out.numel() > 0) out.backend().binary(op, out.view(), a.broadcast_to(shape).view(), b.broadcast_to(shape).view());
  return out;
}

// Beside bf16 in f32: 0.9 in bf16 would be wrong by 0.2 %, in every element the same way.
Tensor like(const Tensor& x, double value) { return Tensor::scalar(value, wide_dtype(x.dtype()), x.device()); }

}  // namespace

Tensor binary(BinaryOp op, const Tensor& a, const Tensor& b) {
  check_same_kind("binary", a, b);
  return compute(op, a, b);
}

#define TACIT_DEFINE(Functor, name, low, high) \
  Tensor name(const Tensor& x) { return unary(UnaryOp::Functor, x); }
TACIT_FOREACH_UNARY(TACIT_DEFINE)
#undef TACIT_DEFINE
#define TACIT_DEFINE(Functor, name, compares) \
  Tensor name(const Tensor& a, const Tensor& b) { return binary(BinaryOp::Functor, a, b); }
TACIT_FOREACH_BINARY(TACIT_DEFINE)
#undef TACIT_DEFINE

Tensor operator+(const Tensor& a, double b) { return compute(BinaryOp::Add, a, like(a, b)); }
Tensor operator-(const Tensor& a, double b) { return compute(BinaryOp::Sub, a, like(a, b)); }
Tensor operator*(const Tensor& a, double b) { return compute(BinaryOp::Mul, a, like(a, b)); }
Tensor operator/(const Tensor& a, double b) { return compute(BinaryOp::Div, a, like(a, b)); }
Tensor operator-(double a, const Tensor& b) { return compute(BinaryOp::Sub, like(b, a), b); }
Tensor operator/(double a, const Tensor& b) { return compute(BinaryOp::Div, like(b, a), b); }

Tensor add_bias(const Tensor& x, const Tensor& b) {
  if (!(x.dtype() == bf16 && b.defined() && b.dtype() == f32)) return add(x, b);
  check_same_device("add_bias", x, b);
  return compute(BinaryOp::Add, x, b);
}

void Tensor::add_(const Tensor& other) {
  check_same_kind("add_", *this, other);
  TACIT_CHECK(dtype() != bf16 || backend().computes_bf16(), "[add_] ", device().name(),
              " does not compute in bf16; convert with to(f32)");
  if (numel() == 0) return;
  const Tensor operand = other.broadcast_to(shape_);
  // Kernels may read an element in the place where they write it, and nowhere else of the same block.
  const bool in_place = operand.view().data == view().data && operand.strides() == strides();
  const Tensor safe = shares_memory_with(operand) && !in_place ? operand.clone() : operand;
  backend().binary(BinaryOp::Add, view(), view(), safe.view());
}

void Tensor::mul_(double factor) {
  if (numel() > 0) backend().binary(BinaryOp::Mul, view(), view(), like(*this, factor).broadcast_to(shape_).view());
}

Tensor where(const Tensor& cond, const Tensor& a, const Tensor& b) {
  check_same_kind("where", a, b);
  TACIT_CHECK(cond.dtype() == u8, "[where] the condition must be u8, got ", name_of(cond.dtype()));
  TACIT_CHECK(cond.device() == a.device(), "[where] devices differ: ", cond.device().name(), " and ",
              a.device().name());
  const Shape shape = broadcast("where", cond.shape(), broadcast("where", a.shape(), b.shape()));
  Tensor out = Tensor::empty(shape, a.dtype(), a.device());
  if (out.numel() > 0)
    out.backend().select(out.view(), cond.broadcast_to(shape).view(), a.broadcast_to(shape).view(),
                         b.broadcast_to(shape).view());
  return out;
}

Tensor eye_mask(int64_t n, Device device) {
  const Tensor i = Tensor::arange(n, i64, device);
  return equal(i.unsqueeze(1), i.unsqueeze(0));
}

// ---- reductions

Shape reduced_shape(const Shape& shape, std::span<const int> dims) {
  Shape out = shape;
  if (dims.empty())
    for (int i = 0; i < out.rank(); ++i) out[i] = 1;
  for (const int d : dims) out[d] = 1;
  return out;
}

namespace {

Shape drop_dims(const Shape& shape, std::span<const int> dims) {
  if (dims.empty()) return {};
  bool dropped[kMaxRank] = {};
  for (const int d : dims) dropped[shape.index(d)] = true;
  Shape out;
  for (int i = 0; i < shape.rank(); ++i)
    if (!dropped[i]) out.push_back(shape[i]);
  return out;
}

Tensor reduce_list(ReduceOp op, const Tensor& x, std::initializer_list<int> dims, bool keepdim) {
  return reduce(op, x, std::span<const int>(dims.begin(), dims.size()), keepdim);
}

}  // namespace

Tensor reduce(ReduceOp op, const Tensor& x, std::span<const int> dims, bool keepdim) {
  return reduce(op, x, dims, keepdim, x.dtype());
}

Tensor reduce(ReduceOp op, const Tensor& x, std::span<const int> dims, bool keepdim, DType dtype) {
  check_activations("reduce", x);
  check_result_dtype("reduce", x.dtype(), dtype);
  const Shape kept = reduced_shape(x.shape(), dims);
  TACIT_CHECK(x.numel() > 0 || op == ReduceOp::Sum || kept.numel() == 0,
              "[reduce] the mean, largest or smallest of no elements: shape ", x.shape());
  Tensor out = Tensor::empty(kept, dtype, x.device());
  if (x.numel() == 0) {
    out.fill_(0);
  } else {
    x.backend().reduce(op, out.view(), x.view());
  }
  return keepdim ? out : out.reshape(drop_dims(kept, dims));
}

Tensor sum(const Tensor& x, std::initializer_list<int> d, bool k) { return reduce_list(ReduceOp::Sum, x, d, k); }
Tensor mean(const Tensor& x, std::initializer_list<int> d, bool k) { return reduce_list(ReduceOp::Mean, x, d, k); }
Tensor amax(const Tensor& x, std::initializer_list<int> d, bool k) { return reduce_list(ReduceOp::Max, x, d, k); }
Tensor amin(const Tensor& x, std::initializer_list<int> d, bool k) { return reduce_list(ReduceOp::Min, x, d, k); }

Tensor var(const Tensor& activations, std::initializer_list<int> dims, bool keepdim) {
  const Tensor x = widen(activations);
  const Tensor centred = x - mean(x, dims, true).broadcast_to(x.shape());
  return mean(square(centred), dims, keepdim);
}

Tensor sum_to(const Tensor& x, const Shape& shape) { return sum_to(x, shape, x.dtype()); }

Tensor sum_to(const Tensor& x, const Shape& shape, DType dtype) {
  if (x.shape() == shape) return x.to(dtype);
  const int extra = x.rank() - shape.rank();
  TACIT_CHECK(extra >= 0 && broadcast("sum_to", x.shape(), shape) == x.shape(), "[sum_to] ", shape,
              " does not broadcast to ", x.shape());
  int dims[kMaxRank];
  size_t count = 0;
  for (int i = 0; i < x.rank(); ++i)
    if (i < extra || (shape[i - extra] == 1 && x.size(i) != 1)) dims[count++] = i;
  const Tensor summed =
      count == 0 ? x.to(dtype) : reduce(ReduceOp::Sum, x, std::span<const int>(dims, count), true, dtype);
  return summed.reshape(shape);
}

namespace {
Tensor arg_reduce(ReduceOp op, const Tensor& x, int dim) {
  check_floating("arg_reduce", x);
  TACIT_CHECK(x.size(dim) > 0, "[arg_reduce] dimension ", dim, " of shape ", x.shape(), " is empty");
  const Tensor last = x.transpose(dim, -1);
  Tensor index = Tensor::empty(without_dim(last.shape(), -1), i64, x.device());
  if (index.numel() > 0) x.backend().arg_reduce(op, index.view(), last.view());
  return x.shape().index(dim) == x.rank() - 1 ? index : index.unsqueeze(-1).transpose(dim, -1).squeeze(dim);
}
}  // namespace

Tensor argmax(const Tensor& x, int dim) { return arg_reduce(ReduceOp::Max, x, dim); }
Tensor argmin(const Tensor& x, int dim) { return arg_reduce(ReduceOp::Min, x, dim); }

std::pair<Tensor, Tensor> top_k(const Tensor& x, int64_t k) {
  check_floating("top_k", x);
  TACIT_CHECK(k >= 1 && k <= x.size(-1), "[top_k] k = ", k, " of a last dimension of ", x.size(-1));
  Shape shape = x.shape();
  shape[-1] = k;
  Tensor values = Tensor::empty(shape, x.dtype(), x.device()), index = Tensor::empty(shape, i64, x.device());
  if (values.numel() > 0) x.backend().top_k(values.view(), index.view(), x.view());
  return {values, index};
}

// ---- indexing

namespace {
void check_index(const char* name, Indexed op, const Tensor& index, int64_t size) {
  TACIT_CHECK(index.dtype() == i64, "[", name, "] the index must be i64, got ", name_of(index.dtype()));
  if (index.numel() == 0 || index.backend().checks_indices()) return;
  // A strided view may repeat one number many times (index_select broadcasts it): look at the distinct ones only.
  Tensor distinct = index;
  for (int d = 0; d < index.rank(); ++d)
    if (index.strides()[d] == 0) distinct = distinct.slice(d, 0, 1);
  for (const int64_t i : distinct.to_vector<int64_t>()) TACIT_CHECK(i >= 0 && i < size, out_of_range(op, i, size));
}
}  // namespace

Tensor gather(const Tensor& x, int dim, const Tensor& index) {
  dim = x.shape().index(dim);
  TACIT_CHECK(index.defined() && index.rank() == x.rank(), "[gather] index shape ", index.shape(),
              " must have the rank of ", x.shape());
  TACIT_CHECK(index.device() == x.device(), "[gather] devices differ: ", index.device().name(), " and ",
              x.device().name());
  Shape shape = x.shape();
  shape[dim] = index.size(dim);
  const Tensor full_index = index.broadcast_to(shape);
  check_index("gather", Indexed::Gather, full_index, x.size(dim));
  Tensor out = Tensor::empty(shape, x.dtype(), x.device());
  if (out.numel() > 0) x.backend().gather(out.view(), x.view(), full_index.view(), dim);
  return out;
}

Tensor index_select(const Tensor& x, int dim, const Tensor& index) {
  dim = x.shape().index(dim);
  TACIT_CHECK(index.rank() == 1, "[index_select] the index must be a list, got shape ", index.shape());
  Shape shape;
  for (int d = 0; d < x.rank(); ++d) shape.push_back(d == dim ? index.size(0) : 1);
  return gather(x, dim, index.reshape(shape));
}

Tensor scatter_add(const Shape& shape, int dim, const Tensor& index, const Tensor& src) {
  dim = shape.index(dim);
  Tensor out = Tensor::zeros(shape, src.dtype(), src.device());
  Shape expected = shape;
  expected[dim] = src.size(dim);
  TACIT_CHECK(src.shape() == expected, "[scatter_add] source ", src.shape(), " does not fit ", shape,
              " along dimension ", dim);
  const Tensor full_index = index.broadcast_to(src.shape());
  check_index("scatter_add", Indexed::ScatterAdd, full_index, shape[dim]);
  if (src.numel() > 0) out.backend().scatter_add(out.view(), full_index.view(), src.view(), dim);
  return out;
}

void index_copy_(const Tensor& target, const Tensor& index, const Tensor& source) {
  check_same_kind("index_copy_", target, source);
  TACIT_CHECK(target.rank() >= 1 && index.rank() == 1 && index.device() == target.device(),
              "[index_copy_] needs a list of rows on the target's device, got shape ", index.shape());
  Shape expected = target.shape();
  expected[0] = index.size(0);
  TACIT_CHECK(source.shape() == expected, "[index_copy_] source ", source.shape(), " is not ", index.size(0),
              " rows of ", target.shape());
  check_index("index_copy_", Indexed::IndexCopy, index, target.size(0));
  const Tensor safe = target.shares_memory_with(source) ? source.clone() : source;
  if (source.numel() > 0) target.backend().index_copy(target.view(), index.view(), safe.view());
}

Tensor concatenate(const std::vector<Tensor>& xs, int dim) {
  TACIT_CHECK(!xs.empty(), "[concatenate] nothing to concatenate");
  dim = xs[0].shape().index(dim);
  Shape shape = xs[0].shape();
  int64_t total = 0;
  for (const Tensor& x : xs) {
    check_same_kind("concatenate", xs[0], x);
    bool fits = x.rank() == shape.rank();
    for (int d = 0; fits && d < shape.rank(); ++d) fits = d == dim || x.size(d) == shape[d];
    TACIT_CHECK(fits, "[concatenate] shapes differ outside dimension ", dim, ": ", xs[0].shape(), " and ", x.shape());
    total += x.size(dim);
  }
  shape[dim] = total;
  Tensor out = Tensor::empty(shape, xs[0].dtype(), xs[0].device());
  int64_t at = 0;
  for (const Tensor& x : xs) {
    if (x.numel() > 0) out.slice(dim, at, at + x.size(dim)).copy_(x);
    at += x.size(dim);
  }
  return out;
}

Tensor stack(const std::vector<Tensor>& xs, int dim) {
  std::vector<Tensor> parts;
  parts.reserve(xs.size());
  for (const Tensor& x : xs) parts.push_back(x.unsqueeze(dim));
  return concatenate(parts, dim);
}

// ---- normalisation and softmax

namespace {
Tensor softmax_of(const Tensor& activations, bool log) {
  const Tensor x = widen(activations);
  check_floating("softmax", x);
  TACIT_CHECK(x.rank() >= 1, "[softmax] needs at least one dimension");
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device()), keep;
  if (x.numel() > 0) x.backend().softmax(y.view(), dense_view(x, &keep), log);
  return y;
}
}  // namespace

Tensor softmax(const Tensor& x) { return softmax_of(x, false); }
Tensor log_softmax(const Tensor& x) { return softmax_of(x, true); }

Moments moments(const Tensor& x) {
  check_activations("moments", x);
  TACIT_CHECK(x.rank() >= 1 && x.numel() > 0, "[moments] needs values, got shape ", x.shape());
  Tensor keep, mean = Tensor::empty({x.size(-1)}, wide_dtype(x.dtype()), x.device());
  Tensor variance = Tensor::empty({x.size(-1)}, mean.dtype(), x.device());
  x.backend().moments(mean.view(), variance.view(), dense_view(x, &keep));
  return {mean, variance};
}

Tensor l2_normalize(const Tensor& activations, double eps) {
  const Tensor x = widen(activations);
  const Tensor norm = maximum(sqrt(sum(square(x), {-1}, true)), Tensor::scalar(eps, x.dtype(), x.device()));
  return x / norm;
}

Tensor sum_squares(std::span<const Tensor> xs) {
  TACIT_CHECK(!xs.empty(), "[sum_squares] no tensors");
  std::vector<Tensor> dense;
  std::vector<View> views;
  for (const Tensor& x : xs) {
    check_same_kind("sum_squares", xs[0], x);
    dense.push_back(x.contiguous_copy_if_needed());
    views.push_back(dense.back().view());
  }
  Tensor out = Tensor::empty({}, f64, xs[0].device());
  out.backend().sum_squares(out.view(), views);
  return out;
}

void lerp_(std::span<const Tensor> targets, std::span<const Tensor> sources, const Tensor& weight) {
  TACIT_CHECK(targets.size() == sources.size(), "[lerp_] ", targets.size(), " targets and ", sources.size(),
              " sources");
  if (targets.empty()) return;
  std::vector<View> to, from;
  for (size_t i = 0; i < targets.size(); ++i) {
    check_same_kind("lerp_", targets[i], sources[i]);
    TACIT_CHECK(targets[i].shape() == sources[i].shape() && targets[i].contiguous() && sources[i].contiguous(),
                "[lerp_] pairs must be dense and of one shape: ", targets[i].shape(), " and ", sources[i].shape());
    to.push_back(targets[i].view());
    from.push_back(sources[i].view());
  }
  targets[0].backend().lerp(to, from, weight.view());
}

double max_abs_difference(const Tensor& a, const Tensor& b) {
  TACIT_CHECK(a.shape() == b.shape(), "[max_abs_difference] shapes differ: ", a.shape(), " and ", b.shape());
  const auto x = a.to(f64).to_vector<double>(), y = b.to(f64).to_vector<double>();
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] == y[i]) continue;  // equal infinities differ by nothing
    const double d = std::abs(x[i] - y[i]);
    if (std::isnan(d)) return d;
    worst = std::max(worst, d);
  }
  return worst;
}

}  // namespace tacit
