// Evaluation against literal definitions: neighbours by a double loop, logistic regression at its optimum, known ranks.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "ssl/evaluate/evaluate.h"
#include "ssl/evaluate/metrics.h"
#include "tensor/ops.h"
#include "tensor/random.h"

using namespace tacit;
using namespace tacit::ssl;

namespace {

/// Normal clouds around one centre a class, `spread` wide; row i has class i % classes. The same centres at every seed.
FeatureSet clouds(int64_t n, int64_t d, int64_t classes, double spread, uint64_t seed) {
  const auto noise = Tensor::normal({n, d}, seed, 1).to_vector<float>();
  const auto centres = Tensor::normal({classes, d}, 7, 2).to_vector<float>();
  std::vector<float> x(noise.size());
  FeatureSet set;
  for (int64_t i = 0; i < n; ++i) {
    set.labels.push_back(i % classes);
    for (int64_t j = 0; j < d; ++j)
      x[i * d + j] = centres[(i % classes) * d + j] + static_cast<float>(spread) * noise[i * d + j];
  }
  set.features = Tensor::from(x, {n, d});
  return set;
}

double cosine(const std::vector<float>& a, int64_t i, const std::vector<float>& b, int64_t j, int64_t d) {
  double ab = 0, aa = 0, bb = 0;
  for (int64_t k = 0; k < d; ++k) {
    ab += double(a[i * d + k]) * b[j * d + k];
    aa += double(a[i * d + k]) * a[i * d + k];
    bb += double(b[j * d + k]) * b[j * d + k];
  }
  return ab / std::sqrt(aa * bb);
}

/// Predictions by the definition, one similarity at a time.
std::vector<int64_t> knn_by_definition(const FeatureSet& train, const FeatureSet& test, int64_t k, double temperature) {
  const auto a = test.features.to_vector<float>(), b = train.features.to_vector<float>();
  std::vector<int64_t> predictions;
  for (int64_t i = 0; i < test.size(); ++i) {
    std::vector<std::pair<double, int64_t>> all;
    for (int64_t j = 0; j < train.size(); ++j) all.emplace_back(-cosine(a, i, b, j, test.dimensions()), j);
    std::sort(all.begin(), all.end());
    std::map<int64_t, double> votes;
    for (int64_t j = 0; j < k; ++j) votes[train.labels[all[j].second]] += std::exp(-all[j].first / temperature);
    predictions.push_back(std::max_element(votes.begin(), votes.end(), [](const auto& x, const auto& y) {
                            return x.second < y.second;
                          })->first);
  }
  return predictions;
}

/// Gradient of mean cross-entropy + l2 / 2 |W|^2 by plain loops in f64; weight (classes, width), last column the bias.
std::vector<double> logistic_gradient(const std::vector<double>& x, int64_t width, const std::vector<int64_t>& labels,
                                      int64_t classes, double l2, const std::vector<double>& weight) {
  const int64_t n = static_cast<int64_t>(labels.size());
  std::vector<double> gradient(weight.size());
  for (int64_t i = 0; i < n; ++i) {
    std::vector<double> p(classes);
    double total = 0;
    for (int64_t c = 0; c < classes; ++c) {
      for (int64_t j = 0; j < width; ++j) p[c] += weight[c * width + j] * x[i * width + j];
      total += p[c] = std::exp(p[c]);
    }
    for (int64_t c = 0; c < classes; ++c)
      for (int64_t j = 0; j < width; ++j)
        gradient[c * width + j] += (p[c] / total - (labels[i] == c)) * x[i * width + j] / n;
  }
  for (int64_t c = 0; c < classes; ++c)
    for (int64_t j = 0; j + 1 < width; ++j) gradient[c * width + j] += l2 * weight[c * width + j];
  return gradient;
}

double largest(const std::vector<double>& values) {
  double m = 0;
  for (const double v : values) m = std::max(m, std::abs(v));
  return m;
}

}  // namespace

TEST_CASE("kNN agrees with a literal double loop, across blocks of queries and bank") {
  const FeatureSet train = clouds(5000, 6, 5, 1.5, 1), test = clouds(600, 6, 5, 1.5, 2);  // more than one block of each
  for (const int64_t k : {1, 20, 200}) {
    const KnnResult result = knn(train, test, {k, 0.1});
    const auto expected = knn_by_definition(train, test, k, 0.1);
    CHECK(accuracy(result.predictions, expected) > 0.995);  // f32 may swap neighbours whose similarities are equal
    CHECK(result.top1 == doctest::Approx(accuracy(expected, test.labels)).epsilon(0.01));
    CHECK(result.train_images == 5000);
    CHECK(result.test_images == 600);
  }
}

TEST_CASE("kNN with k = 1 finds each image itself, and low temperatures do not overflow") {
  const FeatureSet train = clouds(300, 8, 3, 2, 3);
  const Neighbours own = nearest(train.features, train.features, 1);
  for (int64_t i = 0; i < train.size(); ++i) CHECK(own.index[i] == i);
  CHECK(knn(train, train, {1, 0.1}).top1 == 1);
  const KnnResult cold = knn(train, train, {20, 1e-4});  // exp(1 / T) alone would be infinite
  CHECK(cold.top1 == 1);
}

TEST_CASE("equal similarities go to the lower index, in order, even across blocks") {
  std::vector<float> bank(2 * 9000);
  for (int64_t i = 0; i < 9000; ++i) bank[2 * i + (i % 3 == 0 ? 0 : 1)] = 1;  // every third points along the first axis
  const Neighbours found = nearest(Tensor::from(std::vector<float>{2, 0}, {1, 2}), Tensor::from(bank, {9000, 2}), 4);
  CHECK(found.index == std::vector<int64_t>{0, 3, 6, 9});
  CHECK(found.similarity == std::vector<float>{1, 1, 1, 1});
}

TEST_CASE("kNN refuses what it cannot do") {
  const FeatureSet train = clouds(10, 4, 2, 1, 1);
  CHECK_THROWS_WITH_AS(knn(train, train, {11, 0.1}), doctest::Contains("k = 11"), Error);
  CHECK_THROWS_AS(knn(train, train, {0, 0.1}), Error);
  CHECK_THROWS_WITH_AS(knn(train, train, {1, 0}), doctest::Contains("temperature"), Error);
  FeatureSet unlabelled = train;
  unlabelled.labels[3] = -1;
  CHECK_THROWS_WITH_AS(knn(unlabelled, train, {1, 0.1}), doctest::Contains("1 of 10 images of the training split"),
                       Error);
  CHECK_THROWS_WITH_AS(knn(train, clouds(10, 5, 2, 1, 1), {1, 0.1}), doctest::Contains("dimensions"), Error);
}

TEST_CASE("standardised features have mean 0 and std 1; nearly constant ones are not blown up") {
  const int64_t n = 400;
  auto x = Tensor::normal({n, 3}, 5, 1).to_vector<float>();
  for (int64_t i = 0; i < n; ++i) {
    x[3 * i + 1] = 5 + 3 * x[3 * i + 1];
    x[3 * i + 2] = 7 + 1e-4f * x[3 * i + 2];
  }
  const Tensor features = Tensor::from(x, {n, 3});
  const Standardizer standardizer(features);
  const Tensor design = standardizer.design(features);
  CHECK(design.shape() == Shape{n, 4});
  const auto means = mean(design, {0}).to_vector<float>(), variances = var(design, {0}).to_vector<float>();
  for (int j = 0; j < 3; ++j) CHECK(std::abs(means[j]) < 1e-4);
  CHECK(variances[0] == doctest::Approx(1).epsilon(1e-4));
  CHECK(variances[1] == doctest::Approx(1).epsilon(1e-4));
  CHECK(variances[2] < 1e-4);
  CHECK(means[3] == 1);  // the bias column
  const auto all = design.to_vector<float>(), some = standardizer.design(features, {7, 3}).to_vector<float>();
  CHECK(std::equal(some.begin(), some.begin() + 4, all.begin() + 28));
  CHECK(std::equal(some.begin() + 4, some.end(), all.begin() + 12));
}

TEST_CASE("constant features stay finite, NaN is refused") {
  const Tensor constant = Tensor::full({5, 2}, 3);
  CHECK(max_abs_difference(Standardizer(constant).design(constant).slice(1, 0, 2), Tensor::zeros({5, 2})) == 0);
  CHECK_THROWS_WITH_AS(Standardizer(Tensor::full({5, 2}, NAN)), doctest::Contains("NaN"), Error);
}

TEST_CASE("L-BFGS reaches the minimum of Rosenbrock's valley and of an ill-conditioned bowl") {
  Lbfgs valley({-1.2, 1}, {500, 1e-9, 8});
  while (!valley.done()) {
    const double x = valley.point()[0], y = valley.point()[1], a = 1 - x, b = y - x * x;
    valley.tell(a * a + 100 * b * b, {-2 * a - 400 * x * b, 200 * b});
  }
  CHECK(valley.point()[0] == doctest::Approx(1).epsilon(1e-6));
  CHECK(valley.point()[1] == doctest::Approx(1).epsilon(1e-6));
  CHECK(valley.gradient_norm() <= 1e-9);
  CHECK(valley.iterations() < 100);

  Lbfgs bowl(std::vector<double>(20, 1.0), {500, 1e-8, 8});
  while (!bowl.done()) {
    double value = 0;
    std::vector<double> gradient;
    for (size_t i = 0; i < 20; ++i) {
      const double curvature = std::pow(10, 4.0 * static_cast<double>(i) / 19), x = bowl.point()[i];
      value += 0.5 * curvature * x * x;
      gradient.push_back(curvature * x);
    }
    bowl.tell(value, gradient);
  }
  CHECK(largest(bowl.point()) < 1e-7);
}

TEST_CASE("L-BFGS stops at the limits it was given and backs off from infinite values") {
  Lbfgs limited({10}, {1, 0, 8});
  while (!limited.done()) limited.tell(std::cosh(limited.point()[0]), {std::sinh(limited.point()[0])});
  CHECK(limited.iterations() == 1);
  Lbfgs wall({1}, {100, 1e-8, 8});  // -log(x) + x / 100: infinite at 0 and below, minimum at 100
  while (!wall.done()) {
    const double x = wall.point()[0];
    wall.tell(x > 0 ? -std::log(x) + x / 100 : INFINITY, {-1 / x + 0.01});
  }
  CHECK(wall.point()[0] == doctest::Approx(100).epsilon(1e-4));
}

TEST_CASE("logistic regression: two classes at +-1 have a known optimum") {
  // By symmetry W = (-w, w), b = 0, and w solves sigmoid(-2 w) = l2 w (one image of each class, at -1 and +1).
  const Tensor design = Tensor::from(std::vector<double>{-1, 1, 1, 1}, {2, 2});
  for (const double l2 : {0.01, 1.0}) {
    double low = 0, high = 100;
    for (int i = 0; i < 200; ++i) {
      const double w = (low + high) / 2;
      (1 / (1 + std::exp(2 * w)) > l2 * w ? low : high) = w;
    }
    const LogisticFit fit = fit_logistic(design, {0, 1}, 2, {{l2, {}}}, {500, 1e-12, 8}).front();
    CHECK(fit.weight[0] == doctest::Approx(-low).epsilon(1e-6));
    CHECK(fit.weight[2] == doctest::Approx(low).epsilon(1e-6));
    CHECK(std::abs(fit.weight[1]) < 1e-9);
    CHECK(fit.loss == doctest::Approx(std::log1p(std::exp(-2 * low)) + l2 * low * low).epsilon(1e-9));
  }
}

TEST_CASE("logistic regression: the literal gradient vanishes at the fit; the bias is not penalised") {
  FeatureSet set = clouds(60, 4, 3, 1, 9);
  for (size_t i = 0; i < 15; ++i) set.labels[i] = 0;  // unequal classes, so that the biases are not 0
  const Tensor design = Standardizer(set.features).design(set.features).to(f64);
  const auto x = design.to_vector<double>();
  const auto fits = fit_logistic(design, set.labels, 3, {{0.1, {}}, {1e-3, {}}, {100, {}}}, {1000, 1e-9, 8});
  const double l2s[] = {0.1, 1e-3, 100};
  for (size_t p = 0; p < 3; ++p) CHECK(largest(logistic_gradient(x, 5, set.labels, 3, l2s[p], fits[p].weight)) < 1e-8);
  // Under an overwhelming penalty only the biases are left, and they give the class frequencies.
  std::vector<double> frequency(3);
  double total = 0;
  for (size_t c = 0; c < 3; ++c) total += frequency[c] = std::exp(fits[2].weight[5 * c + 4]);
  for (int64_t c = 0; c < 3; ++c) {
    const double share = static_cast<double>(std::count(set.labels.begin(), set.labels.end(), c)) / 60;
    CHECK(frequency[static_cast<size_t>(c)] / total == doctest::Approx(share).epsilon(0.02));
  }
}

TEST_CASE("logistic regression: problems side by side equal each alone, and rows are respected") {
  const FeatureSet set = clouds(80, 5, 4, 1, 4);
  const Standardizer standardizer(set.features);
  const Tensor design = standardizer.design(set.features).to(f64);
  std::vector<uint8_t> half(80);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < 80; i += 2) {
    half[static_cast<size_t>(i)] = 1;
    rows.push_back(i);
  }
  half[1] = 1;  // one odd row, so that all four classes are there
  half[3] = 1;
  rows.insert(rows.end(), {1, 3});
  const LbfgsOptions exact{1000, 1e-10, 8};
  const auto both = fit_logistic(design, set.labels, 4, {{0.1, {}}, {0.1, half}}, exact);
  const auto alone = fit_logistic(design, set.labels, 4, {{0.1, {}}}, exact).front();
  const auto cut =
      fit_logistic(index_select(design, 0, Tensor::from(rows, {42})), take(set.labels, rows), 4, {{0.1, {}}}, exact)
          .front();
  for (size_t i = 0; i < alone.weight.size(); ++i) {
    CHECK(both[0].weight[i] == doctest::Approx(alone.weight[i]).epsilon(1e-6));
    CHECK(both[1].weight[i] == doctest::Approx(cut.weight[i]).epsilon(1e-6));
  }
  CHECK(predict(design, alone).size() == 80);
}

TEST_CASE("logistic regression refuses bad problems") {
  const Tensor design = Tensor::ones({3, 2});
  CHECK_THROWS_WITH_AS(fit_logistic(design, {0, 1}, 2, {{1, {}}}), doctest::Contains("2 labels"), Error);
  CHECK_THROWS_WITH_AS(fit_logistic(design, {0, 1, 2}, 2, {{1, {}}}), doctest::Contains("label 2"), Error);
  CHECK_THROWS_WITH_AS(fit_logistic(design, {0, 1, 0}, 2, {{-1, {}}}), doctest::Contains("negative"), Error);
  CHECK_THROWS_WITH_AS(fit_logistic(design, {0, 1, 0}, 2, {{1, {0, 0, 0}}}), doctest::Contains("without any row"),
                       Error);
}

TEST_CASE("the penalty is chosen by cross-validation, and fixed where classes are too small for it") {
  // 40 images, 200 dimensions of noise around the centres: hardly any penalty overfits, the largest one underfits less.
  const FeatureSet set = clouds(40, 200, 4, 6, 11);
  const Tensor design = Standardizer(set.features).design(set.features);
  const double chosen = choose_l2(design, set.labels, 4);
  const std::vector<double> grid = CrossValidationOptions{}.grid;
  CHECK(std::count(grid.begin(), grid.end(), chosen) == 1);
  CHECK(choose_l2(design, set.labels, 4) == chosen);
  const FeatureSet few = clouds(16, 200, 4, 6, 11);  // 4 of each class
  CHECK(choose_l2(Standardizer(few.features).design(few.features), few.labels, 4) == 1);
}

TEST_CASE("hold-out: class-balanced, disjoint, complete, seeded") {
  const FeatureSet set = clouds(200, 1, 4, 1, 1);
  const HeldOut parts = hold_out(set.labels, 4, 0.1, 3);
  CHECK(parts.validation.size() == 20);
  for (const auto& rows : rows_by_class(take(set.labels, parts.validation), 4)) CHECK(rows.size() == 5);
  std::set<int64_t> all(parts.train.begin(), parts.train.end());
  all.insert(parts.validation.begin(), parts.validation.end());
  CHECK(all.size() == 200);
  CHECK(parts.train.size() == 180);
  CHECK(hold_out(set.labels, 4, 0.1, 3).validation == parts.validation);
  CHECK(hold_out(set.labels, 4, 0.1, 4).validation != parts.validation);
  CHECK(hold_out({0, 0, 1, 1}, 2, 0.1, 0).validation.size() == 2);  // at least one of each
  CHECK_THROWS_WITH_AS(hold_out({0, 0, 1}, 2, 0.1, 0), doctest::Contains("class 1"), Error);
}

TEST_CASE("linear probe: learns, sweeps on train alone, is the same every time") {
  const FeatureSet train = clouds(1200, 10, 4, 0.7, 1), test = clouds(400, 10, 4, 0.7, 2);
  LinearProbeOptions options;
  options.epochs = 10;
  options.batch_size = 128;
  const LinearProbeResult result = linear_probe(train, test, options);
  CHECK(result.top1 > 0.9);
  CHECK(result.sweep.size() == options.learning_rates.size());
  double best = -1, best_lr = 0;
  for (const SweepPoint& p : result.sweep)
    if (p.validation_top1 > best) {
      best = p.validation_top1;
      best_lr = p.lr;
    }
  CHECK(result.best_lr == best_lr);
  CHECK(result.predictions.size() == 400);
  CHECK(linear_probe(train, test, options).predictions == result.predictions);

  // With the test labels turned wrong the choice and the sweep stay, and only the test accuracy falls.
  FeatureSet wrong = test;
  for (int64_t& label : wrong.labels) label = (label + 1) % 4;
  const LinearProbeResult blind = linear_probe(train, wrong, options);
  CHECK(blind.best_lr == result.best_lr);
  CHECK(blind.predictions == result.predictions);
  for (size_t i = 0; i < blind.sweep.size(); ++i)
    CHECK(blind.sweep[i].validation_top1 == result.sweep[i].validation_top1);
  CHECK(blind.top1 < 0.1);
}

TEST_CASE("linear probe: side by side equals one rate alone, and a hopeless rate is not chosen") {
  const FeatureSet train = clouds(600, 6, 3, 0.8, 1), test = clouds(300, 6, 3, 0.8, 2);
  LinearProbeOptions options{{1e-9, 1e-2}, 5, 64, 0.1, 0};
  const LinearProbeResult both = linear_probe(train, test, options);
  CHECK(both.best_lr == 1e-2);
  options.learning_rates = {1e-2};
  const LinearProbeResult alone = linear_probe(train, test, options);
  CHECK(alone.sweep[0].validation_top1 == doctest::Approx(both.sweep[1].validation_top1).epsilon(1e-9));
  CHECK(alone.predictions == both.predictions);
}

TEST_CASE("linear probe refuses bad options and unlabelled data") {
  const FeatureSet train = clouds(40, 4, 2, 1, 1);
  CHECK_THROWS_AS(linear_probe(train, train, {{}, 5, 64, 0.1, 0}), Error);
  CHECK_THROWS_AS(linear_probe(train, train, {{0.1}, 0, 64, 0.1, 0}), Error);
  CHECK_THROWS_AS(linear_probe(train, train, {{-0.1}, 5, 64, 0.1, 0}), Error);
  FeatureSet unlabelled = train;
  std::fill(unlabelled.labels.begin(), unlabelled.labels.end(), -1);
  CHECK_THROWS_WITH_AS(linear_probe(unlabelled, train), doctest::Contains("40 of 40 images"), Error);
  CHECK_THROWS_WITH_AS(linear_probe(train, unlabelled), doctest::Contains("the test split"), Error);
}

TEST_CASE("label draws: balanced, ascending, a function of seed, count and draw") {
  const auto labels = clouds(300, 1, 5, 1, 1).labels;
  const LabelDraw draw = draw_labels(labels, 5, 10, 0, 0);
  CHECK(draw.indices.size() == 50);
  CHECK(std::is_sorted(draw.indices.begin(), draw.indices.end()));
  CHECK(std::set<int64_t>(draw.indices.begin(), draw.indices.end()).size() == 50);
  for (const auto& rows : rows_by_class(take(labels, draw.indices), 5)) CHECK(rows.size() == 10);
  CHECK(draw_labels(labels, 5, 10, 0, 0).indices == draw.indices);
  CHECK(draw_labels(labels, 5, 10, 1, 0).indices != draw.indices);
  CHECK(draw_labels(labels, 5, 10, 0, 1).indices != draw.indices);
  CHECK(draw_labels(labels, 5, 60, 0, 0).indices.size() == 300);
  CHECK_THROWS_WITH_AS(draw_labels({0, 0, 1}, 2, 2, 0, 0, {"shirt", "boot"}), doctest::Contains("class 1 (boot) has 1"),
                       Error);
  CHECK_THROWS_WITH_AS(draw_labels({0, 0, 2, 2}, 3, 2, 0, 0), doctest::Contains("class 1 has 0"), Error);
  CHECK_THROWS_AS(draw_labels(labels, 5, 0, 0, 0), Error);
}

TEST_CASE("label efficiency: every method sees the same draws; mean and sample std over them") {
  const auto labels = clouds(300, 1, 5, 1, 1).labels;
  const auto draws = draw_all(labels, 5, {{1, 10}, 3, 0});
  CHECK(draws.size() == 6);
  std::vector<std::vector<int64_t>> seen;
  const auto rows = label_efficiency("supervised", draws, [&](const LabelDraw& d) {
    seen.push_back(d.indices);
    return 0.5 + 0.1 * static_cast<double>(d.draw);
  });
  REQUIRE(rows.size() == 2);
  CHECK(rows[1].labels_per_class == 10);
  CHECK(rows[1].method == "supervised");
  CHECK(rows[1].mean == doctest::Approx(0.6));
  CHECK(rows[1].std == doctest::Approx(0.1));
  CHECK(rows[1].draws == 3);
  for (size_t i = 0; i < draws.size(); ++i) CHECK(seen[i] == draws[i].indices);
  CHECK(label_efficiency("run", draw_all(labels, 5, {{2}, 1, 0}), [](const LabelDraw&) { return 0.7; })[0].std == 0);
}

TEST_CASE("label efficiency: logistic regression on frozen features gains from labels") {
  const FeatureSet train = clouds(1000, 20, 5, 1.5, 1), test = clouds(500, 20, 5, 1.5, 2);
  const auto rows = label_efficiency("run", draw_all(train.labels, 5, {{1, 50}, 2, 0}), logistic_on_draws(train, test));
  CHECK(rows[0].mean > 0.3);  // chance is 0.2
  CHECK(rows[1].mean > rows[0].mean + 0.1);
  CHECK(rows[1].mean > 0.8);
}

TEST_CASE("feature std: 1 for random directions, 0 when collapsed") {
  CHECK(feature_std(Tensor::normal({4000, 64}, 1, 1)) == doctest::Approx(1).epsilon(0.02));
  CHECK(feature_std(Tensor::full({100, 64}, 2)) < 1e-3);
  CHECK(feature_std(Tensor::normal({4000, 64}, 1, 1) * 100) == doctest::Approx(1).epsilon(0.02));  // scale-free
}

TEST_CASE("RankMe: the rank of matrices whose rank is known") {
  std::vector<float> identity(16 * 16);
  for (int i = 0; i < 16; ++i) identity[i * 17] = 3;
  CHECK(rank_me(Tensor::from(identity, {16, 16})) == doctest::Approx(16));
  CHECK(rank_me(Tensor::from(identity, {16, 16}).slice(0, 0, 5)) == doctest::Approx(5));  // fewer images than D
  const Tensor column = Tensor::normal({50, 1}, 1, 1), row = Tensor::normal({1, 32}, 1, 2);
  CHECK(rank_me(matmul(column, row)) == doctest::Approx(1).epsilon(1e-3));
  // Singular values 3 and 1: exp of the entropy of (3/4, 1/4).
  const double expected = std::exp(-(0.75 * std::log(0.75) + 0.25 * std::log(0.25)));
  CHECK(rank_me(Tensor::from(std::vector<float>{3, 0, 0, 1, 0, 0}, {3, 2})) == doctest::Approx(expected));
  CHECK(rank_me(Tensor::zeros({4, 4})) == 0);
  CHECK_THROWS_WITH_AS(rank_me(Tensor::full({4, 4}, NAN)), doctest::Contains("NaN"), Error);
}

TEST_CASE("JSON has the names that scripts rely on, and fractions") {
  EvaluationTable table;
  table.knn = {0.855, 0.829, 0.888};
  table.linear = {0.844, 0.813, 0.887};
  table.label_efficiency = {{10, "pixels", 0.723, 0.007, 3, {}}, {10, "run", 0.777, 0.01, 3, {}}};
  const auto json = to_json(table);
  CHECK(json["knn"]["pixels"] == 0.855);
  CHECK(json["knn"]["random"] == 0.829);
  CHECK(json["linear"]["run"] == 0.887);
  CHECK(json["label_efficiency"][1] ==
        nlohmann::json{{"labels_per_class", 10}, {"method", "run"}, {"mean", 0.777}, {"std", 0.01}, {"draws", 3}});
  const std::string text = render(table);
  CHECK(text.find("85.5") != std::string::npos);
  CHECK(text.find("77.7 ± 1.0") != std::string::npos);

  const auto neighbours = to_json(KnnResult{0.9, {20, 0.1}, 100, 10, {}});
  CHECK(neighbours ==
        nlohmann::json{{"top1", 0.9}, {"k", 20}, {"temperature", 0.1}, {"train_images", 100}, {"test_images", 10}});
  const auto linear = to_json(LinearProbeResult{0.9, 0.01, {{0.01, 0.8}}, {}});
  CHECK(linear["top1"] == 0.9);
  CHECK(linear["best_lr"] == 0.01);
  CHECK(linear["sweep"][0] == nlohmann::json{{"lr", 0.01}, {"validation_top1", 0.8}});
  CHECK(to_json(std::vector<LabelDraw>{{10, 1, {4, 7}}})[0]["indices"] == nlohmann::json{4, 7});
}
