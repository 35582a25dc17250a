// Kernels that read several neighbours at once (backends/cuda/pack.h) or keep rows in registers: at sizes that are and
// are not whole packs, and at views that begin where no pack may. The default device (see main.cpp) against the
// reference; the same numbers must give the same bits wherever they lie.
#include <doctest/doctest.h>

#include <functional>

#include "tensor/ops.h"

using namespace tacit;

namespace {

const Device& device() {
  static const Device under_test = default_device();
  return under_test;
}

/// x in memory of its own, `offset` elements behind an address that is aligned.
Tensor placed(const Tensor& x, int64_t offset, const Device& where) {
  const Tensor memory = Tensor::zeros({x.numel() + offset}, x.dtype(), where);
  Tensor there = memory.slice(0, offset, x.numel() + offset).reshape(x.shape());
  there.copy_(x.to(where));
  return there;
}

Tensor normal(const Shape& shape, DType dtype, uint64_t seed) {
  return Tensor::normal(shape, 7, seed, f32, Device("reference")).to(dtype);
}

/// Relative to the largest number.
double difference(const Tensor& a, const Tensor& b) {
  const Device reference("reference");
  const Tensor x = a.to(reference).to(f64), y = b.to(reference).to(f64);
  return amax(abs(x - y)).item() / (1e-30 + amax(abs(y)).item());
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.to(f64).to_vector<double>() == b.to(f64).to_vector<double>();
}

/// What f makes of the inputs, its outputs like the given ones; f gets inputs, then outputs.
using Kernel = std::function<void(Backend&, const std::vector<View>&)>;
std::vector<Tensor> run(const Kernel& f, const std::vector<Tensor>& inputs, const std::vector<Tensor>& like,
                        int64_t offset, const Device& where) {
  std::vector<Tensor> all, outputs;
  for (const Tensor& t : inputs) all.push_back(placed(t, offset, where));
  for (const Tensor& t : like) outputs.push_back(placed(t, offset, where));
  std::vector<View> views;
  for (const Tensor& t : all) views.push_back(t.view());
  for (const Tensor& t : outputs) views.push_back(t.view());
  f(where.backend(), views);
  return outputs;
}

/// Within `allowed` of the reference's f32 (f64 beside f64), and the same bits at every offset.
void check(const Kernel& f, const std::vector<Tensor>& inputs, const std::vector<Tensor>& like, double allowed) {
  const std::vector<Tensor> got = run(f, inputs, like, 0, device());
  for (const int64_t offset : {1, 2}) {
    const std::vector<Tensor> elsewhere = run(f, inputs, like, offset, device());
    for (size_t i = 0; i < got.size(); ++i) CHECK(same_bits(got[i], elsewhere[i]));
  }
  const auto wide = [](std::vector<Tensor> tensors) {
    for (Tensor& t : tensors)
      if (t.dtype() == bf16) t = t.to(f32);
    return tensors;
  };
  const std::vector<Tensor> expected = run(f, wide(inputs), wide(like), 0, Device("reference"));
  for (size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(difference(got[i], expected[i]) < allowed + (got[i].dtype() == bf16 ? 0x1p-8 : 0));
  }
}

std::vector<DType> dtypes() {
  if (device().backend().computes_bf16()) return {f32, f64, bf16};
  return {f32, f64};
}

}  // namespace

TEST_CASE("batch norm: channels of whole packs and others, few rows and many") {
  for (const DType dtype : dtypes())
    for (const auto& size : std::vector<std::pair<int64_t, int64_t>>{
             {2, 1}, {3, 8}, {33, 64}, {1000, 3}, {700, 24}, {600, 72}, {140, 136}, {5, 1026}, {9, 2088}, {20000, 2}}) {
      const int64_t n = size.first, c = size.second;
      CAPTURE(dtype);
      CAPTURE(n);
      CAPTURE(c);
      const DType wide = wide_dtype(dtype);
      const Tensor x = (normal({n, c}, f32, 1) * 2.0 + 3.0).to(dtype), dy = normal({n, c}, dtype, 2),
                   residual = normal({n, c}, dtype, 3), channel = normal({c}, wide, 4), positive = abs(channel) + 0.5,
                   gamma = normal({c}, wide, 5), beta = normal({c}, wide, 6);
      const double allowed = dtype == f64 ? 1e-12 : 3e-6;
      check([](Backend& on, const std::vector<View>& v) { on.moments(v[1], v[2], v[0]); }, {x}, {channel, channel},
            allowed);
      for (const bool with_residual : {false, true}) {
        check(
            [&](Backend& on, const std::vector<View>& v) {
              on.batch_norm({.y = v[6],
                             .x = v[0],
                             .mean = v[1],
                             .rstd = v[2],
                             .gamma = v[3],
                             .beta = v[4],
                             .residual = with_residual ? v[5] : View(),
                             .relu = true});
            },
            {x, channel, positive, gamma, beta, residual}, {x}, allowed);
        // With y given the mask is its; else it is made again. The residual's gradient is asked for with it.
        for (const bool training : {false, true})
          check(
              [&](Backend& on, const std::vector<View>& v) {
                on.batch_norm_grad({.dx = v[7],
                                    .dgamma = v[9],
                                    .dbeta = v[10],
                                    .dresidual = with_residual ? v[8] : View(),
                                    .dy = v[0],
                                    .x = v[1],
                                    .y = with_residual ? v[6] : View(),
                                    .mean = v[2],
                                    .rstd = v[3],
                                    .gamma = v[4],
                                    .beta = v[5],
                                    .relu = true,
                                    .training = training});
              },
              {dy, x, channel, positive, gamma, beta, residual}, {x, x, gamma, beta}, 20 * allowed);
      }
    }
}

TEST_CASE("moments: one value everywhere has variance 0, an outlier at the front costs no digits") {
  for (const DType dtype : dtypes()) {
    const auto moments = [&](const Tensor& x) {
      return run([](Backend& on, const std::vector<View>& v) { on.moments(v[1], v[2], v[0]); }, {x},
                 {Tensor::zeros({x.size(1)}, wide_dtype(dtype)), Tensor::ones({x.size(1)}, wide_dtype(dtype))}, 0,
                 device());
    };
    const auto equal = moments(Tensor::full({999, 8}, 1000.9, dtype, Device("reference")));
    CHECK(amax(abs(equal[1])).item() < 1e-6);  // of 1000.9 squared
    Tensor x = Tensor::zeros({4096, 8}, dtype, Device("reference"));
    x.slice(0, 0, 1).fill_(0x1p20);
    const auto outlier = moments(x);
    CHECK(difference(outlier[0], Tensor::full({8}, 0x1p8, f64)) < 1e-12);
    CHECK(difference(outlier[1], Tensor::full({8}, 0x1p28 - 0x1p16, f64)) < 1e-6);
  }
}

TEST_CASE("layer norm: rows of a warp, of a block, and longer; whole packs and others") {
  for (const DType dtype : dtypes())
    for (const auto& size : std::vector<std::pair<int64_t, int64_t>>{
             {1, 1}, {5, 3}, {3, 8}, {7, 257}, {6, 768}, {2, 1024}, {2, 1032}, {3, 1500}, {1, 8192}, {2, 8200}}) {
      const int64_t n = size.first, d = size.second;
      CAPTURE(dtype);
      CAPTURE(n);
      CAPTURE(d);
      const DType wide = wide_dtype(dtype);
      const Tensor x = (normal({n, d}, f32, 1) * 2.0 + 30.0).to(dtype), dy = normal({n, d}, dtype, 2),
                   row = normal({n}, wide, 3), positive = abs(row) + 0.5, gamma = normal({d}, wide, 5),
                   beta = normal({d}, wide, 6);
      const double allowed = dtype == f64 ? 1e-11 : 3e-6;
      if (d > 1)
        check(
            [](Backend& on, const std::vector<View>& v) {
              on.layer_norm(
                  {.y = v[3], .mean = v[4], .rstd = v[5], .x = v[0], .gamma = v[1], .beta = v[2], .eps = 1e-6});
            },
            {x, gamma, beta}, {x, row, row}, allowed);
      check(
          [](Backend& on, const std::vector<View>& v) {
            on.layer_norm_grad({.dx = v[5],
                                .dgamma = v[6],
                                .dbeta = v[7],
                                .dy = v[0],
                                .x = v[1],
                                .mean = v[2],
                                .rstd = v[3],
                                .gamma = v[4]});
          },
          {dy, x, row, positive, gamma}, {x, gamma, beta}, 20 * allowed);
      // dx may be dy.
      const Kernel in_place = [](Backend& on, const std::vector<View>& v) {
        on.layer_norm_grad(
            {.dx = v[4], .dgamma = {}, .dbeta = {}, .dy = v[4], .x = v[0], .mean = v[1], .rstd = v[2], .gamma = v[3]});
      };
      const Kernel apart = [](Backend& on, const std::vector<View>& v) {
        on.layer_norm_grad(
            {.dx = v[4], .dgamma = {}, .dbeta = {}, .dy = v[5], .x = v[0], .mean = v[1], .rstd = v[2], .gamma = v[3]});
      };
      CHECK(same_bits(run(in_place, {x, row, positive, gamma}, {dy}, 0, device())[0],
                      run(apart, {x, row, positive, gamma}, {x, dy}, 0, device())[0]));
    }
}

TEST_CASE("element-wise kernels: whole packs, parts of one, and repeated numbers, wherever they begin") {
  for (const DType dtype : dtypes())
    for (const Shape& shape : {Shape{1}, Shape{7}, Shape{8}, Shape{1000}, Shape{5, 8}, Shape{3, 24}, Shape{4, 3, 16}}) {
      CAPTURE(dtype);
      CAPTURE(shape);
      const Tensor a = normal(shape, dtype, 1), b = normal(shape, dtype, 2);
      const Kernel subtract = [](Backend& on, const std::vector<View>& v) {
        on.binary(BinaryOp::Sub, v[2], v[0], v[1]);
      };
      check(subtract, {a, b}, {a}, 0x1p-22);
      check([](Backend& on, const std::vector<View>& v) { on.unary(UnaryOp::Relu, v[1], v[0]); }, {a}, {a}, 0x1p-22);
      check([](Backend& on, const std::vector<View>& v) { on.unary_grad(UnaryOp::Gelu, v[2], v[0], v[1], {}); }, {a, b},
            {a}, 1e-6);
      check([](Backend& on, const std::vector<View>& v) { on.copy(v[1], v[0]); }, {a}, {a.to(f32)}, 0x1p-22);
      const Tensor chosen = greater(a.to(f64), b.to(f64));
      check([](Backend& on, const std::vector<View>& v) { on.select(v[3], v[0], v[1], v[2]); }, {chosen, a, b}, {a},
            0x1p-22);
      // Rows beside one row, one column and one number.
      for (const int kept : {0, 1, 2}) {
        const Kernel beside = [&](Backend& on, const std::vector<View>& v) {
          View repeated = v[1];
          for (int d = 0; d < repeated.shape.rank(); ++d)
            if (kept == 2 || (d == repeated.shape.rank() - 1) != (kept == 0)) repeated.strides[d] = 0;
          on.binary(BinaryOp::Mul, v[2], v[0], repeated);
        };
        check(beside, {a, b}, {a}, 0x1p-22);
      }
    }
}

TEST_CASE("updates: tensors of whole packs and others, together") {
  const std::vector<int64_t> sizes = {1, 3, 4, 5, 8, 1027, 2048};
  const size_t n = sizes.size();
  for (const DType dtype : {f32, f64}) {
    CAPTURE(dtype);
    const auto add_list = [&](std::vector<Tensor>& to, uint64_t seed) {
      for (const int64_t size : sizes) to.push_back(abs(normal({size}, dtype, seed + static_cast<uint64_t>(size))));
    };
    std::vector<Tensor> given = {Tensor::from(std::vector<double>{0.1, 0.2, 0.3}, {3}, Device("reference"))}, changed;
    add_list(given, 10000);
    for (const uint64_t seed : {20000, 30000, 40000}) add_list(changed, seed);
    const auto list = [n](const std::vector<View>& v, size_t i) { return std::span(v).subspan(1 + i * n, n); };
    const double allowed = dtype == f64 ? 1e-14 : 1e-6;
    check(
        [&](Backend& on, const std::vector<View>& v) {
          on.update(AdamWArgs{.params = list(v, 1),
                              .grads = list(v, 0),
                              .exp_avg = list(v, 2),
                              .exp_avg_sq = list(v, 3),
                              .hyper = v[0],
                              .beta1 = 0.9,
                              .beta2 = 0.99,
                              .eps = 1e-8,
                              .weight_decay = 0.1});
        },
        given, changed, allowed);
    for (const double momentum : {0.0, 0.9})
      check(
          [&](Backend& on, const std::vector<View>& v) {
            on.update(SgdArgs{.params = list(v, 1),
                              .grads = list(v, 0),
                              .momentum_buffers = momentum == 0 ? std::span<const View>() : list(v, 2),
                              .hyper = v[0],
                              .momentum = momentum,
                              .weight_decay = 0.1,
                              .nesterov = true});
          },
          given, changed, allowed);
    for (const bool lr_in_buffer : {false, true})
      check(
          [&](Backend& on, const std::vector<View>& v) {
            on.update(LarsArgs{.params = list(v, 1),
                               .grads = list(v, 0),
                               .momentum_buffers = list(v, 2),
                               .hyper = v[0],
                               .weight_decay = 0.1,
                               .lr_in_buffer = lr_in_buffer});
          },
          given, changed, allowed);
    check([&](Backend& on, const std::vector<View>& v) { on.lerp(list(v, 1), list(v, 0), v[0]); }, given, changed,
          allowed);
  }
}
