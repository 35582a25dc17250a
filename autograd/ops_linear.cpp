// Linear maps of rows, alone and as a transformer's two with a GELU between them. Rows are all but the last dimension,
// as one tall matrix: a weight's gradient is then a single product instead of one for each leading index.
#include "autograd/ops.h"
#include "autograd/product_dtype.h"

namespace tacit {

namespace {

void check_linear(const char* op, const Shape& x, const Variable& w, const Variable& b) {
  TACIT_CHECK(w.rank() == 2 && x.rank() >= 1 && x[-1] == w.size(1), "[", op, "] x ", x, " does not fit the weight ",
              w.shape(), ", which is (D_out, D_in)");
  TACIT_CHECK(!b.defined() || (b.rank() == 1 && b.size(0) == w.size(0)), "[", op, "] bias ", b.shape(),
              " does not fit the weight ", w.shape());
}

Tensor rows_of(const Tensor& x) { return x.reshape({without_dim(x.shape(), -1).numel(), x.size(-1)}); }

Shape with_last(Shape shape, int64_t size) {
  shape[-1] = size;
  return shape;
}

// Puts the gradients of weight and bias there as far as they are needed; one pass over dy gives both.
void add_parameter_gradients(Tensor* dw, Tensor* db, bool needs_w, bool needs_b, const Tensor& dy, const Tensor& x) {
  if (needs_w && needs_b)
    std::tie(*dw, *db) = linear_dw_rows(dy, x);
  else if (needs_w)
    *dw = matmul(dy.t(), x, wide_dtype(x.dtype()));
  else if (needs_b)
    *db = sum_to(dy, {dy.size(1)}, wide_dtype(dy.dtype()));
}

}  // namespace

Variable linear(const Variable& x, const Variable& w, const Variable& b) {
  check_linear("linear", x.shape(), w, b);
  const Tensor tall = rows_of(product_factor(x.value())), vw = product_factor(w.value());
  const Tensor y = linear_rows(tall, vw, product_factor(b.value())).reshape(with_last(x.shape(), w.size(0)));
  const Tensor rows = w.requires_grad() ? tall : Tensor();  // only dw reads them
  return record_joint("linear", y, {x, w, b},
                      [=, from = x.shape(), dtype = x.dtype()](const Tensor& dy, const std::vector<bool>& needed) {
                        const Tensor d = rows_of(dy);
                        Tensor dx, dw, db;
                        if (needed[0]) dx = matmul(d, vw, dtype).reshape(from);
                        add_parameter_gradients(&dw, &db, needed[1], needed[2], d, rows);
                        return std::vector<Tensor>{dx, dw, db};
                      });
}

// GELU's value and its derivative share their one exponential: the derivative is made in the forward pass and kept in
// the place of GELU's input, which nobody else reads.
Variable feed_forward(const Variable& x, const Variable& w1, const Variable& b1, const Variable& w2,
                      const Variable& b2) {
  check_linear("feed_forward", x.shape(), w1, b1);
  check_linear("feed_forward", with_last(x.shape(), w1.size(0)), w2, b2);
  TACIT_CHECK(b1.defined() && b2.defined(), "[feed_forward] needs both biases");
  const Tensor tall = rows_of(product_factor(x.value())), v1 = product_factor(w1.value()),
               v2 = product_factor(w2.value());
  const bool learns = x.requires_grad() || w1.requires_grad() || b1.requires_grad();
  const LinearGelu hidden = linear_gelu_rows(tall, v1, product_factor(b1.value()), learns && grad_enabled());
  const Tensor y = linear_rows(hidden.y, v2, product_factor(b2.value())).reshape(with_last(x.shape(), w2.size(0)));
  const Tensor rows = w1.requires_grad() ? tall : Tensor(), inner = w2.requires_grad() ? hidden.y : Tensor();
  const Tensor derivative = hidden.derivative;
  return record_joint("feed_forward", y, {x, w1, b1, w2, b2},
                      [=, from = x.shape(), dtype = x.dtype()](const Tensor& dy, const std::vector<bool>& needed) {
                        const Tensor d = rows_of(dy);
                        Tensor dx, dw1, db1, dw2, db2;
                        add_parameter_gradients(&dw2, &db2, needed[3], needed[4], d, inner);
                        if (needed[0] || needed[1] || needed[2]) {
                          const Tensor dh = linear_gelu_dx_rows(d, v2, derivative);
                          add_parameter_gradients(&dw1, &db1, needed[1], needed[2], dh, rows);
                          if (needed[0]) dx = matmul(dh, v1, dtype).reshape(from);
                        }
                        return std::vector<Tensor>{dx, dw1, db1, dw2, db2};
                      });
}

}  // namespace tacit
