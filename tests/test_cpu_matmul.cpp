// matmul of the CPU backend against plain loops in f64.
#include <doctest/doctest.h>

#include "cpu_kernels.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

struct Layout {
  Shape shape;
  Strides strides;
};

std::vector<int64_t> unravel(int64_t i, const Shape& shape) {
  std::vector<int64_t> index(shape.rank());
  for (int d = shape.rank() - 1; d >= 0; --d) index[d] = i % shape[d], i /= shape[d];
  return index;
}
int64_t offset(const std::vector<int64_t>& index, const Strides& strides) {
  int64_t o = 0;
  for (size_t d = 0; d < index.size(); ++d) o += index[d] * strides[static_cast<int>(d)];
  return o;
}

template <class T>
void check_matmul(const Layout& out, const Layout& a, const Layout& b) {
  View va{nullptr, dtype_of<T>, a.shape, a.strides}, vb{nullptr, dtype_of<T>, b.shape, b.strides};
  View vc{nullptr, dtype_of<T>, out.shape, out.strides};
  auto x = numbers<T>(va.extent(), 1), y = numbers<T>(vb.extent(), 2);
  std::vector<T> z(vc.extent(), T(-9)), got;
  va = view(x, a.shape, a.strides), vb = view(y, b.shape, b.strides), vc = view(z, out.shape, out.strides);
  backend().matmul(vc, va, vb);

  const int64_t depth = a.shape[-1];
  std::vector<double> want;
  std::vector<char> written(z.size());
  for (int64_t i = 0; i < out.shape.numel(); ++i) {
    const auto index = unravel(i, out.shape);
    auto ia = index, ib = index;
    ia.back() = 0, ib[index.size() - 2] = 0;
    const T *p = x.data() + offset(ia, a.strides), *q = y.data() + offset(ib, b.strides);
    double sum = 0;
    for (int64_t k = 0; k < depth; ++k)
      sum += static_cast<double>(p[k * a.strides[-1]]) * static_cast<double>(q[k * b.strides[-2]]);
    want.push_back(sum);
    got.push_back(z[offset(index, out.strides)]);
    written[offset(index, out.strides)] = 1;
  }
  CAPTURE(a.shape);
  CAPTURE(a.strides);
  CAPTURE(b.shape);
  CAPTURE(b.strides);
  CAPTURE(out.strides);
  CHECK(error(got, want, static_cast<double>(depth)) < kTolerance);
  int64_t touched = 0;  // elements between those of the output
  for (size_t i = 0; i < z.size(); ++i) touched += !written[i] && z[i] != T(-9);
  CHECK(touched == 0);
}

template <class T>
void check_layouts(int64_t m, int64_t n, int64_t k) {
  const Layout dense{{m, n}, {n, 1}};
  for (const Strides& a : {Strides{k, 1}, Strides{1, m}, Strides{k + 5, 1}, Strides{3 * k, 3}})
    for (const Strides& b : {Strides{n, 1}, Strides{1, k}, Strides{1, k + 3}, Strides{2 * n, 2}})
      check_matmul<T>(dense, {{m, k}, a}, {{k, n}, b});
  check_matmul<T>({{m, n}, {1, m}}, {{m, k}, {k, 1}}, {{k, n}, {n, 1}});      // transposed output
  check_matmul<T>({{m, n}, {n + 7, 1}}, {{m, k}, {k, 1}}, {{k, n}, {n, 1}});  // a part of wider rows
  check_matmul<T>({{m, n}, {2 * n, 2}}, {{m, k}, {k, 1}}, {{k, n}, {n, 1}});  // every second column
  check_matmul<T>(dense, {{m, k}, {0, 1}}, {{k, n}, {n, 1}});                 // one row m times
  check_matmul<T>(dense, {{m, k}, {k, 1}}, {{k, n}, {0, 0}});                 // one number
  check_matmul<T>({{2, m, n}, row_major({2, m, n})}, {{2, m, k}, {m * k, k, 1}}, {{2, k, n}, {0, n, 1}});
  check_matmul<T>({{2, m, n}, row_major({2, m, n})}, {{2, m, k}, {0, 1, m}}, {{2, k, n}, {k * n, 1, k}});
  check_matmul<T>({{3, 2, m, n}, row_major({3, 2, m, n})}, {{3, 2, m, k}, {m * k, 3 * m * k, k, 1}},
                  {{3, 2, k, n}, {0, k * n, n, 1}});
}

}  // namespace

TEST_CASE("matmul of any layout and size") {
  const std::vector<std::vector<int64_t>> sizes = {{1, 1, 1}, {1, 37, 20},  {37, 1, 20},
                                                   {5, 3, 1}, {13, 33, 65}, {64, 48, 31}};
  for (const auto& s : sizes) {
    check_layouts<float>(s[0], s[1], s[2]);
    check_layouts<double>(s[0], s[1], s[2]);
  }
}

TEST_CASE("matmul that is cut in rows, columns, depth, items") {
  check_matmul<float>({{700, 70}, {70, 1}}, {{700, 300}, {300, 1}}, {{300, 70}, {1, 300}});
  check_matmul<float>({{1300, 110}, {110, 1}}, {{1300, 350}, {350, 1}}, {{350, 110}, {110, 1}});
  check_matmul<float>({{20, 1100}, {1100, 1}}, {{20, 40}, {40, 1}}, {{40, 1100}, {1100, 1}});
  check_matmul<float>({{30, 40}, {40, 1}}, {{30, 5000}, {1, 30}}, {{5000, 40}, {40, 1}});
  check_matmul<double>({{30, 40}, {40, 1}}, {{30, 5000}, {1, 30}}, {{5000, 40}, {40, 1}});
  check_matmul<double>({{300, 70}, {70, 1}}, {{300, 90}, {90, 1}}, {{90, 70}, {1, 90}});
  check_matmul<float>({{40, 17, 17}, row_major({40, 17, 17})}, {{40, 17, 16}, row_major({40, 17, 16})},
                      {{40, 16, 17}, {16 * 17, 1, 16}});
}

TEST_CASE("matmul over nothing: an empty sum is 0, an empty result is left alone") {
  for (const bool f64_too : {false, true}) {
    std::vector<float> x, y, z(6, 5.0f);
    std::vector<double> xd, yd, zd(6, 5.0);
    if (f64_too)
      backend().matmul(view(zd, {2, 3}), view(xd, {2, 0}), view(yd, {0, 3}));
    else
      backend().matmul(view(z, {2, 3}), view(x, {2, 0}), view(y, {0, 3}));
    if (f64_too)
      CHECK(zd == std::vector<double>(6, 0.0));
    else
      CHECK(z == std::vector<float>(6, 0.0f));
  }
  std::vector<float> x, y(6), z;
  backend().matmul(view(z, {0, 3}), view(x, {0, 2}), view(y, {2, 3}));
}

TEST_CASE("linear: sums start from the bias, in whole vectors and in part of one, in one piece of depth and several") {
  for (const int64_t columns : {1, 10, 16, 17, 33, 70})
    for (const int64_t depth : {5, 700, 4096})  // the last is cut into pieces that are added up
      for (const int64_t rows : {1, 13, 90}) {
        auto x = numbers<float>(rows * depth, 1), w = numbers<float>(columns * depth, 2),
             b = numbers<float>(columns, 3);
        std::vector<float> y(rows * columns);
        LinearArgs args;
        args.y = view(y, {rows, columns}), args.x = view(x, {rows, depth});
        args.w = view(w, {depth, columns}, {1, depth}), args.bias = view(b, {columns});
        backend().linear(args);
        std::vector<double> want(y.size());
        for (int64_t i = 0; i < rows; ++i)
          for (int64_t j = 0; j < columns; ++j) {
            double sum = static_cast<double>(b[j]);
            for (int64_t k = 0; k < depth; ++k)
              sum += static_cast<double>(x[i * depth + k]) * static_cast<double>(w[j * depth + k]);
            want[i * columns + j] = sum;
          }
        CAPTURE(rows);
        CAPTURE(columns);
        CAPTURE(depth);
        CHECK(error(y, want, static_cast<double>(depth)) < kTolerance);
      }
}

TEST_CASE("linear with what follows: gelu and its derivative beside the product, and both gradients in one pass") {
  for (const int64_t columns : {1, 17, 70, 600})
    for (const int64_t depth : {5, 90, 4096})
      for (const int64_t rows : {1, 2, 13, 300, 5000}) {  // the last is summed over in pieces by linear_dw
        if (rows * columns * depth > 500'000'000) continue;
        CAPTURE(rows);
        CAPTURE(columns);
        CAPTURE(depth);
        auto x = numbers<float>(rows * depth, 1), w = numbers<float>(columns * depth, 2),
             b = numbers<float>(columns, 3), input = numbers<float>(rows * columns, 4);
        // composed: as a backend without kernels of its own for linear maps does it.
        const auto run = [&](bool composed) {
          std::vector<float> y(rows * columns), with(y), derivative(y), scaled(y);
          const Shape shape{rows, columns};
          const View vx = view(x, {rows, depth});
          const auto linear = [&](std::vector<float>& to, bool gelu, const View& made, const View& factor) {
            LinearArgs a;
            a.y = view(to, shape), a.x = vx, a.w = view(w, {depth, columns}, {1, depth}), a.gelu = gelu;
            if (gelu) a.bias = view(b, {columns});
            a.derivative = made, a.factor = factor;
            composed ? backend().Backend::linear(a) : backend().linear(a);
          };
          linear(y, true, {}, {});
          linear(with, true, view(derivative, shape), {});
          linear(scaled, false, {}, view(input, shape));
          CHECK(y == with);
          std::vector<float> dw(columns * depth), db(columns);
          const View vw_grad = view(dw, {columns, depth}), vb_grad = view(db, {columns});
          const View vdy = view(input, {rows, columns});
          composed ? backend().Backend::linear_dw(vw_grad, vb_grad, vdy, vx)
                   : backend().linear_dw(vw_grad, vb_grad, vdy, vx);
          return std::vector<std::vector<float>>{y, derivative, scaled, dw, db};
        };
        const auto got = run(false), want = run(true);
        for (size_t i = 0; i < got.size(); ++i) {
          CAPTURE(i);
          const auto summed = static_cast<double>(i < 3 ? depth : rows);
          CHECK(error(got[i], std::vector<double>(want[i].begin(), want[i].end()), summed) < kTolerance);
        }
        for (const int threads : {1, 4}) {
          const int before = cpu::threads();
          cpu::set_threads(threads);
          CHECK(run(false) == got);
          cpu::set_threads(before);
        }
      }
}

TEST_CASE("matmul keeps NaN and infinity") {
  std::vector<float> x = numbers<float>(20 * 30, 1), y = numbers<float>(30 * 40, 2), z(20 * 40);
  x[7 * 30 + 3] = std::numeric_limits<float>::quiet_NaN();
  x[9 * 30 + 3] = std::numeric_limits<float>::infinity();
  backend().matmul(view(z, {20, 40}), view(x, {20, 30}), view(y, {30, 40}));
  for (int i = 0; i < 20; ++i)
    for (int j = 0; j < 40; ++j) {
      CHECK(std::isnan(z[i * 40 + j]) == (i == 7));
      CHECK(std::isinf(z[i * 40 + j]) == (i == 9));
    }
}

TEST_CASE("matmul refuses integers") {
  std::vector<int32_t> x(4), y(4), z(4);
  CHECK_THROWS_WITH_AS(backend().matmul(view(z, {2, 2}), view(x, {2, 2}), view(y, {2, 2})),
                       "[matmul] needs f32 or f64, got i32; convert with to(f32)", Error);
}
