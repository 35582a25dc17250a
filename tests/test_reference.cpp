// The reference backend against small cases computed by hand, so that the definition itself is checked: element-wise
// ops, reductions, products, indexing, random numbers. The layers' kernels are in test_reference_layers.cpp.
#include <limits>

#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::testing;

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
}  // namespace

TEST_CASE_FIXTURE(OnReference, "the fixture computes on the reference backend") {
  CHECK(Tensor::ones({1}).backend().name() == std::string("reference"));
  CHECK(Tensor::ones({1}).backend().fallbacks() == 0);
}

TEST_CASE_FIXTURE(OnReference, "fill: every dtype, and only the elements of a strided view") {
  for (const DType t : {f32, f64, bf16, i64, i32, u8}) {
    Tensor x = Tensor::zeros({2, 3}, t);
    x.slice(1, 0, 3, 2).fill_(7);
    check_values(x, {7, 0, 7, 7, 0, 7});
  }
}

TEST_CASE_FIXTURE(OnReference, "copy: integers by truncation, u8 modulo 256, out-of-range values defined") {
  const Tensor x = tensor_of({2.9, -2.9, 300.7, -1, kNaN}, {5});
  check_values(x.to(i64), {2, -2, 300, -1, 0});
  check_values(x.to(i32), {2, -2, 300, -1, 0});
  check_values(x.to(u8), {2, 254, 44, 255, 0});
  const auto extremes = tensor_of({1e30, -1e30, kInfinity}, {3}).to(i64).to_vector<int64_t>();
  CHECK(extremes == std::vector<int64_t>{INT64_MAX, INT64_MIN, INT64_MAX});
  CHECK(Tensor::from(std::vector<int64_t>{(int64_t{1} << 53) + 1}, {1}).to(i64).to_vector<int64_t>()[0] ==
        (int64_t{1} << 53) + 1);
  check_values(Tensor::from(std::vector<int64_t>{257, -1}, {2}).to(u8), {1, 255});
  check_values(tensor_of({1, 2, 3, 4, 5, 6}, {2, 3}).t().to(f64), {1, 4, 2, 5, 3, 6});
}

TEST_CASE_FIXTURE(OnReference, "unary: values and derivatives known to many digits") {
  struct Case {
    UnaryOp op;
    double x, y, dy_dx;
  };
  const Case cases[] = {
      {UnaryOp::Neg, 3, -3, -1},
      {UnaryOp::Abs, -2, 2, -1},
      {UnaryOp::Abs, 0, 0, 0},
      {UnaryOp::Exp, 1, 2.718281828459045, 2.718281828459045},
      {UnaryOp::Log, 2, 0.6931471805599453, 0.5},
      {UnaryOp::Sqrt, 4, 2, 0.25},
      {UnaryOp::Rsqrt, 4, 0.5, -0.0625},
      {UnaryOp::Square, 3, 9, 6},
      {UnaryOp::Reciprocal, 4, 0.25, -0.0625},
      {UnaryOp::Sin, 1, 0.8414709848078965, 0.5403023058681398},
      {UnaryOp::Cos, 1, 0.5403023058681398, -0.8414709848078965},
      {UnaryOp::Tanh, 1, 0.7615941559557649, 0.41997434161402614},
      {UnaryOp::Tanh, 0.1, 0.09966799462495582, 0.9900662908474398},
      {UnaryOp::Erf, 1, 0.8427007929497149, 0.41510749742059466},
      {UnaryOp::Erf, -0.5, -0.5204998778130465, 0.8787825789354449},
      {UnaryOp::Sigmoid, 1, 0.7310585786300049, 0.19661193324148185},
      {UnaryOp::Relu, 2, 2, 1},
      {UnaryOp::Relu, -2, 0, 0},
      {UnaryOp::Relu, 0, 0, 0},
      {UnaryOp::Gelu, 1, 0.8413447460685429, 1.0833154705876864},
      {UnaryOp::Silu, 1, 0.7310585786300049, 0.9276705118714867},
      {UnaryOp::Softplus, 1, 1.3132616875182228, 0.7310585786300049},
      {UnaryOp::Softplus, 100, 100, 1},
  };
  for (const DType t : {f32, f64})
    for (const Case& c : cases) {
      CAPTURE(static_cast<int>(c.op));
      CAPTURE(c.x);
      const Tensor x = Tensor::full({2}, c.x, t), y = unary(c.op, x);
      const double tolerance = t == f32 ? 1e-6 : 1e-14;
      check_values(y, {c.y, c.y}, tolerance);
      check_values(unary_grad(c.op, Tensor::full({2}, 3, t), x, y), {3 * c.dy_dx, 3 * c.dy_dx}, 2 * tolerance);
    }
    // Every function passes a NaN on.
#define TACIT_CHECK_NAN(Functor, name, low, high) check_values(name(tensor_of({kNaN}, {1})), {kNaN});
  TACIT_FOREACH_UNARY(TACIT_CHECK_NAN)
#undef TACIT_CHECK_NAN
  Tensor z = tensor_of({-1, 2}, {2});
  backend.unary(UnaryOp::Square, z.view(), z.view());
  check_values(z, {1, 4});
}

TEST_CASE_FIXTURE(OnReference, "binary: arithmetic, comparisons, NaN, integers, broadcasting") {
  const Tensor a = tensor_of({1, -2, 3}, {3}), b = tensor_of({2, -2, 0.5}, {3});
  check_values(a + b, {3, -4, 3.5});
  check_values(a - b, {-1, 0, 2.5});
  check_values(a * b, {2, 4, 1.5});
  check_values(a / b, {0.5, 1, 6});
  check_values(maximum(a, b), {2, -2, 3});
  check_values(minimum(a, b), {1, -2, 0.5});
  check_values(pow(tensor_of({2, 9}, {2}), tensor_of({3, 0.5}, {2})), {8, 3});
  check_values(equal(a, b), {0, 1, 0});
  check_values(not_equal(a, b), {1, 0, 1});
  check_values(less(a, b), {1, 0, 0});
  check_values(less_equal(a, b), {1, 1, 0});
  check_values(greater(a, b), {0, 0, 1});
  check_values(greater_equal(a, b), {0, 1, 1});
  CHECK(less(a, b).dtype() == u8);

  const Tensor nan = Tensor::full({1}, kNaN), one = Tensor::ones({1});
  for (const Tensor& r : {maximum(nan, one), maximum(one, nan), minimum(nan, one), minimum(one, nan)})
    check_values(r, {kNaN});
  check_values(equal(nan, nan), {0});

  for (const DType t : {i64, i32, u8}) {
    const Tensor x = tensor_of({7, 9, 5}, {3}, t), y = tensor_of({2, 3, 0}, {3}, t);
    check_values(x / y, {3, 3, 0});
    check_values(x - y, {5, 6, 5});
    check_values(pow(x, y), {49, t == u8 ? 729.0 - 512 : 729.0, 1});
    check_values(greater(x, y), {1, 1, 1});
  }
  // As torch: exact where it fits, wrapping around where it does not, fractions are 0.
  CHECK(pow(Tensor::full({1}, 3, i64), Tensor::full({1}, 39, i64)).to_vector<int64_t>()[0] == 4052555153018976267);
  check_values(pow(tensor_of({2, 46341}, {2}, i32), tensor_of({40, 2}, {2}, i32)), {0, -2147479015});
  check_values(pow(tensor_of({-1, -1, 2, 1, 0}, {5}, i32), tensor_of({-3, -2, -1, -5, -1}, {5}, i32)),
               {-1, 1, 0, 1, 0});
  const Tensor lowest = Tensor::from(std::vector<int64_t>{INT64_MIN, 6}, {2});
  CHECK((lowest / Tensor::full({2}, -1, i64)).to_vector<int64_t>() == std::vector<int64_t>{INT64_MIN, -6});
  check_values(tensor_of({1, 2, 3, 4}, {2, 2}).t() - tensor_of({1, 10}, {2, 1}), {0, 2, -8, -6});
  CHECK_THROWS_AS(Tensor::ones({1}, bf16) + Tensor::ones({1}, bf16), Error);
}

TEST_CASE_FIXTURE(OnReference, "select: any dtype, any nonzero condition, broadcasting") {
  const Tensor cond = tensor_of({1, 0, 255}, {3}, u8);
  for (const DType t : {f32, f64, bf16, i64, i32, u8})
    check_values(where(cond, tensor_of({1, 2, 3}, {3}, t), Tensor::full({1}, 9, t)), {1, 9, 3});
}

TEST_CASE_FIXTURE(OnReference, "reduce: over any dimensions, strided, NaN wins, f32 summed in double") {
  const Tensor x = tensor_of({1, 5, 3, 4, 2, 6}, {2, 3});
  check_values(sum(x, {0}), {5, 7, 9});
  check_values(sum(x, {1}), {9, 12});
  check_values(sum(x), {21});
  check_values(mean(x, {1}), {3, 4});
  check_values(amax(x, {0}), {4, 5, 6});
  check_values(amin(x, {1}), {1, 2});
  check_values(sum(x.t(), {0}), {9, 12});
  check_values(sum(x.slice(1, 0, 3, 2), {0}), {5, 9});
  check_values(sum(tensor_of({1, 2}, {2, 1}).broadcast_to({2, 3}), {1}), {3, 6});
  check_values(amax(tensor_of({1, kNaN, 3}, {3})), {kNaN});
  check_values(amin(tensor_of({kNaN, 1, -3}, {3})), {kNaN});
  check_values(amax(tensor_of({-kInfinity, -kInfinity}, {2})), {-kInfinity});
  check_values(sum(tensor_of({16777216, 1, 1}, {3})), {16777218}, 0);
}

TEST_CASE_FIXTURE(OnReference, "argmax and top-k: the lowest index among equals, NaN is largest") {
  check_values(argmax(tensor_of({1, 3, 3, 0, 0, 0}, {2, 3})), {1, 0});
  check_values(argmin(tensor_of({1, 0, 0, 2, kNaN, kNaN}, {2, 3})), {1, 1});
  check_values(argmax(tensor_of({1, 3, 3, 0, 7, 0}, {2, 3}), 0), {0, 1, 0});

  const auto ties = top_k(tensor_of({1, 3, 2, 3, kNaN, 3}, {6}), 4);
  check_values(ties.first, {kNaN, 3, 3, 3});
  check_values(ties.second, {4, 1, 3, 5});
  const auto columns = top_k(tensor_of({1, 6, 4, 2, 5, 3}, {3, 2}, f64).t(), 2);
  check_values(columns.first, {5, 4, 6, 3});
  check_values(columns.second, {2, 1, 0, 2});
}

TEST_CASE_FIXTURE(OnReference, "matmul: plain, transposed, batched with broadcasting, empty inner dimension") {
  const Tensor a = tensor_of({1, 2, 3, 4, 5, 6}, {2, 3}), b = tensor_of({1, 0, 2, 1, 0, 3}, {3, 2});
  check_values(matmul(a, b), {5, 11, 14, 23});
  check_values(matmul(a, a.t()), {14, 32, 32, 77});
  check_values(matmul(a.t(), a), {17, 22, 27, 22, 29, 36, 27, 36, 45});
  const Tensor batch = tensor_of({1, 0, 0, 1, 2, 0, 0, 2}, {2, 2, 2});
  check_values(matmul(batch, tensor_of({1, 2}, {2, 1})), {1, 2, 2, 4});
  check_values(matmul(Tensor::ones({2, 0}), Tensor::ones({0, 2})), {0, 0, 0, 0});
  const float third = 1.0f / 3;
  CHECK(matmul(Tensor::full({1, 3}, third), Tensor::ones({3, 1})).item() == static_cast<float>(3.0 * third));
}

TEST_CASE_FIXTURE(OnReference, "gather and scatter_add are each other's transposes") {
  const Tensor x = tensor_of({1, 2, 3, 4, 5, 6}, {2, 3});
  check_values(gather(x, 1, tensor_of({2, 0, 1, 1}, {2, 2}, i64)), {3, 1, 5, 5});
  check_values(index_select(x, 0, tensor_of({1, 1, 0}, {3}, i64)), {4, 5, 6, 4, 5, 6, 1, 2, 3});
  check_values(index_select(x.t(), 1, tensor_of({1}, {1}, i64)), {4, 5, 6});
  check_values(gather(x.to(u8), 0, tensor_of({1}, {1, 1}, i64)), {4, 5, 6});
  check_values(scatter_add({2, 3}, 1, tensor_of({2, 2, 0, 1}, {2, 2}, i64), tensor_of({1, 2, 3, 4}, {2, 2})),
               {0, 0, 3, 3, 4, 0});
  check_values(scatter_add({3, 2}, 0, tensor_of({2, 2}, {2, 1}, i64), tensor_of({1, 2, 3, 4}, {2, 2})),
               {0, 0, 0, 0, 4, 6});
}

TEST_CASE_FIXTURE(OnReference, "random: bits, uniforms and normals by position; step and stream count") {
  const auto draw = [&](Distribution kind, DType t, uint64_t stream, int64_t at_step) {
    const Tensor out = Tensor::empty({6}, t), step = Tensor::full({1}, static_cast<double>(at_step), i64);
    backend.random(kind, out.view(), 77, stream, step.view());
    return values_of(out);
  };
  const auto bits = draw(Distribution::Bits, i32, 5, 2);
  const auto uniform = draw(Distribution::Uniform, f32, 5, 2), normal = draw(Distribution::Normal, f64, 5, 2);
  for (uint32_t i = 0; i < 6; ++i) {
    const auto words = random_block(77, 5, 2, i / 4);
    CHECK(bits[i] == static_cast<int32_t>(words[i % 4]));
    CHECK(uniform[i] == uniform_from(words[i % 4]));
    const auto pair = i % 4 < 2 ? normals_from(words[0], words[1]) : normals_from(words[2], words[3]);
    CHECK(normal[i] == pair[i % 2]);
  }
  CHECK(draw(Distribution::Bits, i32, 5, 3) != bits);
  CHECK(draw(Distribution::Bits, i32, 6, 2) != bits);
}
