// k-means, mutual information, clusters as classes, principal components.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backends/cpu/backend.h"
#include "ssl/evaluate/clustering.h"
#include "ssl/evaluate/pca.h"
#include "tensor/ops.h"
#include "tensor/random.h"

using namespace tacit;
using namespace tacit::ssl;

namespace {

/// n rows around each of k far corners, in turn.
Tensor clouds(int64_t n, int64_t k, int64_t d, double spread) {
  Tensor x = Tensor::normal({n * k, d}, 7, random_stream("clouds")) * spread;
  std::vector<float> shift(static_cast<size_t>(n * k * d));
  for (int64_t i = 0; i < n * k; ++i) shift[static_cast<size_t>(i * d + i % k)] = 10;
  return x + Tensor::from(shift, {n * k, d});
}

double literal_inertia(const Tensor& points, const KMeansResult& r) {
  double total = 0;
  for (int64_t i = 0; i < points.size(0); ++i) {
    double least = INFINITY;
    for (int64_t c = 0; c < r.centres.size(0); ++c) {
      const Tensor d = points.select(0, i) - r.centres.select(0, c);
      least = std::min(least, sum(d * d).item());
    }
    total += least;
  }
  return total;
}

}  // namespace

TEST_CASE("k-means finds separated clouds; its centres are their means; inertia is what it says") {
  const Tensor points = clouds(20, 5, 8, 1.0);
  const KMeansResult found = k_means(points, {.k = 5, .tolerance = 0, .seed = 1});
  std::vector<int64_t> truth;
  for (int64_t i = 0; i < 100; ++i) truth.push_back(i % 5);
  CHECK(normalized_mutual_information(found.cluster, truth) == doctest::Approx(1));
  CHECK(cluster_accuracy(found.cluster, truth) == 1);
  CHECK(found.inertia == doctest::Approx(literal_inertia(points, found)).epsilon(1e-5));
  std::vector<int64_t> first;
  for (int64_t i = 0; i < 100; i += 5) first.push_back(i);
  const Tensor mean_of_first = mean(index_select(points, 0, Tensor::from(first, {20})), {0});
  CHECK(max_abs_difference(found.centres.select(0, found.cluster[0]), mean_of_first) < 1e-5);
}

TEST_CASE("k-means: the same bits at 1 and 3 threads and every time; more restarts are never worse") {
  const Tensor points = Tensor::normal({3000, 16}, 1, 2);
  const auto run = [&](int threads, int restarts) {
    const int before = cpu::threads();
    cpu::set_threads(threads);
    KMeansResult result = k_means(points, {.k = 12, .restarts = restarts, .max_iterations = 20});
    cpu::set_threads(before);
    return result;
  };
  const KMeansResult one = run(1, 2), three = run(3, 2), single = run(3, 1);
  CHECK(one.cluster == three.cluster);
  CHECK(one.inertia == three.inertia);
  CHECK(max_abs_difference(one.centres, three.centres) == 0);
  CHECK(one.inertia <= single.inertia);
  CHECK(one.inertia < sum(points * points).item());
}

TEST_CASE("k-means: equal points, one cluster, as many clusters as points; what it refuses") {
  const Tensor two = Tensor::from(std::vector<float>{0, 0, 0, 0, 5, 5, 5, 5}, {8, 1});
  const KMeansResult three_of_two = k_means(two, {.k = 3});
  CHECK(three_of_two.inertia == 0);
  CHECK(three_of_two.cluster[0] != three_of_two.cluster[7]);
  CHECK(k_means(Tensor::ones({6, 3}), {.k = 6}).inertia == doctest::Approx(0));
  const KMeansResult all = k_means(two, {.k = 1});
  CHECK(all.centres.item() == 2.5);
  CHECK(all.inertia == doctest::Approx(50));
  const Tensor points = Tensor::normal({7, 2}, 3, 4);
  CHECK(k_means(points, {.k = 7}).inertia < 1e-5);
  CHECK_THROWS_WITH_AS(k_means(points, {.k = 8}), doctest::Contains("8 clusters of 7"), Error);
  CHECK_THROWS_WITH_AS(k_means(Tensor::full({4, 2}, NAN), {.k = 2}), doctest::Contains("NaN"), Error);
}

TEST_CASE("mutual information by hand") {
  using L = std::vector<int64_t>;
  CHECK(normalized_mutual_information(L{0, 0, 1, 1}, L{3, 3, 0, 0}) == doctest::Approx(1));
  CHECK(normalized_mutual_information(L{0, 0, 1, 1}, L{0, 1, 0, 1}) == doctest::Approx(0));
  CHECK(normalized_mutual_information(L{0, 0, 1, 1}, L{0, 0, 1, 2}) == doctest::Approx(0.8));
  CHECK(normalized_mutual_information(L{0, 0}, L{1, 1}) == 1);
  CHECK_THROWS_AS(normalized_mutual_information(L{0, -1}, L{1, 1}), Error);
  CHECK_THROWS_AS(normalized_mutual_information(L{0}, L{1, 1}), Error);
}

TEST_CASE("assignment is the best of all permutations") {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const int64_t n = 1 + static_cast<int64_t>(seed % 6);
    Random random(seed, 1);
    std::vector<double> cost;
    for (int64_t i = 0; i < n * n; ++i) cost.push_back(random.uniform(-5, 5));
    const auto total = [&](const std::vector<int64_t>& columns) {
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += cost[static_cast<size_t>(i * n + columns[static_cast<size_t>(i)])];
      return sum;
    };
    std::vector<int64_t> columns(static_cast<size_t>(n));
    std::iota(columns.begin(), columns.end(), int64_t{0});
    double best = INFINITY;
    do best = std::min(best, total(columns));
    while (std::next_permutation(columns.begin(), columns.end()));
    CHECK(total(assignment(cost, n)) == doctest::Approx(best));
  }
  CHECK(cluster_accuracy({0, 0, 1, 1, 2}, {1, 1, 0, 0, 0}) == doctest::Approx(0.8));  // more clusters than classes
  CHECK(cluster_accuracy({0, 0, 0, 0}, {0, 1, 2, 3}) == doctest::Approx(0.25));
}

TEST_CASE("clustering of features: k is the number of classes, length does not count; labels are needed") {
  FeatureSet set{clouds(20, 4, 6, 0.5), {}};
  for (int64_t i = 0; i < 80; ++i) set.labels.push_back(i % 4);
  set.features = set.features * Tensor::uniform({80, 1}, 5, 6);  // another length each
  const ClusteringScores scores = clustering(set, 0);
  CHECK(scores.k == 4);
  CHECK(scores.nmi > 0.95);
  CHECK(scores.accuracy > 0.95);
  for (int64_t& label : set.labels) label = 2 * label + 1;  // numbers without images are no classes
  CHECK(clustering(set, 0).k == 4);
  CHECK(clustering(set, 0).accuracy == scores.accuracy);
  set.labels[3] = -1;
  CHECK_THROWS_WITH_AS(clustering(set, 0), doctest::Contains("no label"), Error);
}

TEST_CASE("principal components: known directions, orthonormal, signs fixed, variance explained") {
  // Variance 9 along (3, 4) / 5 and 1 across it, about (10, 20).
  const Tensor z = Tensor::normal({4000, 2}, 1, 3);
  const Tensor turn = Tensor::from(std::vector<float>{3 * 0.6f, 3 * 0.8f, -0.8f, 0.6f}, {2, 2});
  const Tensor x = matmul(z, turn) + Tensor::from(std::vector<float>{10, 20}, {2});
  const Pca pca = principal_components(x);
  CHECK(pca.explained[0] == doctest::Approx(0.9).epsilon(0.02));
  CHECK(pca.explained[0] + pca.explained[1] == doctest::Approx(1));
  const auto c = pca.components.to_vector<double>();
  CHECK(c[0] == doctest::Approx(0.6).epsilon(0.02));
  CHECK(c[1] == doctest::Approx(0.8).epsilon(0.02));
  CHECK(std::abs(c[0] * c[2] + c[1] * c[3]) < 1e-12);
  const Pca mirrored = principal_components(x * -1.0);
  CHECK(max_abs_difference(mirrored.components, pca.components) < 1e-6);
  const Tensor projected = pca.project(x);
  CHECK(std::abs(mean(projected).item()) < 1e-9);
  CHECK(principal_components(Tensor::ones({5, 3})).explained[0] == 0);
  CHECK_THROWS_AS(principal_components(Tensor::ones({1, 3})), Error);
  CHECK_THROWS_AS(principal_components(Tensor::ones({5, 1})), Error);
  CHECK_THROWS_WITH_AS(principal_components(Tensor::full({4, 3}, INFINITY)), doctest::Contains("NaN"), Error);
}
