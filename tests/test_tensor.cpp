// Tensors: views that share memory, copies between dtypes and devices, broadcasting, ops' checks, printing.
#include "tensor/tensor.h"

#include <limits>
#include <sstream>

#include "tensor/counted.h"
#include "tensor/ops.h"
#include "tensor/read_file.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

Tensor counting(const Shape& shape, DType dtype = f32) { return Tensor::arange(shape.numel(), dtype).reshape(shape); }

std::string printed(const Tensor& t) {
  std::ostringstream out;
  out << t;
  return out.str();
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("read_file: an error of the disk is not the end of the file") {
  CHECK_THROWS_WITH_AS(read_file("/proc/self/mem"), doctest::Contains("cannot read /proc/self/mem"), Error);
  CHECK_THROWS_WITH_AS(read_file("/proc"), doctest::Contains("it is a directory"), Error);
  CHECK(read_file("/dev/null").empty());
}

TEST_CASE("shapes: up to six sizes, indexed from both ends") {
  const Shape shape{2, 3, 4};
  CHECK(shape.rank() == 3);
  CHECK(shape[-1] == 4);
  CHECK(shape.numel() == 24);
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{5, 0}.numel() == 0);
  CHECK(row_major(shape) == Strides{12, 4, 1});
  CHECK_THROWS_AS(shape[3], Error);
  CHECK_THROWS_AS(shape[-4], Error);
  CHECK_THROWS_AS((Shape{1, 1, 1, 1, 1, 1, 1}), Error);
  std::ostringstream text;
  text << Shape{} << Shape{5} << shape;
  CHECK(text.str() == "()(5,)(2, 3, 4)");
}

TEST_CASE("broadcasting follows NumPy's rule") {
  CHECK(broadcast("op", {2, 1, 4}, {3, 1}) == Shape{2, 3, 4});
  CHECK(broadcast("op", {}, {3}) == Shape{3});
  CHECK(broadcast("op", {0}, {1}) == Shape{0});
  CHECK(error_of([] { broadcast("add", {2, 3}, {2}); }) == "[add] shapes do not broadcast: (2, 3) and (2,)");
  check_values(counting({2, 3}) + counting({3}), {0, 2, 4, 3, 5, 7});
  check_values(counting({2, 1}) * counting({1, 3}), {0, 0, 0, 0, 1, 2});
}

TEST_CASE("making tensors: values, and shapes that cannot be") {
  check_values(Tensor::full({2, 2}, 1.5, f64), {1.5, 1.5, 1.5, 1.5});
  check_values(Tensor::arange(3), {0, 1, 2});
  CHECK(Tensor::scalar(3).item() == 3);
  CHECK(Tensor::zeros({0, 3}).to_vector<float>().empty());
  CHECK_FALSE(Tensor().defined());
  CHECK(mentions(error_of([] { Tensor::empty({-1}); }), "negative size"));
  CHECK(mentions(error_of([] { Tensor::empty({int64_t{1} << 40, int64_t{1} << 40}); }), "too many elements"));
  CHECK(mentions(error_of([] { Tensor::from(std::vector<float>{1, 2, 3}, {2}); }), "3 values do not fill shape (2,)"));
  CHECK(mentions(error_of([] { Tensor().device(); }), "undefined"));
  CHECK(mentions(error_of([] { Tensor::ones({2}).item(); }), "not one element"));
  CHECK(mentions(error_of([] { Tensor::ones({2}).to_vector<double>(); }), "f32, not f64"));
}

TEST_CASE("views share memory; writes through one are seen through the others") {
  const Tensor x = counting({2, 3});
  const Tensor column = x.slice(1, 1, 2), transposed = x.t(), row = x.select(0, -1);
  CHECK(column.shares_memory_with(x));
  CHECK_FALSE(x.unshared());
  check_values(column, {1, 4});
  check_values(transposed, {0, 3, 1, 4, 2, 5});
  check_values(row, {3, 4, 5});
  x.slice(1, 1, 2).fill_(9);
  check_values(x, {0, 9, 2, 3, 9, 5});
  check_values(transposed, {0, 3, 9, 9, 2, 5});
  Tensor last = x.select(0, 1);
  last.mul_(2);
  check_values(x, {0, 9, 2, 6, 18, 10});
  last.add_(Tensor::ones({3}));
  check_values(row, {7, 19, 11});
  CHECK(x.clone().unshared());
}

TEST_CASE("slice: negative bounds, steps, empty results, errors") {
  const Tensor x = counting({10});
  check_values(x.slice(0, -3, 10), {7, 8, 9});
  check_values(x.slice(0, 1, -1, 3), {1, 4, 7});
  check_values(x.slice(0, 1, 10, 2).slice(0, 1, 5, 2), {3, 7});
  CHECK(x.slice(0, 4, 4).numel() == 0);
  CHECK_THROWS_AS(x.slice(0, 5, 3), Error);
  CHECK_THROWS_AS(x.slice(0, 0, 11), Error);
  CHECK_THROWS_AS(x.slice(0, 0, 10, 0), Error);
  CHECK_THROWS_AS(x.slice(1, 0, 1), Error);
  CHECK_THROWS_AS(x.select(0, 10), Error);
}

TEST_CASE("permute, unsqueeze, squeeze, broadcast_to") {
  const Tensor x = counting({2, 3, 4});
  const Tensor p = x.permute({2, 0, 1});
  CHECK(p.shape() == Shape{4, 2, 3});
  CHECK(p.shares_memory_with(x));
  check_values(p.select(0, 1), {1, 5, 9, 13, 17, 21});
  CHECK(x.unsqueeze(-1).shape() == Shape{2, 3, 4, 1});
  CHECK(x.unsqueeze(0).squeeze(0).shape() == x.shape());
  CHECK_THROWS_AS(x.permute({0, 1}), Error);
  CHECK_THROWS_AS(x.permute({0, 0, 1}), Error);
  CHECK_THROWS_AS(x.squeeze(0), Error);

  const Tensor b = counting({3, 1}).broadcast_to({2, 3, 2});
  CHECK(b.strides()[0] == 0);
  check_values(b, {0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2});
  CHECK_THROWS_AS(counting({3}).broadcast_to({2}), Error);
  CHECK_THROWS_AS(counting({1, 3}).broadcast_to({3}), Error);
}

TEST_CASE("reshape: a view where the strides allow it, else a copy in row-major order") {
  const Tensor x = counting({2, 6});
  CHECK(x.reshape({3, 4}).shares_memory_with(x));
  CHECK(x.reshape({-1, 2}).shape() == Shape{6, 2});
  CHECK(x.reshape({2, 1, 3, 1, 2}).shares_memory_with(x));
  // Splitting a strided dimension stays a view, merging across a gap does not.
  CHECK(x.t().reshape({2, 3, 2}).shares_memory_with(x));
  check_values(x.t().reshape({2, 3, 2}), {0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11});
  CHECK_FALSE(x.t().reshape({12}).shares_memory_with(x));
  check_values(x.t().reshape({12}), {0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11});
  CHECK_FALSE(x.slice(1, 0, 4).reshape({8}).shares_memory_with(x));
  check_values(x.slice(1, 0, 4).reshape({8}), {0, 1, 2, 3, 6, 7, 8, 9});
  CHECK(x.slice(0, 1, 2).reshape({6}).shares_memory_with(x));
  CHECK(counting({3, 1}).broadcast_to({3, 4}).reshape({3, 2, 2}).strides() == Strides{1, 0, 0});
  CHECK(Tensor::zeros({0, 3}).reshape({5, 0}).shape() == Shape{5, 0});
  CHECK(Tensor::scalar(2).reshape({1, 1}).shape() == Shape{1, 1});
  CHECK(Tensor::ones({1, 1}).reshape({}).rank() == 0);
  CHECK(counting({2, 3, 4}).flatten(1).shape() == Shape{2, 12});
  CHECK(counting({2, 3, 4}).flatten(0, 1).shape() == Shape{6, 4});
  CHECK(Tensor::scalar(1).flatten().shape() == Shape{1});
  CHECK_THROWS_AS(x.reshape({5}), Error);
  CHECK_THROWS_AS(x.reshape({-1, -1}), Error);
  CHECK_THROWS_AS(x.reshape({-1, 5}), Error);
}

TEST_CASE("copy_: conversion between all dtypes, broadcasting, overlapping views, devices") {
  for (const DType from : {f32, f64, bf16, i64, i32, u8})
    for (const DType to : {f32, f64, bf16, i64, i32, u8}) {
      CAPTURE(name_of(from));
      CAPTURE(name_of(to));
      check_values(tensor_of({0, 1, 100}, {3}, from).to(to), {0, 1, 100});
    }
  Tensor x = Tensor::zeros({2, 3}, i32);
  x.copy_(tensor_of({1.9, -2.9, 3}, {3}));
  check_values(x, {1, -2, 3, 1, -2, 3});
  Tensor y = counting({5});
  y.slice(0, 1, 5).copy_(y.slice(0, 0, 4));
  check_values(y, {0, 0, 1, 2, 3});
  CHECK_THROWS_AS(y.copy_(Tensor::ones({4})), Error);

  const Tensor there = counting({2, 3}).to(Device("reference"));
  CHECK(there.device().name() == "reference");
  Tensor back = Tensor::zeros({3, 2}, f64);
  back.t().copy_(there);  // other device, other dtype, strided target
  check_values(back, {0, 3, 1, 4, 2, 5});
  CHECK(back.to(f64).shares_memory_with(back));
  CHECK_THROWS_AS(Tensor::ones({2, 3}) + there, Error);
}

TEST_CASE("bf16 is the upper half of f32, rounded to nearest even") {
  check_values(tensor_of({1 + 0x1p-8, 1 + 3 * 0x1p-8, 1 + 0x1.1p-8, -3.0e38, kInfinity, kNaN}, {6}, bf16),
               {1, 1 + 0x1p-6, 1 + 0x1p-7, static_cast<float>(BFloat16(-3.0e38f)), kInfinity, kNaN}, 0);
  CHECK(std::isnan(static_cast<float>(BFloat16(__builtin_bit_cast(float, 0x7f800001)))));
}

TEST_CASE("ops refuse what they cannot do, and say why") {
  const Tensor x = Tensor::ones({2, 3}), n = Tensor::ones({2, 3}, i64);
  CHECK(mentions(error_of([&] { x + n; }), "dtypes differ: f32 and i64"));
  CHECK(mentions(error_of([&] { exp(n); }), "needs f32 or f64, got i64"));
  CHECK(mentions(error_of([&] { matmul(x, x); }), "inner dimensions differ: (2, 3) x (2, 3)"));
  CHECK(mentions(error_of([&] { gather(x, 1, Tensor::full({2, 1}, 3, i64)); }), "index 3 is out of range"));
  CHECK(mentions(error_of([&] { index_select(x, 0, Tensor::full({1}, -1, i64)); }), "index -1 is out of range"));
  CHECK(mentions(error_of([&] { top_k(x, 4); }), "k = 4"));
  CHECK(mentions(error_of([&] { where(x, x, x); }), "must be u8"));
  CHECK(mentions(error_of([&] { mean(Tensor::zeros({0})); }), "no elements"));
  CHECK(mentions(error_of([&] { concatenate({x, Tensor::ones({2, 2})}, 0); }), "shapes differ"));
  CHECK(mentions(error_of([&] { concatenate({}, 0); }), "nothing"));
  CHECK(mentions(error_of([] { Device("nowhere"); }), "known: cpu, reference"));
  CHECK(mentions(error_of([] { Device("cpu:1"); }), "no number 1"));
  CHECK(mentions(error_of([] { Device("cpu:x"); }), "NAME:NUMBER"));
}

TEST_CASE("the largest difference: of equal infinities 0, of a NaN NaN, wherever it stands") {
  const auto difference = [](std::vector<double> a, std::vector<double> b) {
    return max_abs_difference(Tensor::from(a, {3}), Tensor::from(b, {3}));
  };
  CHECK(difference({1, 2, kInfinity}, {1.5, 1, kInfinity}) == 1);
  CHECK(std::isnan(difference({kNaN, 1, 2}, {0, 1 + 1e-13, 2})));
  CHECK(std::isnan(difference({3, 1, 2}, {0, 1, kNaN})));
  CHECK(difference({1, 2, kInfinity}, {1, 2, -kInfinity}) == kInfinity);
}

TEST_CASE("shape ops: concatenate, stack, sums over chosen dimensions") {
  const Tensor x = counting({2, 2});
  check_values(concatenate({x, x.t()}, 1), {0, 1, 0, 2, 2, 3, 1, 3});
  check_values(concatenate({x, Tensor::zeros({0, 2})}, 0), {0, 1, 2, 3});
  CHECK(stack({x, x, x}, 1).shape() == Shape{2, 3, 2});
  CHECK(sum(counting({2, 3, 4}), {0, 2}).shape() == Shape{3});
  check_values(sum(counting({2, 3, 4}), {0, -1}, true), {60, 92, 124});
  CHECK(sum(counting({3})).rank() == 0);
  check_values(sum(Tensor::zeros({0, 2}), {0}), {0, 0});
  check_values(var(counting({4})), {1.25});
  check_values(sum_to(counting({2, 3}), {3}), {3, 5, 7});
  check_values(sum_to(counting({2, 3}), {2, 1}), {3, 12});
  check_values(eye_mask(2), {1, 0, 0, 1});
  check_values(argmax(counting({2, 3}), 0), {1, 1, 1});
  check_values(argmin(counting({2, 3}), 1), {0, 0});
  check_values(l2_normalize(tensor_of({3, 4, 0, 0}, {2, 2})), {0.6, 0.8, 0, 0});
}

TEST_CASE("printing: one line for few values, aligned columns, long dimensions elided") {
  CHECK(printed(Tensor()) == "Tensor undefined");
  CHECK(printed(Tensor::scalar(2.5)) == "Tensor f32 () cpu 2.5");
  CHECK(printed(Tensor::zeros({0, 3}, u8)) == "Tensor u8 (0, 3) cpu []");
  CHECK(printed(tensor_of({1, -2.5, 1e-7}, {3})) == "Tensor f32 (3,) cpu [    1,  -2.5, 1e-07]");
  CHECK(printed(tensor_of({1, 200, 3, 4}, {2, 2}, i32)) ==
        "Tensor i32 (2, 2) cpu\n"
        "[[  1, 200],\n"
        " [  3,   4]]");
  CHECK(printed(counting({2, 2, 1}, u8)) ==
        "Tensor u8 (2, 2, 1) cpu\n"
        "[[[0],\n"
        "  [1]],\n"
        "\n"
        " [[2],\n"
        "  [3]]]");
  CHECK(printed(counting({100}, i64)) == "Tensor i64 (100,) cpu [ 0,  1,  2, …, 97, 98, 99]");
  CHECK(printed(counting({8}, i64)) == "Tensor i64 (8,) cpu [0, 1, 2, 3, 4, 5, 6, 7]");
  CHECK(printed(counting({9, 2}, i64)) ==
        "Tensor i64 (9, 2) cpu\n"
        "[[ 0,  1],\n [ 2,  3],\n [ 4,  5],\n …,\n [12, 13],\n [14, 15],\n [16, 17]]");
  CHECK(printed(tensor_of({kNaN, kInfinity, -kInfinity}, {3})) == "Tensor f32 (3,) cpu [ nan,  inf, -inf]");
  CHECK(printed(Tensor::full({1}, 0.1, bf16)) == "Tensor bf16 (1,) cpu [0.100098]");
  CHECK(printed(counting({2, 2}, i64).t().slice(0, 1, 2)) == "Tensor i64 (1, 2) cpu\n[[1, 3]]");
  std::ostringstream out;
  out << bf16;
  CHECK(out.str() == "bf16");
}

TEST_CASE("integer arithmetic wraps around") {
  const int64_t most = std::numeric_limits<int64_t>::max();
  const Tensor big = Tensor::from(std::vector<int64_t>{most}, {1}), two = Tensor::from(std::vector<int64_t>{2}, {1});
  CHECK(add(big, two).to_vector<int64_t>()[0] == std::numeric_limits<int64_t>::min() + 1);
  CHECK(mul(big, two).to_vector<int64_t>()[0] == -2);
  CHECK(sub(Tensor::from(std::vector<int64_t>{-2}, {1}), big).to_vector<int64_t>()[0] == most);
}

TEST_CASE("add_ with an operand that overlaps in another order reads the values from before") {
  for (const int64_t n : {3, 65}) {  // small, and past a kernel's vectors and tiles
    const Tensor before = counting({n, n}), x = before.clone();
    Tensor(x).add_(x.t());
    CHECK(x.to_vector<float>() == add(before, before.t()).to_vector<float>());
    const Tensor row = before.clone();
    Tensor(row).add_(row.slice(0, 0, 1));  // the first row changes before it is added to the second
    CHECK(row.to_vector<float>() == add(before, before.slice(0, 0, 1)).to_vector<float>());
    const Tensor line = counting({n + 1});
    line.slice(0, 1, n + 1).add_(line.slice(0, 0, n));
    CHECK(line.to_vector<float>()[2] == 3);
  }
  Tensor twice = counting({4});
  twice.add_(twice);
  check_values(twice, {0, 2, 4, 6});
}

TEST_CASE("reshape refuses negative sizes and sizes whose product overflows") {
  const Tensor six = counting({6});
  CHECK_THROWS_WITH_AS(six.reshape({-2, -3}), doctest::Contains("negative size -2"), Error);
  CHECK_THROWS_AS(six.reshape({-6, -1}), Error);
  CHECK_THROWS_AS(six.reshape({-1, -1}), Error);
  const int64_t large = int64_t{1} << 32;
  CHECK_THROWS_AS(Tensor::zeros({0}).reshape({large, large}), Error);  // 2^64 elements, not 0
  CHECK_THROWS_AS(six.reshape({large, large, -1}), Error);
  CHECK(Tensor::zeros({0}).reshape({large, large, 0}).numel() == 0);
}

TEST_CASE("counts in messages: one is not many") {
  CHECK(counted(int64_t{1}, "image") == "1 image");
  CHECK(counted(int64_t{0}, "image") == "0 images");
  CHECK(counted(size_t{2}, "image") == "2 images");
  CHECK(counted(int64_t{1}, "class", "classes") == "1 class");
  CHECK(counted(int64_t{3}, "class", "classes") == "3 classes");
}
