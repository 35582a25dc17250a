// Ops that move elements without computing: the gradient moves back.
#include "autograd/ops.h"

namespace tacit {

namespace {
// For results whose elements are x's, in order, under another shape.
Variable record_same_elements(const char* op, Tensor y, const Variable& x) {
  return record(op, std::move(y), {{x, [shape = x.shape()](const Tensor& dy) { return dy.reshape(shape); }}});
}
}  // namespace

Variable reshape(const Variable& x, const Shape& shape) {
  return record_same_elements("reshape", x.value().reshape(shape), x);
}
Variable flatten(const Variable& x, int from, int to) {
  return record_same_elements("flatten", x.value().flatten(from, to), x);
}
Variable unsqueeze(const Variable& x, int dim) {
  return record_same_elements("unsqueeze", x.value().unsqueeze(dim), x);
}
Variable squeeze(const Variable& x, int dim) { return record_same_elements("squeeze", x.value().squeeze(dim), x); }

Variable permute(const Variable& x, std::initializer_list<int> order) {
  const Tensor y = x.value().permute(order);
  std::vector<int> inverse(order.size());
  int to = 0;
  for (const int from : order) inverse[static_cast<size_t>(x.shape().index(from))] = to++;
  return record("permute", y, {{x, [inverse](const Tensor& dy) { return dy.permute(inverse); }}});
}

Variable transpose(const Variable& x, int a, int b) {
  return record("transpose", x.value().transpose(a, b), {{x, [a, b](const Tensor& dy) { return dy.transpose(a, b); }}});
}

Variable slice(const Variable& x, int dim, int64_t lo, int64_t hi, int64_t step) {
  return record("slice", x.value().slice(dim, lo, hi, step), {{x, [=, shape = x.shape()](const Tensor& dy) {
                                                                 const Tensor dx =
                                                                     Tensor::zeros(shape, dy.dtype(), dy.device());
                                                                 dx.slice(dim, lo, hi, step).copy_(dy);
                                                                 return dx;
                                                               }}});
}

Variable select(const Variable& x, int dim, int64_t index) {
  return record("select", x.value().select(dim, index), {{x, [=, shape = x.shape()](const Tensor& dy) {
                                                            const Tensor dx =
                                                                Tensor::zeros(shape, dy.dtype(), dy.device());
                                                            dx.select(dim, index).copy_(dy);
                                                            return dx;
                                                          }}});
}

Variable broadcast_to(const Variable& x, const Shape& shape) {
  return record("broadcast_to", x.value().broadcast_to(shape), {{x, [](const Tensor& dy) { return dy; }}});
}

Variable concatenate(const std::vector<Variable>& xs, int dim) {
  std::vector<Tensor> values;
  std::vector<int64_t> ends;
  int64_t end = 0;
  for (const Variable& x : xs) values.push_back(x.value());
  const Tensor y = concatenate(values, dim);
  for (const Variable& x : xs) ends.push_back(end += x.size(dim));
  return record_joint("concatenate", y, xs, [ends, dim](const Tensor& dy, const std::vector<bool>& needed) {
    std::vector<Tensor> gradients(ends.size());
    for (size_t i = 0; i < ends.size(); ++i)
      if (needed[i]) gradients[i] = dy.slice(dim, i == 0 ? 0 : ends[i - 1], ends[i]);
    return gradients;
  });
}

Variable stack(const std::vector<Variable>& xs, int dim) {
  std::vector<Variable> parts;
  for (const Variable& x : xs) parts.push_back(unsqueeze(x, dim));
  return concatenate(parts, dim);
}

Variable gather(const Variable& x, int dim, const Tensor& index) {
  return record("gather", gather(x.value(), dim, index),
                {{x, [=, shape = x.shape()](const Tensor& dy) { return scatter_add(shape, dim, index, dy); }}});
}

Variable index_select(const Variable& x, int dim, const Tensor& index) {
  return record("index_select", index_select(x.value(), dim, index),
                {{x, [=, shape = x.shape()](const Tensor& dy) {
                    Shape column{index.size(0)};  // (n, 1, …, 1) broadcasts over the dimensions after dim
                    for (int d = shape.index(dim) + 1; d < shape.rank(); ++d) column.push_back(1);
                    return scatter_add(shape, dim, index.reshape(column), dy);
                  }}});
}

}  // namespace tacit
