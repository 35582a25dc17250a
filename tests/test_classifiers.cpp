// Classifiers on features against literal definitions: neighbours by a double loop, logistic regression at its optimum.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "ssl/evaluate/duplicates.h"
#include "ssl/evaluate/knn.h"
#include "ssl/evaluate/linear.h"
#include "ssl/evaluate/logistic.h"
#include "tensor/ops.h"
#include "tests/clouds.h"

using namespace tacit;
using namespace tacit::ssl;

namespace {

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

TEST_CASE("pixel correlation: mirrored, brighter and flat images") {
  const std::vector<float> ramp{0, 1, 2, 0, 1, 5}, mirrored{2, 1, 0, 5, 1, 0}, brighter{1, 3, 5, 1, 3, 11},
      other{5, 0, 0, 1, 0, 1}, flat(6, 0.5f), darker(6, 0.25f);
  const auto between = [](const std::vector<float>& a, const std::vector<float>& b) {
    return pixel_correlation(a.data(), b.data(), 2, 3, 1);
  };
  CHECK(between(ramp, ramp) == doctest::Approx(1));
  CHECK(between(ramp, mirrored) == doctest::Approx(1));
  CHECK(between(ramp, brighter) == doctest::Approx(1));
  CHECK(between(ramp, other) < 0.5);
  CHECK(between(flat, flat) == 1);
  CHECK(between(flat, darker) == 0);
  CHECK(between(flat, ramp) == 0);
  // Colours without a pattern, whatever their channels are.
  const std::vector<float> red{1, 0, 0, 1, 0, 0}, red_too = red, wine{.5f, .2f, .2f, .5f, .2f, .2f},
                                                  both{1, 0, 0, 0, 1, 0};
  const auto colours = [](const std::vector<float>& a, const std::vector<float>& b) {
    return pixel_correlation(a.data(), b.data(), 1, 2, 3);
  };
  CHECK(colours(red, red_too) == 1);
  CHECK(colours(red, wine) == 0);
  CHECK(colours(red, both) == 0);
  CHECK(colours(both, both) == doctest::Approx(1));
  // By hand, two pixels of two channels: deviations (-2, -1, 0, 3) and (-1, 2, -2, 1), turned over (-2, 1, -1, 2).
  const std::vector<float> a{0, 1, 2, 5}, b{1, 4, 0, 3};
  CHECK(pixel_correlation(a.data(), b.data(), 1, 2, 2) == doctest::Approx(9 / std::sqrt(14.0 * 10)));
}

TEST_CASE("duplicates: candidates by features, groups by pixels, joined through any member") {
  // Images 0, 3, 4 are a chain: 3 resembles both, these not each other. 2 and 5 are equal. 1 has the pixels of 2 and 5
  // but features of another kind: it is never compared with them.
  const std::vector<float> pixels{1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0.5f, 0, 0, 1, 0.9f, 0, 0, 0, 0, 0, 1};
  const Tensor thumbnails = Tensor::from(pixels, {6, 4, 1, 1});
  const Tensor features = Tensor::from(std::vector<float>{1, 0, 0, -1, 0, 1, 1, 0.01f, 1, 0.02f, 0, 2}, {6, 2});
  const std::vector<DuplicateGroup> groups = duplicates(features, thumbnails, 0.86, 2);
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].images == std::vector<int64_t>{2, 5});
  CHECK(groups[0].similarity[0] == doctest::Approx(1));
  CHECK(groups[1].images == std::vector<int64_t>{0, 3, 4});
  CHECK(groups[1].similarity[0] < 0.95);
  CHECK(groups[1].similarity[1] >= groups[1].similarity[0]);
  CHECK(duplicates(features, thumbnails, 0.999, 2).size() == 1);
  CHECK(duplicates(features.slice(0, 0, 1), thumbnails.slice(0, 0, 1), -1).empty());
  // More copies than neighbours that are looked at are still found.
  const std::vector<DuplicateGroup> copies = duplicates(Tensor::ones({40, 3}), Tensor::ones({40, 2, 2, 1}), 0.99, 3);
  REQUIRE(copies.size() == 1);
  CHECK(copies[0].images.size() == 40);
  CHECK_THROWS_WITH_AS(duplicates(Tensor::full({3, 2}, NAN), Tensor::ones({3, 2, 2, 1}), 0.9),
                       doctest::Contains("not finite"), Error);
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

TEST_CASE("L-BFGS reaches the minimum of Rosenbrock's valley and of a stretched bowl") {
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
      const double curvature = std::pow(10, 2.0 * static_cast<double>(i) / 19), x = bowl.point()[i];
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
  const FeatureSet clean = clouds(60, 20, 4, 0.5, 11);
  const Tensor design = Standardizer(clean.features).design(clean.features);
  CHECK(choose_l2(design, clean.labels, 4, {{100, 1e-3}, 5, 1, 0}) == 1e-3);  // a strong penalty hides what is there
  // Labels without any relation to the features: whatever is learnt is wrong.
  const auto noise = shuffled(clean.labels, 3, 1);
  CHECK(choose_l2(design, noise, 4, {{1e-3, 100}, 5, 1, 0}) == 100);

  std::vector<int64_t> from_one = clean.labels;  // class number 0 without an image
  for (int64_t& label : from_one) ++label;
  CHECK(choose_l2(design, from_one, 5, {{100, 1e-3}, 5, 1, 0}) == 1e-3);

  const FeatureSet few = clouds(16, 20, 4, 0.5, 11);  // 4 of each class
  CHECK(choose_l2(Standardizer(few.features).design(few.features), few.labels, 4) == 1);
  CHECK_THROWS_AS(choose_l2(design, clean.labels, 4, {{}, 5, 1, 0}), Error);
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

TEST_CASE("linear probe without a sweep: one rate, no image held out, so a class may have a single one") {
  const FeatureSet train = clouds(600, 6, 3, 0.8, 1), test = clouds(300, 6, 3, 0.8, 2);
  const LinearProbeOptions options{{1e-2}, 5, 64, 0, 0};
  const LinearProbeResult result = linear_probe(train, test, options);
  CHECK(result.best_lr == 1e-2);
  CHECK(result.sweep.empty());
  CHECK(result.predictions == linear_probe(train, test, {{1e-2}, 5, 64, 0.1, 0}).predictions);
  CHECK_NOTHROW(linear_probe(clouds(3, 6, 3, 0.8, 1), test, options));
  CHECK_THROWS_WITH_AS(linear_probe(train, test, {{1e-2, 1e-3}, 5, 64, 0, 0}), doctest::Contains("held out"), Error);
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
