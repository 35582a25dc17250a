// Normalisation, softmax and pooling of the CPU backend against the reference: sizes that no vector divides, few and
// many channels, large offsets, and the same bits at any number of threads.
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <cstring>
#include <string>

#include "backends/reference/backend.h"
#include "cpu_kernels.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

Backend& reference_backend() {
  static reference::ReferenceBackend backend;
  return backend;
}

/// Named results of one run on one backend.
template <class T>
using Results = std::vector<std::pair<const char*, std::vector<T>>>;

// Largest difference over the largest expected value, in rounding errors of T. Infinite if only one side is finite.
template <class T>
double worst(const std::vector<T>& got, const std::vector<T>& want) {
  return error(got, std::vector<double>(want.begin(), want.end()), 1);
}

template <class T>
void check_same(const Results<T>& got, const Results<T>& want, double tolerance) {
  REQUIRE(got.size() == want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const std::string what = got[i].first;
    CAPTURE(what);
    CHECK(worst(got[i].second, want[i].second) < tolerance);
  }
}

struct NormCase {
  int64_t rows, channels;
  bool relu, residual, training;
};

// The relu mask y is input to the gradient: both backends get one that no rounding changes.
template <class T>
Results<T> run_batch_norm(Backend& backend, const NormCase& c) {
  const Shape shape{c.rows, c.channels};
  const int64_t n = c.rows * c.channels;
  auto x = numbers<T>(n, 1), dy = numbers<T>(n, 2), residual = numbers<T>(n, 3), mask = numbers<T>(n, 4);
  auto gamma = numbers<T>(c.channels, 5), beta = numbers<T>(c.channels, 6), rstd = numbers<T>(c.channels, 7);
  for (T& v : rstd) v = T(2) + v;
  std::vector<T> mean(c.channels), var(c.channels), y(n), dx(n), dresidual(n), dgamma(c.channels), dbeta(c.channels);
  const Shape channels{c.channels};
  backend.moments(view(mean, channels), view(var, channels), view(x, shape));
  // From the exact mean on, so that an error of it does not count as one of the others.
  auto centre = numbers<T>(c.channels, 8);
  backend.batch_norm({view(y, shape), view(x, shape), view(centre, channels), view(rstd, channels),
                      view(gamma, channels), view(beta, channels), c.residual ? view(residual, shape) : View(),
                      c.relu});
  backend.batch_norm_grad({view(dx, shape), view(dgamma, channels), view(dbeta, channels),
                           c.residual ? view(dresidual, shape) : View(), view(dy, shape), view(x, shape),
                           c.relu ? view(mask, shape) : View(), view(centre, channels), view(rstd, channels),
                           view(gamma, channels), view(beta, channels), c.relu, c.training});
  return {{"mean", mean},           {"var", var},       {"y", y},        {"dx", dx},
          {"dresidual", dresidual}, {"dgamma", dgamma}, {"dbeta", dbeta}};
}

template <class T>
Results<T> run_rows(Backend& backend, int64_t rows, int64_t n) {
  const Shape shape{rows, n}, row{rows}, columns{n};
  auto x = numbers<T>(rows * n, 1), dy = numbers<T>(rows * n, 2), gamma = numbers<T>(n, 3), beta = numbers<T>(n, 4);
  auto dloss = numbers<T>(rows, 5);
  for (T& v : x) v *= T(6);
  std::vector<int64_t> labels;
  for (int64_t r = 0; r < rows; ++r) labels.push_back(r * 7 % n);
  const std::vector<T> none(rows * n), none_row(rows), none_column(n);
  auto p = none, log_p = none, dp = none, dlog_p = none, dlogits = none, y = none, dx = none;
  auto loss = none_row, lse = none_row, mean = none_row, rstd = none_row;
  auto dgamma = none_column, dbeta = none_column;
  backend.softmax(view(p, shape), view(x, shape), false);
  backend.softmax(view(log_p, shape), view(x, shape), true);
  backend.softmax_grad(view(dp, shape), view(dy, shape), view(p, shape), false);
  backend.softmax_grad(view(dlog_p, shape), view(dy, shape), view(log_p, shape), true);
  backend.cross_entropy(view(loss, row), view(lse, row), view(x, shape), view(labels, row), 0.1);
  backend.cross_entropy_grad(view(dlogits, shape), view(dloss, row), view(x, shape), view(lse, row), view(labels, row),
                             0.1);
  // An eps that matters keeps short rows, whose variance may be next to nothing, well conditioned.
  backend.layer_norm({view(y, shape), view(mean, row), view(rstd, row), view(x, shape), view(gamma, columns),
                      view(beta, columns), 0.1});
  backend.layer_norm_grad({view(dx, shape), view(dgamma, columns), view(dbeta, columns), view(dy, shape),
                           view(x, shape), view(mean, row), view(rstd, row), view(gamma, columns)});
  return {{"softmax", p},  {"log_softmax", log_p}, {"softmax_grad", dp}, {"log_softmax_grad", dlog_p},
          {"loss", loss},  {"lse", lse},           {"dlogits", dlogits}, {"layer_norm", y},
          {"mean", mean},  {"rstd", rstd},         {"dx", dx},           {"dgamma", dgamma},
          {"dbeta", dbeta}};
}

struct PoolCase {
  Shape x, y;
  Window window;
};
std::vector<PoolCase> pool_cases() {
  std::vector<PoolCase> cases;
  for (const int64_t channels : {1, 3, 8, 37, 64}) {
    cases.push_back({{3, 9, 7, channels}, {3, 5, 4, channels}, {3, 3, 2, 2, 1, 1}});
    cases.push_back({{2, 8, 6, channels}, {2, 4, 3, channels}, {2, 2, 2, 2}});
    cases.push_back({{2, 9, 11, channels}, {2, 6, 9, channels}, {3, 2, 1, 1, 1, 0, 2, 2}});
    Window adaptive;
    adaptive.adaptive = true;
    cases.push_back({{2, 7, 5, channels}, {2, 3, 2, channels}, adaptive});
    cases.push_back({{5, 7, 7, channels}, {5, 1, 1, channels}, adaptive});
  }
  return cases;
}

template <class T>
Results<T> run_pool(Backend& backend, const PoolCase& c) {
  auto x = numbers<T>(c.x.numel(), 1), dy = numbers<T>(c.y.numel(), 2);
  for (T& v : x) v = std::round(v * T(8));  // ties: the first pixel wins
  x[x.size() / 2] = std::numeric_limits<T>::quiet_NaN();
  auto clean = x;
  clean[x.size() / 2] = T(1);
  std::vector<T> largest(dy.size()), average(dy.size()), d_largest(x.size()), d_average(x.size());
  std::vector<int64_t> index(dy.size());
  backend.pool(PoolOp::Max, view(largest, c.y), view(index, c.y), view(x, c.x), c.window);
  backend.pool_grad(PoolOp::Max, view(d_largest, c.x), view(dy, c.y), view(index, c.y), c.window);
  backend.pool(PoolOp::Average, view(average, c.y), View(), view(clean, c.x), c.window);
  backend.pool_grad(PoolOp::Average, view(d_average, c.x), view(dy, c.y), View(), c.window);
  for (T& v : largest) v = v != v ? T(1000) : v;  // a NaN in the same places
  return {{"max", largest},
          {"index", {index.begin(), index.end()}},
          {"max gradient", d_largest},
          {"average", average},
          {"average gradient", d_average}};
}

}  // namespace

TEST_CASE_TEMPLATE("batch norm of odd sizes, few and many channels", T, float, double) {
  for (const int64_t channels : {1, 2, 3, 5, 16, 24, 31, 32, 33, 63, 64, 100, 130, 600})
    for (const int64_t rows : {1, 2, 7, 65, 1025}) {
      CAPTURE(rows);
      CAPTURE(channels);
      for (int variant = 0; variant < 8; ++variant) {
        if (variant > 1 && rows == 1025) continue;
        const NormCase c{rows, channels, (variant & 1) != 0, (variant & 2) != 0, (variant & 4) == 0};
        CAPTURE(variant);
        // The terms of a gradient cancel: allow some rounding errors of what was summed.
        check_same(run_batch_norm<T>(backend(), c), run_batch_norm<T>(reference_backend(), c), 64);
      }
    }
}

TEST_CASE_TEMPLATE("the gradient of batch norm with relu: the same bits without y, and written over dy", T, float,
                   double) {
  for (const int64_t channels : {1, 3, 16, 33, 64, 100}) {
    const int64_t rows = 71, n = rows * channels;
    const Shape shape{rows, channels}, row{channels};
    auto x = numbers<T>(n, 1), dy = numbers<T>(n, 2), mean = numbers<T>(channels, 3), rstd = numbers<T>(channels, 4);
    auto gamma = numbers<T>(channels, 5), beta = numbers<T>(channels, 6);
    std::vector<T> y(n);
    backend().batch_norm({view(y, shape), view(x, shape), view(mean, row), view(rstd, row), view(gamma, row),
                          view(beta, row), View(), true});
    const auto gradients = [&](bool with_y, bool over_dy) {
      std::vector<T> dx = dy, dgamma(channels), dbeta(channels), given = dy;
      backend().batch_norm_grad({view(dx, shape), view(dgamma, row), view(dbeta, row), View(),
                                 view(over_dy ? dx : given, shape), view(x, shape), with_y ? view(y, shape) : View(),
                                 view(mean, row), view(rstd, row), view(gamma, row), view(beta, row), true, true});
      return std::vector{dx, dgamma, dbeta};
    };
    const auto want = gradients(true, false);
    CAPTURE(channels);
    CHECK(want[0] != dy);
    CHECK(gradients(false, false) == want);
    CHECK(gradients(true, true) == want);
    CHECK(gradients(false, true) == want);
  }
}

TEST_CASE("gradients of norms written over dy, with a residual's beside them") {
  for (const int64_t channels : {1, 17, 64, 100}) {
    const int64_t rows = 71, n = rows * channels;
    const Shape shape{rows, channels}, row{channels}, column{rows};
    auto x = numbers<float>(n, 1), dy = numbers<float>(n, 2), y = numbers<float>(n, 3),
         mean = numbers<float>(channels, 4);
    auto rstd = numbers<float>(channels, 5), gamma = numbers<float>(channels, 6);
    auto row_mean = numbers<float>(rows, 7), row_rstd = numbers<float>(rows, 8);
    const auto gradients = [&](bool over_dy) {
      std::vector<float> dx = dy, dx2 = dy, given = dy, dresidual(n), dgamma(channels), dbeta(channels);
      std::vector<float> layer_dgamma(channels), layer_dbeta(channels);
      backend().batch_norm_grad({view(dx, shape), view(dgamma, row), view(dbeta, row), view(dresidual, shape),
                                 view(over_dy ? dx : given, shape), view(x, shape), view(y, shape), view(mean, row),
                                 view(rstd, row), view(gamma, row), View(), true, true});
      backend().layer_norm_grad({view(dx2, shape), view(layer_dgamma, row), view(layer_dbeta, row),
                                 view(over_dy ? dx2 : given, shape), view(x, shape), view(row_mean, column),
                                 view(row_rstd, column), view(gamma, row)});
      return std::vector{dx, dresidual, dgamma, dbeta, dx2, layer_dgamma, layer_dbeta};
    };
    CAPTURE(channels);
    const auto want = gradients(false);
    CHECK(want[0] != dy);
    CHECK(gradients(true) == want);
  }
}

TEST_CASE("more than one block, and blocks that end inside a folded row") {
  for (const int64_t channels : {1, 3, 31, 32, 100, 5000}) {
    const int64_t rows = 3 * 32768 / channels + 13;
    CAPTURE(channels);
    for (const bool relu : {false, true}) {
      const NormCase c{rows, channels, relu, relu, true};
      check_same(run_batch_norm<float>(backend(), c), run_batch_norm<float>(reference_backend(), c), 64);
    }
  }
}

TEST_CASE("gradients of a batch norm that are not wanted are left out") {
  const Shape shape{70, 33}, channels{33};
  auto x = numbers<float>(70 * 33, 1), dy = numbers<float>(70 * 33, 2), mean = numbers<float>(33, 3);
  auto rstd = numbers<float>(33, 4), gamma = numbers<float>(33, 5);
  BatchNormGradArgs args;
  args.dy = view(dy, shape), args.x = view(x, shape), args.mean = view(mean, channels);
  args.rstd = view(rstd, channels), args.gamma = view(gamma, channels);
  std::vector<float> all_dx(x.size()), all_dgamma(33), all_dbeta(33), all_dresidual(x.size());
  BatchNormGradArgs all = args;
  all.dx = view(all_dx, shape), all.dgamma = view(all_dgamma, channels);
  all.dbeta = view(all_dbeta, channels), all.dresidual = view(all_dresidual, shape);
  backend().batch_norm_grad(all);
  CHECK(all_dresidual == dy);
  for (int one = 0; one < 4; ++one) {
    CAPTURE(one);
    std::vector<float> got(one % 3 == 0 ? x.size() : 33);
    BatchNormGradArgs only = args;
    (one == 0   ? only.dx
     : one == 1 ? only.dgamma
     : one == 2 ? only.dbeta
                : only.dresidual) = view(got, one % 3 == 0 ? shape : channels);
    backend().batch_norm_grad(only);
    CHECK(got == (one == 0 ? all_dx : one == 1 ? all_dgamma : one == 2 ? all_dbeta : all_dresidual));
  }
}

TEST_CASE("a large mean costs the variance no digits") {
  for (const int64_t channels : {1, 3, 32, 64, 128}) {
    const int64_t rows = 200000 / channels;
    Random random(3, 1);
    std::vector<float> x(rows * channels), mean(channels), var(channels);
    for (float& v : x) v = static_cast<float>(random.normal() + 1e4);
    backend().moments(view(mean, {channels}), view(var, {channels}), view(x, {rows, channels}));
    double off_mean = 0, off_var = 0;
    for (int64_t c = 0; c < channels; ++c) {
      double m = 0, m2 = 0;
      for (int64_t r = 0; r < rows; ++r) m += static_cast<double>(x[r * channels + c]) / static_cast<double>(rows);
      for (int64_t r = 0; r < rows; ++r) m2 += std::pow(static_cast<double>(x[r * channels + c]) - m, 2);
      off_mean = std::max(off_mean, std::abs(static_cast<double>(mean[c]) - m));
      off_var = std::max(off_var, std::abs(static_cast<double>(var[c]) / (m2 / static_cast<double>(rows)) - 1));
    }
    CAPTURE(channels);
    CHECK(off_mean < 2e-3);  // a float near 1e4 is known to 1e-3
    CHECK(off_var < 1e-3);
  }
}

TEST_CASE_TEMPLATE("softmax, cross-entropy and layer norm of odd sizes", T, float, double) {
  for (const int64_t n : {2, 10, 15, 17, 63, 64, 65, 100, 197, 513, 5000})
    for (const int64_t rows : {1, 9, 70}) {
      CAPTURE(rows);
      CAPTURE(n);
      check_same(run_rows<T>(backend(), rows, n), run_rows<T>(reference_backend(), rows, n), 64);
    }
  check_same(run_rows<T>(backend(), 3, 65536), run_rows<T>(reference_backend(), 3, 65536), 64);
}

TEST_CASE_TEMPLATE("rows of one element", T, float, double) {
  Results<T> got = run_rows<T>(backend(), 70, 1), want = run_rows<T>(reference_backend(), 70, 1);
  // Loss and dlogits are 0, a difference of terms of up to 6 and 1: a relative error says nothing.
  for (const size_t i : {size_t{6}, size_t{4}}) {
    const std::string what = got[i].first;
    CAPTURE(what);
    CHECK((what == "dlogits" || what == "loss"));
    for (const T v : got[i].second) CHECK(std::abs(v) < T(8) * std::numeric_limits<T>::epsilon());
    got.erase(got.begin() + static_cast<ptrdiff_t>(i)), want.erase(want.begin() + static_cast<ptrdiff_t>(i));
  }
  check_same(got, want, 64);
}

TEST_CASE_TEMPLATE("pooling: padding, overlap, dilation, ties, NaN", T, float, double) {
  for (const PoolCase& c : pool_cases()) {
    CAPTURE(c.x);
    CAPTURE(c.y);
    const auto got = run_pool<T>(backend(), c), want = run_pool<T>(reference_backend(), c);
    CHECK(got[0].second == want[0].second);
    CHECK(got[1].second == want[1].second);
    check_same(got, want, 16);
  }
}

TEST_CASE("norms, softmax and pooling: the same bits with 1 and 2 threads") {
  const auto run = [](int count) {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, count);
    std::vector<float> all;
    const auto keep = [&](const Results<float>& results) {
      for (const auto& result : results) all.insert(all.end(), result.second.begin(), result.second.end());
    };
    tbb::task_arena(count).execute([&] {
      for (const int64_t channels : {3, 32, 128, 3000})
        keep(run_batch_norm<float>(backend(), {200000 / channels + 5, channels, true, true, true}));
      for (const int64_t n : {10, 513, 5000}) keep(run_rows<float>(backend(), 200000 / n, n));
      for (const PoolCase& c : pool_cases()) keep(run_pool<float>(backend(), c));
    });
    return all;
  };
  const auto one = run(1);
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto two = run(2);
    REQUIRE(two.size() == one.size());
    CHECK(std::memcmp(two.data(), one.data(), one.size() * sizeof(float)) == 0);
  }
}
