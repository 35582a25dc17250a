// Matrix products, and linear maps of rows: the checks and shapes; the kernels are the backends'.
#include "tensor/multiply_adds.h"
#include "tensor/ops.h"

namespace tacit {

Tensor matmul(const Tensor& a, const Tensor& b) { return matmul(a, b, a.dtype()); }

Tensor matmul(const Tensor& a, const Tensor& b, DType dtype) {
  check_same_kind("matmul", a, b);
  check_activations("matmul", a);
  check_result_dtype("matmul", a.dtype(), dtype);
  TACIT_CHECK(a.rank() >= 2 && b.rank() >= 2, "[matmul] needs matrices, got ", a.shape(), " x ", b.shape(),
              "; use unsqueeze() for vectors");
  TACIT_CHECK(a.size(-1) == b.size(-2), "[matmul] inner dimensions differ: ", a.shape(), " x ", b.shape());
  Shape batch_a = without_dim(without_dim(a.shape(), -1), -1), batch_b = without_dim(without_dim(b.shape(), -1), -1);
  const Shape batch = broadcast("matmul", batch_a, batch_b);
  const auto with_matrix = [&](int64_t rows, int64_t columns) {
    Shape s = batch;
    s.push_back(rows);
    s.push_back(columns);
    return s;
  };
  Tensor out = Tensor::empty(with_matrix(a.size(-2), b.size(-1)), dtype, a.device());
  if (out.numel() == 0) return out;
  if (a.size(-1) == 0) {
    out.fill_(0);
    return out;
  }
  MultiplyAdds::add(out.numel(), a.size(-1));
  out.backend().matmul(out.view(), a.broadcast_to(with_matrix(a.size(-2), a.size(-1))).view(),
                       b.broadcast_to(with_matrix(b.size(-2), b.size(-1))).view());
  return out;
}

namespace {
// Checks x w^T + b and makes its result.
Tensor empty_linear(const Tensor& x, const Tensor& w, const Tensor& b) {
  check_same_kind("linear", x, w);
  check_same_kind("linear", x, b);
  check_activations("linear", x);
  TACIT_CHECK(x.rank() == 2 && w.rank() == 2 && b.rank() == 1 && x.size(1) == w.size(1) && b.size(0) == w.size(0),
              "[linear] rows ", x.shape(), ", weight ", w.shape(), " and bias ", b.shape(), " do not fit together");
  MultiplyAdds::add(x.size(0) * w.size(0), x.size(1));
  return Tensor::empty({x.size(0), w.size(0)}, x.dtype(), x.device());
}
}  // namespace

Tensor linear_rows(const Tensor& x, const Tensor& w, const Tensor& b) {
  if (!b.defined()) return matmul(x, w.t());
  const Tensor y = empty_linear(x, w, b);
  LinearArgs args;
  args.y = y.view(), args.x = x.view(), args.w = w.t().view(), args.bias = b.view();
  if (y.numel() > 0) y.backend().linear(args);
  return y;
}

LinearGelu linear_gelu_rows(const Tensor& x, const Tensor& w, const Tensor& b, bool with_derivative) {
  const Tensor y = empty_linear(x, w, b);
  const Tensor derivative = with_derivative ? Tensor::empty(y.shape(), y.dtype(), y.device()) : Tensor();
  LinearArgs args;
  args.y = y.view(), args.x = x.view(), args.w = w.t().view(), args.bias = b.view();
  args.gelu = true;
  if (with_derivative) args.derivative = derivative.view();
  if (y.numel() > 0) y.backend().linear(args);
  return {y, derivative};
}

Tensor linear_gelu_dx_rows(const Tensor& dy, const Tensor& w, const Tensor& derivative) {
  check_same_kind("linear", dy, w);
  check_same_kind("linear", dy, derivative);
  TACIT_CHECK(dy.rank() == 2 && w.rank() == 2 && derivative.shape() == Shape({dy.size(0), w.size(1)}) &&
                  dy.size(1) == w.size(0),
              "[linear] rows ", dy.shape(), ", weight ", w.shape(), " and gelu's derivative ", derivative.shape(),
              " do not fit together");
  const Tensor factor = derivative.contiguous_copy_if_needed();
  const Tensor dx = Tensor::empty(derivative.shape(), dy.dtype(), dy.device());
  LinearArgs args;
  args.y = dx.view(), args.x = dy.view(), args.w = w.view(), args.factor = factor.view();
  MultiplyAdds::add(dx.numel(), dy.size(1));
  if (dx.numel() > 0) dx.backend().linear(args);
  return dx;
}

std::pair<Tensor, Tensor> linear_dw_rows(const Tensor& dy, const Tensor& x) {
  check_same_kind("linear", dy, x);
  TACIT_CHECK(dy.rank() == 2 && x.rank() == 2 && dy.size(0) == x.size(0), "[linear] dy ", dy.shape(), " and x ",
              x.shape(), " have different rows");
  const Tensor dw = Tensor::empty({dy.size(1), x.size(1)}, wide_dtype(x.dtype()), x.device());
  Tensor db = Tensor::empty({dy.size(1)}, dw.dtype(), x.device());
  if (dw.numel() > 0 && dy.size(0) > 0) {
    const Tensor rows = dy.contiguous_copy_if_needed();
    MultiplyAdds::add(dw.numel(), dy.size(0));
    dw.backend().linear_dw(dw.view(), db.view(), rows.view(), x.view());
  } else {
    Tensor(dw).fill_(0);
    db.copy_(sum_to(dy, db.shape(), db.dtype()));
  }
  return {dw, db};
}

}  // namespace tacit
