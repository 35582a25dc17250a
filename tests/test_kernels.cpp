// Kernels that the op table does not reach, or not with such inputs: the default device (see main.cpp) against the
// reference, through the Backend interface itself. Random numbers, selection, conversion, multi-tensor updates, and
// what NaN and infinity do.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "tensor/ops.h"
#include "tensor/precision.h"
#include "tensor/random.h"

using namespace tacit;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

const Device& device() {
  static const Device under_test = default_device();
  return under_test;
}
const Device& reference() {
  static const Device device("reference");
  return device;
}

/// f on each device, from a tensor that holds the same values there; the results, on the host.
template <class T, class F>
std::pair<std::vector<T>, std::vector<T>> on_both(const Tensor& x, F f) {
  return {f(x.to(device())).template to_vector<T>(), f(x.to(reference())).template to_vector<T>()};
}

// Equal bit by bit, except that any NaN equals any other.
template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!(a[i] == b[i] || (a[i] != a[i] && b[i] != b[i]))) return false;
  return true;
}

std::vector<float> as_floats(const Tensor& t) { return t.to(f32).to_vector<float>(); }

// Values with ties, signs and everything that comparisons stumble over.
Tensor awkward(const Shape& shape, DType dtype) {
  Random random(5, random_stream("awkward"));
  std::vector<double> values;
  for (int64_t i = 0; i < shape.numel(); ++i) values.push_back(static_cast<double>(random.below(40)) / 8 - 2.5);
  return Tensor::from(values, shape, reference()).to(dtype);
}

}  // namespace

TEST_CASE("random words and uniforms are bit-equal, normals within 4 ulp") {
  for (const int64_t n : {1, 3, 4, 5, 63, 1000, 100003}) {
    CAPTURE(n);
    const auto draw = [n](Distribution d, DType dtype, int64_t step, const Device& device) {
      const Tensor t = Tensor::empty({n}, dtype, device);
      const Tensor at = Tensor::from(std::vector<int64_t>{step}, {1}, device);
      device.backend().random(d, t.view(), 0x123456789abcdef0, 0xfedcba9876543210, at.view());
      return t;
    };
    const auto both = [&](Distribution d, DType dtype, int64_t step) {
      return std::pair(draw(d, dtype, step, device()), draw(d, dtype, step, reference()));
    };
    const auto bits = both(Distribution::Bits, i32, 7);
    CHECK(bits.first.to_vector<int32_t>() == bits.second.to_vector<int32_t>());
    const auto uniform = both(Distribution::Uniform, f32, 7), wide = both(Distribution::Uniform, f64, 7);
    CHECK(uniform.first.to_vector<float>() == uniform.second.to_vector<float>());
    CHECK(wide.first.to_vector<double>() == wide.second.to_vector<double>());
    CHECK(max_abs_difference(uniform.first, wide.first) == 0);
    if (n > 4) CHECK(max_abs_difference(uniform.first, draw(Distribution::Uniform, f32, 8, device())) > 0);

    const auto normal = both(Distribution::Normal, f32, 7);
    const auto a = normal.first.to_vector<float>(), b = normal.second.to_vector<float>();
    bool same_sign = true;
    int64_t worst = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      same_sign &= std::signbit(a[i]) == std::signbit(b[i]);
      worst = std::max(worst, std::abs(int64_t{std::bit_cast<int32_t>(a[i])} - std::bit_cast<int32_t>(b[i])));
    }
    CHECK(same_sign);
    CHECK(worst <= 4);
    const auto doubles = both(Distribution::Normal, f64, 7);
    CHECK(max_abs_difference(doubles.first, doubles.second) < 1e-13);
  }
}

TEST_CASE("argmax, argmin and top_k: ties by index, NaN wins") {
  const Tensor x = awkward({9, 301}, f32);
  for (const int dim : {0, 1}) {
    const auto max = on_both<int64_t>(x, [dim](const Tensor& t) { return argmax(t, dim); });
    const auto min = on_both<int64_t>(x, [dim](const Tensor& t) { return argmin(t, dim); });
    CHECK(max.first == max.second);
    CHECK(min.first == min.second);
  }
  for (const int64_t k : {1, 5, 20, 301}) {
    CAPTURE(k);
    const auto values = on_both<float>(x, [k](const Tensor& t) { return top_k(t, k).first; });
    const auto index = on_both<int64_t>(x, [k](const Tensor& t) { return top_k(t, k).second; });
    CHECK(values.first == values.second);
    CHECK(index.first == index.second);
    const auto strided =
        on_both<int64_t>(x, [k](const Tensor& t) { return top_k(t.t(), std::min<int64_t>(k, 9)).second; });
    CHECK(strided.first == strided.second);
  }
  const Tensor odd = Tensor::from(std::vector<float>{1, 5, static_cast<float>(kNan), 5, -1, 2}, {2, 3});
  const auto max = on_both<int64_t>(odd, [](const Tensor& t) { return argmax(t); });
  CHECK(max.first == std::vector<int64_t>{2, 0});
  CHECK(max.second == max.first);
  const auto min = on_both<int64_t>(odd, [](const Tensor& t) { return argmin(t); });
  CHECK(min.first == std::vector<int64_t>{2, 1});
  CHECK(min.second == min.first);
}

TEST_CASE("scatter_add adds repeated indices in order") {
  const Tensor src = Tensor::normal({500, 37}, 1, 2, f32, reference());
  std::vector<int64_t> where;
  for (int64_t i = 0; i < 500; ++i) where.push_back(i * i % 11);
  for (const int dim : {0, 1}) {
    const auto sums = on_both<float>(src, [&](const Tensor& t) {
      const Tensor index = Tensor::from(where, {500}, t.device());
      return dim == 0 ? scatter_add({11, 37}, 0, index.unsqueeze(1), t) : scatter_add({37, 11}, 1, index, t.t());
    });
    double worst = 0;
    for (size_t i = 0; i < sums.first.size(); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(sums.first[i]) - static_cast<double>(sums.second[i])));
    CHECK(worst < 2e-5);
  }
}

TEST_CASE("index_copy_ writes rows, of any strides, and no others") {
  const Tensor src = Tensor::normal({5, 2, 3}, 1, 2, f32, reference());
  for (const bool transposed : {false, true}) {
    const auto rows = on_both<float>(src, [&](const Tensor& t) {
      const Tensor all = Tensor::full(transposed ? Shape{3, 2, 8} : Shape{8, 2, 3}, 7, f32, t.device());
      const Tensor index = Tensor::from(std::vector<int64_t>{6, 0, 3, 7, 1}, {5}, t.device());
      index_copy_(transposed ? all.transpose(0, 2) : all, index, t);
      return all;
    });
    CHECK(rows.first == rows.second);
    CHECK(std::count(rows.first.begin(), rows.first.end(), 7.0f) == 18);
  }
}

TEST_CASE("copy converts between all dtypes, dense and strided") {
  const DType dtypes[] = {f32, f64, bf16, i64, i32, u8};
  for (const DType from : dtypes)
    for (const DType to : dtypes) {
      CAPTURE(from);
      CAPTURE(to);
      const Tensor x = awkward({37, 53}, from);  // -2.5 … 2.375: truncation, and modulo 256 into u8
      const auto dense = std::pair(x.to(device()).to(to), x.to(reference()).to(to));
      CHECK(as_floats(dense.first) == as_floats(dense.second));
      const auto strided = [&](const Device& device) {
        const Tensor out = Tensor::zeros({53, 74}, to, device);
        out.slice(1, 0, 74, 2).copy_(x.to(device).t());
        return as_floats(out);
      };
      CHECK(strided(device()) == strided(reference()));
      const auto spread = [&](const Device& device) {
        return as_floats(x.to(device).slice(0, 3, 4).broadcast_to({5, 53}).clone().to(to));
      };
      CHECK(spread(device()) == spread(reference()));
    }
  CHECK(Tensor::from(std::vector<float>{-1.5f, 255.9f, 3.0f}, {3}, device()).to(u8).to_vector<uint8_t>() ==
        std::vector<uint8_t>{255, 255, 3});
}

TEST_CASE("bf16 rounds to nearest even and keeps NaN and infinity") {
  const std::vector<float> values = {
      1.0f,   1.00390625f, 1.01171875f, -0.0f, 3.4e38f, static_cast<float>(kInf), static_cast<float>(kNan),
      1e-40f, 65504.0f};
  const auto rounded = on_both<float>(Tensor::from(values, {9}), [](const Tensor& t) { return t.to(bf16).to(f32); });
  CHECK(same(rounded.first, rounded.second));
  CHECK(rounded.first[1] == 1.0f);       // a tie, to even
  CHECK(rounded.first[2] == 1.015625f);  // a tie, to even
  CHECK(std::isinf(rounded.first[5]));
  CHECK(std::isnan(rounded.first[6]));
}

TEST_CASE("element-wise functions agree on extreme inputs, and their derivatives are finite there") {
  std::vector<float> values = {0.0f, -0.0f, static_cast<float>(kInf), -static_cast<float>(kInf),
                               static_cast<float>(kNan)};
  for (float v = 1e-30f; v < 1e30f; v *= 7) values.insert(values.end(), {v, -v});
  for (float v = -200; v <= 200; v += 0.37f) values.push_back(v);
  const auto n = static_cast<int64_t>(values.size());
  const Tensor x = Tensor::from(values, {n});
  const auto check = [&](UnaryOp op, const std::string& name) {
    CAPTURE(name);
    const auto derivative = [op](const Tensor& t) {
      return unary_grad(op, Tensor::ones(t.shape(), t.dtype(), t.device()), t, unary(op, t));
    };
    const auto y = on_both<float>(x, [op](const Tensor& t) { return unary(op, t); });
    const auto dx = on_both<float>(x, derivative);
    const Tensor wide = x.to(reference()).to(f64);
    const auto exact = unary(op, wide).to_vector<double>(), exact_dx = derivative(wide).to_vector<double>();
    std::vector<float> wrong;  // inputs
    for (size_t i = 0; i < values.size(); ++i) {
      bool good =
          std::isnan(y.first[i]) == std::isnan(y.second[i]) && std::isinf(y.first[i]) == std::isinf(y.second[i]);
      // What is finite in f64, and small enough for f32, is finite in f32.
      const bool small = std::abs(exact[i]) < 1e37;
      if (small)
        good &= std::isfinite(y.first[i]) && std::abs(y.first[i] - exact[i]) <= 1e-6 * std::abs(exact[i]) + 1e-6;
      if (small && std::abs(exact_dx[i]) < 1e37) good &= std::isfinite(dx.first[i]);
      if (std::isnan(values[i])) good &= std::isnan(y.first[i]);
      if (!good) wrong.push_back(values[i]);
    }
    CHECK(wrong == std::vector<float>());
  };
#define TACIT_CHECK_UNARY(Functor, name, low, high) check(UnaryOp::Functor, #name);
  TACIT_FOREACH_UNARY(TACIT_CHECK_UNARY)
#undef TACIT_CHECK_UNARY
}

TEST_CASE("NaN is never lost") {
  const float nan = static_cast<float>(kNan);
  std::vector<float> values(1000, 1.0f);
  values[613] = nan;
  const Tensor x = Tensor::from(values, {10, 100});
  const Tensor ones = Tensor::ones({10, 100});
  for (const auto& f : std::vector<std::function<Tensor(const Tensor&)>>{
           [](const Tensor& t) { return sum(t); }, [](const Tensor& t) { return mean(t, {1}); },
           [](const Tensor& t) { return amax(t); }, [](const Tensor& t) { return amin(t, {0}); },
           [](const Tensor& t) { return amax(t, {1}); }, [](const Tensor& t) { return softmax(t); },
           [](const Tensor& t) { return log_softmax(t); }, [](const Tensor& t) { return relu(t); },
           [&](const Tensor& t) { return maximum(t, ones.to(t.device())); },
           [&](const Tensor& t) { return minimum(ones.to(t.device()), t); },
           [&](const Tensor& t) { return matmul(t, ones.to(t.device()).t()); },
           [&](const Tensor& t) {
             return max_pool2d(t.reshape({1, 10, 10, 10}));
           },
           [&](const Tensor& t) { return moments(t).var; },
           [](const Tensor& t) { return sum_squares(std::vector<Tensor>{t}).to(f32); }}) {
    const auto y = on_both<float>(x, f);
    CHECK(same(y.first, y.second));
    CHECK(std::any_of(y.first.begin(), y.first.end(), [](float v) { return v != v; }));
  }
}

TEST_CASE("softmax and cross-entropy with -inf logits and with large ones") {
  const float inf = static_cast<float>(kInf);
  const std::vector<float> values = {0, -inf, 1, 2, -inf, -inf, 3, -inf, 1000, 999, 0, -1000, -5, -5, -5, -5};
  const Tensor x = Tensor::from(values, {4, 4});
  const auto p = on_both<float>(x, [](const Tensor& t) { return softmax(t); });
  CHECK(p.first[1] == 0);
  CHECK(p.first[6] == 1);
  CHECK(p.first[12] == 0.25f);
  const auto log_p = on_both<float>(x, [](const Tensor& t) { return log_softmax(t); });
  CHECK(log_p.first[1] == -inf);
  CHECK(log_p.first[6] == 0);
  for (size_t i = 0; i < values.size(); ++i) {
    CHECK(p.first[i] == doctest::Approx(p.second[i]).epsilon(1e-6));
    CHECK((log_p.first[i] == log_p.second[i] || log_p.first[i] == doctest::Approx(log_p.second[i]).epsilon(1e-6)));
  }
  const auto loss = [&](const Device& device) {
    const Tensor logits = x.to(device), labels = Tensor::from(std::vector<int64_t>{0, 2, 1, 3}, {4}, device);
    const Tensor losses = Tensor::empty({4}, f32, device), lse = Tensor::empty({4}, f32, device);
    const Tensor dlogits = Tensor::empty({4, 4}, f32, device), ones = Tensor::ones({4}, f32, device);
    device.backend().cross_entropy(losses.view(), lse.view(), logits.view(), labels.view(), 0);
    device.backend().cross_entropy_grad(dlogits.view(), ones.view(), logits.view(), lse.view(), labels.view(), 0);
    return concatenate(std::vector<Tensor>{losses.unsqueeze(1), dlogits}, 1).to_vector<float>();
  };
  const auto a = loss(device()), b = loss(reference());
  for (size_t i = 0; i < a.size(); ++i) {
    CHECK(std::isfinite(a[i]));
    CHECK(a[i] == doctest::Approx(b[i]).epsilon(1e-5));
  }
}

TEST_CASE("sum_squares over many tensors") {
  for (const DType dtype : {f32, f64}) {
    const auto total = [&](const Device& device) {
      std::vector<Tensor> xs;
      for (const int64_t n : {1, 7, 100, 70001})
        xs.push_back(Tensor::normal({n}, 1, static_cast<uint64_t>(n), dtype, reference()).to(device));
      return sum_squares(xs).item();
    };
    CHECK(total(device()) == doctest::Approx(total(reference())).epsilon(1e-12));
  }
}

namespace {
// Parameter-like tensors of odd sizes, made on the host.
std::vector<Tensor> many(uint64_t stream, DType dtype, const Device& device) {
  std::vector<Tensor> ts;
  for (const int64_t n : {1, 5, 33, 1024, 70001})
    ts.push_back(Tensor::normal({n}, 9, stream + static_cast<uint64_t>(n) * 16, dtype, reference()).to(device));
  return ts;
}
std::vector<View> views(const std::vector<Tensor>& ts) {
  std::vector<View> v;
  for (const Tensor& t : ts) v.push_back(t.view());
  return v;
}
double worst_difference(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, max_abs_difference(a[i], b[i]));
  return worst;
}
}  // namespace

TEST_CASE("lerp moves every target by the weight") {
  for (const double weight : {0.0, 0.004, 1.0}) {
    const auto moved = [&](const Device& device) {
      const std::vector<Tensor> targets = many(1, f32, device), sources = many(2, f32, device);
      lerp_(targets, sources, Tensor::scalar(weight, f64, device));
      return targets;
    };
    const std::vector<Tensor> got = moved(device());
    CHECK(worst_difference(got, moved(reference())) < 1e-6);
    if (weight == 1.0) CHECK(worst_difference(got, many(2, f32, reference())) < 1e-6);
    if (weight == 0.0) CHECK(worst_difference(got, many(1, f32, reference())) == 0);
  }
}

TEST_CASE("sgd and adamw: three steps of a changing learning rate") {
  for (const DType dtype : {f32, f64}) {
    const double allowed = dtype == f32 ? 4e-6 : 1e-12;
    for (const bool nesterov : {false, true}) {
      const auto sgd = [&](const Device& device) {
        std::vector<Tensor> params = many(1, dtype, device), buffers = many(3, dtype, device);
        for (int step = 1; step <= 3; ++step) {
          const Tensor hyper = Tensor::from(std::vector<double>{0.1 / step}, {1}, device);
          const std::vector<Tensor> grads = many(10 + static_cast<uint64_t>(step), dtype, device);
          const auto p = views(params), g = views(grads), m = views(buffers);
          device.backend().update(SgdArgs{p, g, m, hyper.view(), 0.9, 1e-2, nesterov});
        }
        params.insert(params.end(), buffers.begin(), buffers.end());
        return params;
      };
      CHECK(worst_difference(sgd(device()), sgd(reference())) < allowed);
    }
    const auto plain = [&](const Device& device) {
      const std::vector<Tensor> params = many(1, dtype, device), grads = many(2, dtype, device);
      const Tensor hyper = Tensor::from(std::vector<double>{0.1}, {1}, device);
      const auto p = views(params), g = views(grads);
      device.backend().update(SgdArgs{.params = p, .grads = g, .momentum_buffers = {}, .hyper = hyper.view()});
      return params;
    };
    CHECK(worst_difference(plain(device()), plain(reference())) < allowed);
    const auto adamw = [&](const Device& device) {
      std::vector<Tensor> params = many(1, dtype, device), m, v;
      for (const Tensor& t : params) {
        m.push_back(Tensor::zeros(t.shape(), dtype, device));
        v.push_back(Tensor::zeros(t.shape(), dtype, device));
      }
      for (int step = 1; step <= 3; ++step) {
        const std::vector<double> rates = {0.01 / step, 1 - std::pow(0.9, step), 1 - std::pow(0.999, step)};
        const Tensor hyper = Tensor::from(rates, {3}, device);
        const std::vector<Tensor> grads = many(10 + static_cast<uint64_t>(step), dtype, device);
        const auto p = views(params), g = views(grads), vm = views(m), vv = views(v);
        device.backend().update(AdamWArgs{p, g, vm, vv, hyper.view(), 0.9, 0.999, 1e-8, 0.05});
      }
      params.insert(params.end(), v.begin(), v.end());
      return params;
    };
    CHECK(worst_difference(adamw(device()), adamw(reference())) < allowed);
  }
}

TEST_CASE("arithmetic and comparisons of every type are exact, but for libm's pow") {
  for (const DType dtype : {i64, i32, u8, f32, f64}) {
    CAPTURE(dtype);
    const Tensor a = awkward({33, 65}, f32).to(dtype), b = awkward({65}, f64).to(dtype);
    const auto check = [&](const std::string& name, const auto& op) {
      CAPTURE(name);
      const Tensor y = op(a.to(device()), b.to(device())), z = op(a.to(reference()), b.to(reference()));
      if (name != "pow" || !is_floating(dtype)) {
        CHECK(same(as_floats(y), as_floats(z)));
        return;
      }
      const std::vector<float> got = as_floats(y), expected = as_floats(z);
      for (size_t i = 0; i < got.size(); ++i) {
        const bool both_nan = got[i] != got[i] && expected[i] != expected[i];
        const bool close =
            std::abs(got[i] - expected[i]) <= 4 * std::numeric_limits<float>::epsilon() * std::abs(expected[i]);
        if (!both_nan && got[i] != expected[i] && !close) FAIL_CHECK(got[i], " is not ", expected[i]);
      }
    };
#define TACIT_CHECK_BINARY(Functor, name, compares) \
  check(#name, [](const Tensor& p, const Tensor& q) { return name(p, q); });
    TACIT_FOREACH_BINARY(TACIT_CHECK_BINARY)
#undef TACIT_CHECK_BINARY
  }
}

TEST_CASE("element-wise kernels may write to their input") {
  for (const Device& device : {device(), reference()}) {
    const Tensor x = awkward({7, 101}, f32).to(device), expected = exp(x * 2.0);
    Tensor y = x.clone();
    y.add_(y);
    device.backend().unary(UnaryOp::Exp, y.view(), y.view());
    CHECK(max_abs_difference(y, expected) == 0);
    device.backend().fill(y.slice(1, 0, 101, 2).view(), 3);
    CHECK(y.slice(1, 0, 101, 2).to(f64).to_vector<double>() == std::vector<double>(7 * 51, 3.0));
    CHECK(max_abs_difference(y.slice(1, 1, 101, 2), expected.slice(1, 1, 101, 2)) == 0);
  }
}

TEST_CASE("tf32 and bf16 are for the scope that asks for them: products and convolutions are f32 before and after") {
  Random random(6, random_stream("tf32"));
  std::vector<double> values;
  for (int64_t i = 0; i < 2 * 64 * 64; ++i) values.push_back(random.uniform() - 0.5);
  const Tensor a = Tensor::from(values, {2, 64, 64}, device()).to(f32), b = a.transpose(1, 2);
  const Tensor image = a.reshape({2, 8, 8, 64}),
               w = a.reshape({2 * 64 * 64}).slice(0, 0, 8 * 9 * 64).reshape({8, 3, 3, 64});
  const auto product = [&] { return matmul(a, b); };
  const auto convolution = [&] { return conv2d(image, w, {.padding = 1}); };
  const auto check = [&](const auto& f) {
    const Tensor before = f();
    const double size = max_abs_difference(before, before * 0.0);
    for (const auto& [allowed, error] : {std::pair(Precision::TF32, 0x1p-11), std::pair(Precision::BF16, 0x1p-8)}) {
      const PrecisionScope outer(allowed);
      CHECK(precision() == allowed);
      // 64 or 576 terms of either sign, each of two factors rounded by at most `error`.
      CHECK(max_abs_difference(f(), before) <= 4 * error * size);
      {
        const PrecisionScope inner(Precision::F32);
        CHECK(max_abs_difference(f(), before) == 0);
      }
      CHECK(precision() == allowed);
    }
    CHECK(precision() == Precision::F32);
    CHECK(max_abs_difference(f(), before) == 0);
  };
  check(product);
  check(convolution);
  const Window window = conv2d_geometry(image.shape(), w.shape(), {.padding = 1}).first;
  const Tensor dy = convolution();
  check([&] { return conv2d_dx(image.shape(), dy, w, window); });
  check([&] { return conv2d_dw(w.shape(), image, dy, window); });
}

TEST_CASE("none of this fell back") { CHECK(device().backend().fallbacks() == 0); }
