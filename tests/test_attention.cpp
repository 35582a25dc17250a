// Attention on the default device (see main.cpp) beyond the op table: products of less than f32, very many heads, very
// wide ones.
#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "autograd/ops.h"
#include "tensor/precision.h"

using namespace tacit;

namespace {

struct Sizes {
  int64_t n, heads, queries, keys, D, E;
};

struct Inputs {
  Tensor q, k, v, dy;  // on the reference
};

// Numbers that bf16 holds exactly, and tf32 too.
Inputs bf16_numbers(const Sizes& s, double spread) {
  const auto draw = [&](int64_t tokens, int64_t size, uint64_t stream) {
    const Tensor x = Tensor::normal({s.n, s.heads, tokens, size}, 11, stream, f32, Device("reference"));
    return (x * spread).to(bf16).to(f32);
  };
  return {draw(s.queries, s.D, 1), draw(s.keys, s.D, 2), draw(s.keys, s.E, 3), draw(s.queries, s.E, 4)};
}

struct Results {
  Tensor y, dq, dk, dv;
  std::vector<Tensor> all() const { return {y, dq, dk, dv}; }
};

// By the default device, in the precision of the scope; the results on the reference, in f64.
Results attend(const Inputs& in, double scale = 0) {
  const Device device = default_device();
  const Variable q = Variable::leaf(in.q.to(device)), k = Variable::leaf(in.k.to(device)),
                 v = Variable::leaf(in.v.to(device));
  const Variable y = attention(q, k, v, scale);
  y.backward(in.dy.to(device).to(y.dtype()));
  const auto back = [](const Tensor& t) { return t.to(Device("reference")).to(f64); };
  return {back(y.value()), back(q.grad()), back(k.grad()), back(v.grad())};
}

Tensor t(const Tensor& x) { return x.transpose(-1, -2); }

// Exact results, and how far from them those may be whose weights p and ds are rounded by a part u of themselves, in
// products whose other factors are exact; with y, which ds is made from, and the gradients rounded by a part `stored`.
std::pair<Results, Results> expected(const Inputs& in, double u, double stored = 0) {
  const DeviceScope scope(Device("reference"));
  const Tensor q = in.q.to(f64), k = in.k.to(f64), v = in.v.to(f64), dy = in.dy.to(f64);
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(3)));
  const Tensor p = softmax(matmul(q, t(k)) * scale), y = matmul(p, v);
  const Tensor ds = p * (matmul(dy, t(v)) - sum(dy * y, {-1}, true)) * scale;
  const Results exact{y, matmul(ds, k), matmul(t(ds), q), matmul(t(p), dy)};
  const Tensor off_y = matmul(p, abs(v)) * u + abs(y) * stored;
  const Tensor off_ds = abs(ds) * u + p * sum(abs(dy) * off_y, {-1}, true) * scale;
  return {exact,
          {off_y, matmul(off_ds, abs(k)) + abs(exact.dq) * stored, matmul(t(off_ds), abs(q)) + abs(exact.dk) * stored,
           matmul(t(p), abs(dy)) * u + abs(exact.dv) * stored}};
}

double largest(const Tensor& x) { return amax(abs(x)).item(); }

// What f32 itself may be off by, in parts of the largest value.
constexpr double kF32 = 2e-6;

void check(const Results& got, const std::pair<Results, Results>& expected) {
  const DeviceScope scope(Device("reference"));
  const char* const names[] = {"y", "dq", "dk", "dv"};
  for (size_t i = 0; i < 4; ++i) {
    CAPTURE(names[i]);
    const Tensor exact = expected.first.all()[i], bound = expected.second.all()[i];
    CHECK(amax(abs(got.all()[i] - exact) - bound).item() <= kF32 * largest(exact));
  }
}

struct Rounding {
  Precision allowed;
  double weights, stored;
};
// A device that computes with bf16 keeps y and the gradients in it, too.
std::vector<Rounding> roundings() {
  return {{Precision::TF32, 0x1p-11, 0},
          {Precision::BF16, 0x1p-8, default_device().backend().computes_bf16() ? 0x1p-8 : 0}};
}

}  // namespace

TEST_CASE("attention in tf32 and bf16: value and gradients are off by the rounding of the weights") {
  for (const Sizes& s : std::vector<Sizes>{{1, 2, 67, 45, 64, 64},  // several tiles of both, none of them full
                                           {2, 1, 1, 33, 32, 32},   // one query
                                           {1, 1, 70, 1, 48, 32},   // one key; unequal sizes, 48 in tiles of 64
                                           {1, 1, 16, 32, 32, 64},  // whole tiles
                                           {1, 1, 33, 66, 80, 96},  // in tiles of 128
                                           {1, 2, 20, 35, 128, 128},
                                           // Of bf16, the gradients of a head by one block; 200 keys at most, of 64.
                                           {1, 2, 50, 50, 64, 64},
                                           {2, 1, 65, 65, 64, 64},
                                           {1, 1, 197, 197, 64, 64},
                                           {1, 1, 5, 250, 32, 32},   // 16 warps, one group of queries
                                           {1, 1, 260, 18, 32, 48},  // two warps, 17 groups
                                           {1, 1, 40, 212, 64, 64},  // by two kernels, 14 groups of keys
                                           {1, 1, 150, 300, 32, 32}}) {
    const Inputs in = bf16_numbers(s, 1);
    CAPTURE(s.queries);
    CAPTURE(s.keys);
    CAPTURE(s.D);
    CAPTURE(s.E);
    for (const Rounding& r : roundings()) {
      CAPTURE(r.weights);
      const PrecisionScope scope(r.allowed);
      check(attend(in), expected(in, r.weights, r.stored));
    }
  }
}

TEST_CASE("attention in tf32 and bf16: q, k and v in one block, weights of one key, logits in the hundreds") {
  const Inputs in = bf16_numbers({2, 3, 40, 40, 32, 32}, 1);
  const auto fused = [&] {
    const auto tokens = [](const Tensor& x) { return x.permute({0, 2, 1, 3}).reshape({2, 40, 96}); };
    const Variable qkv = Variable::leaf(
        concatenate(std::vector<Tensor>{tokens(in.q), tokens(in.k), tokens(in.v)}, -1).to(default_device()));
    const Variable y = self_attention(qkv, 3);
    y.backward(tokens(in.dy).to(default_device()).to(y.dtype()));
    const auto heads = [](const Tensor& x) {
      return x.to(Device("reference")).to(f64).reshape({2, 40, 3, 32}).permute({0, 2, 1, 3});
    };
    const Tensor d = qkv.grad();
    return Results{heads(y.value()), heads(d.slice(2, 0, 96)), heads(d.slice(2, 96, 192)), heads(d.slice(2, 192, 288))};
  };
  const Inputs large = bf16_numbers({1, 1, 40, 70, 64, 64}, 6);
  for (const Rounding& r : roundings()) {
    CAPTURE(r.weights);
    const PrecisionScope scope(r.allowed);
    check(fused(), expected(in, r.weights, r.stored));
    const Results got = attend(large);
    for (const Tensor& x : got.all()) CHECK(std::isfinite(largest(x)));
    // Logits of up to some 200 are off by f32's last digits of that.
    const DeviceScope reference(Device("reference"));
    const auto [exact, bound] = expected(large, r.weights, r.stored);
    CHECK(amax(abs(got.y - exact.y) - bound.y).item() <= 1e-4 * largest(exact.y));
    CHECK(amax(abs(got.dv - exact.dv) - bound.dv).item() <= 1e-4 * largest(exact.dv));
  }
}

TEST_CASE("attention in tf32 and bf16: rows that begin at odd addresses, and gradients that are not wanted") {
  for (const Sizes& s : std::vector<Sizes>{{1, 2, 37, 45, 64, 64}, {1, 2, 37, 215, 48, 32}}) {
    const Inputs in = bf16_numbers(s, 1);
    CAPTURE(s.keys);
    for (const Rounding& r : roundings()) {
      CAPTURE(r.weights);
      const PrecisionScope scope(r.allowed);
      const DType dtype = r.stored == 0 ? f32 : bf16;
      // The same numbers in memory of their own, or as rows that begin one number later in longer ones.
      const auto on_device = [&](const Tensor& x, bool odd) {
        const Tensor dense = x.to(default_device()).to(dtype);
        return odd ? concatenate(std::vector<Tensor>{dense.slice(3, 0, 1), dense}, 3).slice(3, 1, x.size(3) + 1)
                   : dense;
      };
      const auto attend_with = [&](bool odd, std::array<bool, 3> wanted) {
        const auto variable = [&](const Tensor& x, bool leaf) {
          return leaf ? Variable::leaf(on_device(x, odd)) : Variable(on_device(x, odd));
        };
        const Variable q = variable(in.q, wanted[0]), k = variable(in.k, wanted[1]), v = variable(in.v, wanted[2]);
        const Variable y = attention(q, k, v);
        y.backward(on_device(in.dy, odd));
        const auto back = [](const Tensor& t) { return t.to(Device("reference")).to(f64); };
        const auto grad = [&](const Variable& x, bool leaf) { return leaf ? back(x.grad()) : Tensor(); };
        return Results{back(y.value()), grad(q, wanted[0]), grad(k, wanted[1]), grad(v, wanted[2])};
      };
      const Results all = attend_with(false, {true, true, true});
      check(all, expected(in, r.weights, r.stored));
      check(attend_with(true, {true, true, true}), expected(in, r.weights, r.stored));
      for (const std::array<bool, 3>& wanted : {std::array{true, false, false}, std::array{false, true, false},
                                                std::array{false, false, true}, std::array{false, true, true}}) {
        const Results some = attend_with(false, wanted);
        CHECK(max_abs_difference(some.y, all.y) == 0);
        for (size_t i = 0; i < 3; ++i)
          if (wanted[i]) CHECK(max_abs_difference(some.all()[i + 1], all.all()[i + 1]) == 0);
      }
    }
  }
}

// Places of a tile beyond the last key have logits of 0, which is far above these.
TEST_CASE("attention in tf32 and bf16: logits far below 0") {
  for (const Sizes& s : std::vector<Sizes>{{1, 1, 20, 37, 64, 64}, {1, 1, 20, 213, 64, 64}}) {
    Inputs in = bf16_numbers(s, 0.125);
    {
      const DeviceScope reference(Device("reference"));
      in.q = (in.q + 8.0).to(bf16).to(f32);
      in.k = (in.k - 8.0).to(bf16).to(f32);
    }
    CAPTURE(s.keys);
    for (const Rounding& r : roundings()) {
      CAPTURE(r.weights);
      const PrecisionScope scope(r.allowed);
      const Results got = attend(in);
      const DeviceScope reference(Device("reference"));
      const auto [exact, bound] = expected(in, r.weights, r.stored);
      for (size_t i = 0; i < 4; ++i) {
        CAPTURE(i);
        CHECK(amax(abs(got.all()[i] - exact.all()[i]) - bound.all()[i]).item() <= 1e-3 * largest(exact.all()[i]));
      }
    }
  }
}

TEST_CASE("attention is f32 outside of the scope, and for sizes that tensor cores have no tiles for") {
  const Inputs usual = bf16_numbers({1, 2, 35, 35, 32, 32}, 1), narrow = bf16_numbers({1, 2, 35, 35, 24, 24}, 1);
  const auto same = [](const Results& a, const Results& b) {
    bool equal = true;
    for (size_t i = 0; i < 4; ++i) equal &= max_abs_difference(a.all()[i], b.all()[i]) == 0;
    return equal;
  };
  const Results before = attend(usual), narrow_before = attend(narrow);
  const bool has_tensor_cores = !default_device().backend().host_accessible();
  for (const Rounding& r : roundings()) {
    const PrecisionScope scope(r.allowed);
    CHECK(same(attend(usual), before) == !has_tensor_cores);
    if (r.stored == 0)
      CHECK(same(attend(narrow), narrow_before));
    else
      check(attend(narrow), expected(narrow, 0, r.stored));
    CHECK(same(attend(usual), attend(usual)));
    const PrecisionScope inner(Precision::F32);
    CHECK(same(attend(usual), before));
  }
}

TEST_CASE("attention: heads wider than shared memory") {
  const Inputs wide = bf16_numbers({1, 2, 7, 37, 1000, 800}, 1);
  check(attend(wide), expected(wide, 0));
  if (!default_device().backend().computes_bf16()) return;
  const PrecisionScope scope(Precision::BF16);
  check(attend(wide), expected(wide, 0, 0x1p-8));
}

TEST_CASE("attention at sizes beyond a grid's rows: 65,537 heads") {
  const Tensor v = Tensor::normal({65537, 1, 1, 1}, 1, 2), ones = Tensor::ones(v.shape());
  CHECK(max_abs_difference(attention(ones, ones, v).value(), v) == 0);
}
