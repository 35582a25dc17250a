// Attention of the CPU backend against the reference: one token and many, blocks of queries and tiles of keys that are
// not whole, heads that share a task, odd sizes of a head, NaN, and the same bits at any number of threads.
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <cstring>
#include <string>

#include "backends/reference/backend.h"
#include "cpu_kernels.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

struct Case {
  int64_t samples, heads, queries, keys, size, values;
};

/// y, lse, dq, dk and dv, one after the other.
template <class T>
std::vector<T> run(Backend& backend, const Case& c, const char* nan_in = "") {
  constexpr double scale = 0.3;
  const int64_t n = c.samples * c.heads;
  auto q = numbers<T>(n * c.queries * c.size, 1), k = numbers<T>(n * c.keys * c.size, 2);
  auto v = numbers<T>(n * c.keys * c.values, 3), dy = numbers<T>(n * c.queries * c.values, 4);
  for (T& value : q) value *= T(4);
  const std::string where = nan_in;
  if (where == "first query") q[0] = std::numeric_limits<T>::quiet_NaN();
  if (where == "third key") k[2 * c.heads * c.size] = std::numeric_limits<T>::quiet_NaN();
  // Memory in the order of tokens: (N, T, heads, D).
  const auto by_tokens = [&](std::vector<T>& data, int64_t tokens, int64_t size) {
    const Shape shape{c.samples, c.heads, tokens, size};
    return view(data, shape, {tokens * c.heads * size, size, c.heads * size, 1});
  };
  std::vector<T> y(dy.size()), lse(n * c.queries), dq(q.size()), dk(k.size()), dv(v.size());
  const View lse_view = view(lse, {c.samples, c.heads, c.queries});
  const View q_view = by_tokens(q, c.queries, c.size), k_view = by_tokens(k, c.keys, c.size);
  const View v_view = by_tokens(v, c.keys, c.values), y_view = by_tokens(y, c.queries, c.values);
  backend.attention({y_view, lse_view, q_view, k_view, v_view, scale});
  backend.attention_grad({by_tokens(dq, c.queries, c.size), by_tokens(dk, c.keys, c.size),
                          by_tokens(dv, c.keys, c.values), by_tokens(dy, c.queries, c.values), q_view, k_view, v_view,
                          y_view, lse_view, scale});
  for (const std::vector<T>* part : {&lse, &dq, &dk, &dv}) y.insert(y.end(), part->begin(), part->end());
  return y;
}

reference::ReferenceBackend& reference_backend() {
  static reference::ReferenceBackend backend;
  return backend;
}

}  // namespace

TEST_CASE_TEMPLATE("attention of every kind of size", T, float, double) {
  for (const Case& c : {Case{1, 1, 1, 1, 1, 1},      // one of everything
                        Case{2, 3, 5, 7, 8, 24},     // fewer than a vector of queries, more values than keys
                        Case{3, 2, 17, 17, 64, 64},  // a ViT's few tokens
                        Case{50, 2, 17, 17, 5, 3},   // many short heads: several a task, the last one fewer
                        Case{2, 2, 65, 65, 32, 32}, Case{1, 2, 96, 97, 24, 40}, Case{1, 1, 97, 96, 33, 31},
                        Case{1, 2, 200, 300, 16, 16},  // two tiles of keys, groups of query blocks
                        Case{1, 1, 7, 700, 12, 20},    // three tiles, one short block
                        Case{1, 1, 33, 20, 300, 300}}) {
    CAPTURE(c.queries);
    CAPTURE(c.keys);
    CAPTURE(c.size);
    const std::vector<T> got = run<T>(backend(), c);
    const std::vector<double> want = run<double>(reference_backend(), c);
    CHECK(error(got, want, static_cast<double>(std::max({c.queries, c.keys, c.size, c.values}))) < 4 * kTolerance);
  }
}

TEST_CASE("attention: gradients that are not wanted are left out, the others are the same") {
  const Case c{2, 2, 19, 21, 8, 8};
  const int64_t n = c.samples * c.heads;
  auto q = numbers<float>(n * c.queries * c.size, 1), k = numbers<float>(n * c.keys * c.size, 2);
  auto v = numbers<float>(n * c.keys * c.values, 3), dy = numbers<float>(n * c.queries * c.values, 4);
  const Shape of_queries{2, 2, c.queries, 8}, of_keys{2, 2, c.keys, 8};
  std::vector<float> y(dy.size()), lse(n * c.queries);
  backend().attention({view(y, of_queries), view(lse, {2, 2, c.queries}), view(q, of_queries), view(k, of_keys),
                       view(v, of_keys), 0.5});
  const auto gradients = [&](bool with_q, bool with_k, bool with_v) {
    std::vector<float> dq(q.size()), dk(k.size()), dv(v.size());
    backend().attention_grad({with_q ? view(dq, of_queries) : View(), with_k ? view(dk, of_keys) : View(),
                              with_v ? view(dv, of_keys) : View(), view(dy, of_queries), view(q, of_queries),
                              view(k, of_keys), view(v, of_keys), view(y, of_queries), view(lse, {2, 2, c.queries}),
                              0.5});
    return std::vector{dq, dk, dv};
  };
  const auto all = gradients(true, true, true);
  const std::vector<float> none(q.size());
  CHECK(all[0] != none);
  CHECK(gradients(true, false, false)[0] == all[0]);
  CHECK(gradients(false, true, false)[1] == all[1]);
  CHECK(gradients(false, false, true)[2] == all[2]);
}

// A fused multiply-subtract of a logit and of the rounded largest one made weights of 5e5 here.
TEST_CASE("attention: the weights of a query sum to 1 however large its logits are") {
  constexpr int64_t kTokens = 40, kSize = 3;
  for (const float large : {1e2f, 1e4f, 1e6f, 1e7f, 1e8f, 1e10f, 1e15f}) {
    CAPTURE(large);
    auto q = numbers<float>(kTokens * kSize, 1), k = numbers<float>(kTokens * kSize, 2);
    std::vector<float> v(kTokens * kSize, 1), dy(kTokens * kSize, 1), y(kTokens * kSize), lse(kTokens);
    std::vector<float> dq(q.size()), dk(k.size()), dv(v.size());
    for (float& value : q) value *= large;
    const auto heads = [](std::vector<float>& data) { return view(data, {1, 1, kTokens, kSize}); };
    const View lse_view = view(lse, {1, 1, kTokens});
    backend().attention({heads(y), lse_view, heads(q), heads(k), heads(v), 0.577});
    backend().attention_grad(
        {heads(dq), heads(dk), heads(dv), heads(dy), heads(q), heads(k), heads(v), heads(y), lse_view, 0.577});
    for (const float value : y) CHECK(value == doctest::Approx(1).epsilon(1e-5));
    double sum = 0;
    for (const float value : dv) sum += value;
    CHECK(sum == doctest::Approx(kTokens * kSize).epsilon(1e-2));  // lse is rounded: a few units of its last place
    for (const float value : dq) CHECK(std::isfinite(value));
  }
}

TEST_CASE("attention: a NaN reaches the results that depend on it and no other") {
  const Case c{1, 2, 20, 18, 8, 8};
  const auto clean = run<float>(backend(), c), of_query = run<float>(backend(), c, "first query");
  const auto of_key = run<float>(backend(), c, "third key");
  for (int64_t i = 0; i < c.queries * c.heads * c.values; ++i) {
    CAPTURE(i);
    const int64_t token = i / (c.heads * c.values), head = i / c.values % c.heads;
    if (token == 0 && head == 0)
      CHECK(std::isnan(of_query[i]));
    else
      REQUIRE(of_query[i] == clean[i]);
    if (head == 0)  // every query meets the key
      CHECK(std::isnan(of_key[i]));
    else
      REQUIRE(of_key[i] == clean[i]);
  }
}

TEST_CASE("attention: the same bits with 1, 2 and 4 threads") {
  for (const Case& c : {Case{40, 3, 17, 17, 16, 16}, Case{1, 2, 400, 300, 16, 16}}) {
    const auto with = [&](int count) {
      const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, count);
      std::vector<float> result;
      tbb::task_arena(count).execute([&] { result = run<float>(backend(), c); });
      return result;
    };
    const std::vector<float> one = with(1);
    for (const int count : {2, 4}) {
      const std::vector<float> other = with(count);
      REQUIRE(other.size() == one.size());
      CHECK(std::memcmp(other.data(), one.data(), one.size() * sizeof(float)) == 0);
    }
  }
}
