// The index arithmetic of the CUDA kernels, which are plain functions: on the CPU, against the definitions.
#include <doctest/doctest.h>

#include <optional>
#include <utility>
#include <vector>

#include "backends/cuda/conv_operands.h"
#include "backends/cuda/pool_windows.h"
#include "backends/cuda/ring.h"
#include "backends/cuda/strided.h"
#include "tensor/ops.h"
#include "tensor/random.h"

using namespace tacit;

namespace {

// Offsets by counting through the shape.
std::vector<int64_t> counted(const Shape& shape, const Strides& strides) {
  std::vector<int64_t> offsets;
  for (int64_t i = 0; i < shape.numel(); ++i) {
    int64_t rest = i, offset = 0;
    for (int d = shape.rank() - 1; d >= 0; --d) {
      offset += rest % shape[d] * strides[d];
      rest /= shape[d];
    }
    offsets.push_back(offset);
  }
  return offsets;
}

}  // namespace

TEST_CASE("Ring: parts in use never overlap, and what is released is taken again") {
  constexpr size_t kBytes = 4096;
  cuda::Ring ring(kBytes);
  CHECK_FALSE(ring.take(kBytes + 1));
  REQUIRE(ring.take(kBytes) == size_t{0});  // all of it, and again all of it
  CHECK_FALSE(ring.take(1));
  ring.release();
  CHECK(ring.take(kBytes) == size_t{0});
  ring.release();

  Random random(3, random_stream("ring"));
  std::vector<std::pair<size_t, size_t>> used;  // begin, end; oldest first
  int waits = 0;
  for (int step = 0; step < 2000; ++step) {
    const size_t size = 1 + static_cast<size_t>(random.below(step % 7 == 0 ? 2000 : 300));
    std::optional<size_t> at = ring.take(size);
    for (; !at; at = ring.take(size)) {
      REQUIRE_FALSE(used.empty());  // an empty ring has room
      used.erase(used.begin());
      ring.release();
      ++waits;
    }
    REQUIRE(*at % 256 == 0);
    REQUIRE(*at + size <= kBytes);
    for (const auto& part : used) REQUIRE((*at >= part.second || *at + size <= part.first));
    used.push_back({*at, *at + size});
  }
  CHECK(waits > 100);
}

TEST_CASE("Strided: the offsets of every element, whatever merges") {
  struct Case {
    Shape shape;
    std::vector<Strides> strides;
  };
  const std::vector<Case> cases = {
      {{}, {{}, {}}},
      {{5}, {{1}, {3}}},
      {{4, 3}, {{3, 1}, {1, 4}}},
      {{4, 3}, {{3, 1}, {3, 1}}},
      {{2, 3, 4}, {{12, 4, 1}, {0, 4, 1}}},
      {{2, 3, 4}, {{12, 4, 1}, {24, 8, 2}}},
      {{2, 1, 4, 1}, {{4, 99, 1, 7}, {4, 0, 1, 0}}},
      {{3, 2, 2, 3, 2, 2}, {{48, 24, 12, 4, 2, 1}, {1, 3, 6, 12, 36, 72}}},
      {{2, 2, 2}, {{0, 0, 0}, {4, 2, 1}}},
  };
  for (const Case& c : cases) {
    const Shape& shape = c.shape;
    CAPTURE(shape.numel());
    const cuda::Strided<2> at(shape, {c.strides[0], c.strides[1]});
    const std::vector<int64_t> first = counted(shape, c.strides[0]), second = counted(shape, c.strides[1]);
    CHECK(at.count == shape.numel());
    for (int64_t i = 0; i < at.count; ++i) {
      int64_t offsets[2];
      at.offsets(i, offsets);
      CHECK(offsets[0] == first[static_cast<size_t>(i)]);
      CHECK(offsets[1] == second[static_cast<size_t>(i)]);
    }
  }
  // Contiguous views are one dimension, so that a kernel divides by nothing.
  CHECK(cuda::Strided<2>({2, 3, 4}, {{12, 4, 1}, {12, 4, 1}}).rank == 1);
  // More elements than 32 bits count: a broadcast holds them without memory.
  const cuda::Strided<1> big({int64_t{1} << 20, int64_t{1} << 20}, {{1, 0}});
  CHECK(big.offset((int64_t{1} << 39) + 5) == int64_t{1} << 19);
}

TEST_CASE("convolutions and their gradients as products of operands that are read in place") {
  struct Case {
    int64_t n, h, w, c, k, groups;
    Window window;
  };
  const std::vector<Case> cases = {
      {2, 7, 5, 4, 6, 1, {.kernel_h = 3, .kernel_w = 3, .padding_h = 1, .padding_w = 1}},
      {1, 8, 9, 4, 6, 2, {.kernel_h = 3, .kernel_w = 2, .stride_h = 2, .stride_w = 3, .padding_h = 1}},
      {2,
       9,
       9,
       3,
       3,
       3,
       {.kernel_h = 3, .kernel_w = 3, .padding_h = 2, .padding_w = 2, .dilation_h = 2, .dilation_w = 2}},
      {1, 6, 6, 2, 4, 1, {.stride_h = 2, .stride_w = 2}},
  };
  const Device reference("reference");
  for (const Case& t : cases) {
    const Window& window = t.window;
    const Tensor x = Tensor::normal({t.n, t.h, t.w, t.c}, 1, 1, f64, reference);
    const Tensor w = Tensor::normal({t.k, window.kernel_h, window.kernel_w, t.c / t.groups}, 1, 2, f64, reference);
    const auto out = [](int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
      return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
    };
    const int64_t p = out(t.h, window.kernel_h, window.stride_h, window.padding_h, window.dilation_h);
    const int64_t q = out(t.w, window.kernel_w, window.stride_w, window.padding_w, window.dilation_w);
    const Tensor dy = Tensor::normal({t.n, p, q, t.k}, 1, 3, f64, reference);
    Tensor y = Tensor::empty(dy.shape(), f64, reference), dx = Tensor::empty(x.shape(), f64, reference),
           dw = Tensor::empty(w.shape(), f64, reference);
    reference.backend().conv2d(y.view(), x.view(), w.view(), window);
    reference.backend().conv2d_dx(dx.view(), dy.view(), w.view(), window);
    reference.backend().conv2d_dw(dw.view(), x.view(), dy.view(), window);

    const cuda::ConvSizes z(x.shape(), w.shape(), y.shape(), window);
    double worst = 0;
    // |sum over k of a(m, k) b(n, k) - expected[m * stride + n]|
    const auto product = [&](int64_t M, int64_t N, int64_t K, const auto& a, const auto& b, const double* expected,
                             int64_t stride) {
      for (int64_t m = 0; m < M; ++m)
        for (int64_t n = 0; n < N; ++n) {
          double sum = 0;
          for (int64_t k = 0; k < K; ++k) sum += a.load(a.outer(m), a.inner(k)) * b.load(b.outer(n), b.inner(k));
          worst = std::max(worst, std::abs(sum - expected[m * stride + n]));
        }
    };
    const auto* const xs = x.view().ptr<const double>();
    const auto* const ws = w.view().ptr<const double>();
    const auto* const dys = dy.view().ptr<const double>();
    for (int g = 0; g < z.groups; ++g) {
      const int64_t in = z.group_in(), outs = z.group_out(), taps = window.kernel_h * window.kernel_w;
      product(t.n * p * q, outs, taps * in, cuda::WindowsOfX<double>{xs, z, g}, cuda::WeightRows<double>{ws, z, g},
              y.view().ptr<const double>() + g * outs, t.k);
      product(t.n * t.h * t.w, in, taps * outs, cuda::CoversOfDy<double>{dys, z, g},
              cuda::WeightColumns<double>{ws, z, g}, dx.view().ptr<const double>() + g * in, t.c);
      product(outs, taps * in, t.n * p * q, cuda::DyByChannel<double>{dys, z, g}, cuda::XUnderTaps<double>{{xs, z, g}},
              dw.view().ptr<const double>() + g * outs * taps * in, taps * in);
    }
    CHECK(worst < 1e-12);
  }
}

TEST_CASE("pooling: the windows that cover a position are exactly those between first and last that say so") {
  std::vector<cuda::Axis> axes;
  for (int64_t size = 1; size < 12; ++size)
    for (int64_t n = 1; n < 24; ++n)
      axes.push_back({.size = size, .n = n, .kernel = 1, .stride = 1, .padding = 0, .dilation = 1, .adaptive = true});
  for (const int64_t size : {5, 8})
    for (const int64_t kernel : {1, 2, 3})
      for (const int64_t stride : {1, 2, 3})
        for (const int64_t padding : {0, 1})
          for (const int64_t dilation : {1, 2}) {
            const int64_t n = (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
            axes.push_back({.size = size,
                            .n = n,
                            .kernel = kernel,
                            .stride = stride,
                            .padding = padding,
                            .dilation = dilation,
                            .adaptive = false});
          }
  int64_t wrong = 0;
  for (const cuda::Axis& axis : axes)
    for (int64_t position = 0; position < axis.size; ++position)
      for (int64_t i = 0; i < axis.n; ++i) {
        bool covered = false;
        for (int64_t term = 0; term < axis.terms(i); ++term) covered |= axis.position(i, term) == position;
        const bool found =
            i >= axis.first_window(position) && i <= axis.last_window(position) && axis.covers(i, position);
        wrong += found != covered;
      }
  CHECK(wrong == 0);
}
