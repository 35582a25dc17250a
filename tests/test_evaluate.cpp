// Evaluation of encoders: features, label draws, collapse metrics of matrices of known rank, the whole table, its JSON.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/figures.h"
#include "ssl/evaluate/evaluate.h"
#include "ssl/evaluate/metrics.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/clouds.h"

using namespace tacit;
using namespace tacit::ssl;
using cli::to_json;

namespace {

/// 8 x 8 gray images: vertical or horizontal stripes (the class) of a width and brightness that depend on i.
class Stripes : public ImageSource {
 public:
  Stripes(int64_t n, bool with_labels = true) : n_(n), with_labels_(with_labels) {}
  int64_t size() const override { return n_; }
  Image image(int64_t i) const override {
    Image image{8, 8, 1, std::vector<uint8_t>(64)};
    Random random(5, random_stream("stripes", static_cast<uint64_t>(i)));
    const auto phase = static_cast<int64_t>(random.below(4)), light = static_cast<int64_t>(100 + random.below(100));
    for (int64_t y = 0; y < 8; ++y)
      for (int64_t x = 0; x < 8; ++x)
        image.pixels[static_cast<size_t>(8 * y + x)] =
            static_cast<uint8_t>((((i % 2 ? x : y) + phase) / 2 % 2 ? light : 0) + random.below(50));
    return image;
  }
  std::optional<int64_t> label(int64_t i) const override {
    return with_labels_ ? std::optional<int64_t>(i % 2) : std::nullopt;
  }
  int64_t channels() const override { return 1; }
  std::pair<int64_t, int64_t> image_size() const override { return {8, 8}; }
  std::vector<std::string> class_names() const override {
    return with_labels_ ? std::vector<std::string>{"horizontal", "vertical"} : std::vector<std::string>{};
  }

 private:
  int64_t n_;
  bool with_labels_;
};

PlainViews stripes_views() {
  PlainViews views{{}, 8, 1, 32};
  views.normalisation.mean = {0.3f};
  views.normalisation.std = {0.3f};
  return views;
}
const nn::EncoderOptions kSmall{.name = "small_cnn", .width = 4, .image_size = 8, .channels = 1, .seed = 1};

}  // namespace

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
  // A number that no image has, as class 0 where labels begin at 1, is no class.
  CHECK(draw_labels({1, 1, 3, 3, 3}, 4, 2, 0, 0).indices.size() == 4);
  CHECK(smallest_class({1, 1, 3, 3, 3}, 4) == std::pair<int64_t, int64_t>{1, 2});
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

TEST_CASE("pixels: normalised rows in the source's order, whatever the batch size") {
  const Stripes source(10);
  PlainViews views = stripes_views();
  views.batch_size = 3;
  const FeatureSet set = pixel_features(source, views);
  CHECK(set.features.shape() == Shape{10, 64});
  const auto x = set.features.to_vector<float>();
  for (int64_t i = 0; i < 10; ++i) {
    CHECK(set.labels[i] == i % 2);
    const Image image = source.image(i);
    for (int64_t j = 0; j < 64; ++j)
      CHECK(x[64 * i + j] == doctest::Approx((image.pixels[j] / 255.0 - 0.3) / 0.3).epsilon(1e-5));
  }
}

TEST_CASE("features that are not finite are an error, not an accuracy") {
  const Stripes source(10);
  PlainViews views;
  views.image_size = 8;
  views.channels = 1;
  for (const double wrong : {std::nan(""), std::numeric_limits<double>::infinity()})
    CHECK_THROWS_WITH_AS(
        extract_features([&](const Tensor& images) { return images + Tensor::full({1}, wrong); }, source, views),
        doctest::Contains("NaN or infinite"), Error);
}

TEST_CASE("encoder features: extraction changes neither the encoder's numbers nor its mode") {
  nn::Encoder encoder = nn::make_encoder(kSmall);
  encoder.train();
  const auto before = nn::state_dict(encoder);
  std::map<std::string, Tensor> copies;
  for (const auto& [name, value] : before) copies[name] = value.clone();
  const FeatureSet set = encoder_features(encoder, Stripes(40), stripes_views());
  CHECK(set.features.shape() == Shape{40, encoder.features()});
  CHECK(encoder.training());
  for (const auto& [name, value] : nn::state_dict(encoder)) CHECK(max_abs_difference(value, copies[name]) == 0);
  // In evaluation mode an image's features do not depend on its batch.
  PlainViews single = stripes_views();
  single.batch_size = 7;
  CHECK(max_abs_difference(encoder_features(encoder, Stripes(40), single).features, set.features) < 1e-5);
}

TEST_CASE("plain views: fewer images at a time where images are large; the features do not change") {
  PlainViews views = stripes_views();
  views.batch_size = 0;
  for (const auto& [size, images] : std::map<int64_t, int64_t>{{8, 256}, {64, 256}, {224, 20}, {512, 4}, {1024, 4}}) {
    views.image_size = size;
    CHECK(views.images_at_once() == images);
  }
  nn::Encoder encoder = nn::make_encoder(kSmall);
  views.image_size = 8;
  const FeatureSet together = encoder_features(encoder, Stripes(40), views);
  views.batch_size = 3;
  CHECK(max_abs_difference(encoder_features(encoder, Stripes(40), views).features, together.features) < 1e-6);
}

TEST_CASE("the untrained encoder has batch norm statistics of the data, the same every time") {
  const auto train = std::make_shared<Stripes>(60);
  nn::Encoder fresh = nn::make_encoder(kSmall), random = random_encoder(kSmall, train, stripes_views());
  nn::Encoder again = random_encoder(kSmall, train, stripes_views());
  CHECK_FALSE(random.training());
  const auto a = nn::state_dict(fresh), b = nn::state_dict(random), c = nn::state_dict(again);
  int moved = 0;
  for (const auto& [name, value] : b) {
    const bool statistic = name.find("running_") != std::string::npos;
    const double distance = max_abs_difference(value.to(f64), a.at(name).to(f64));
    moved += statistic;
    if (statistic) CHECK(distance > 1e-3);
    if (name.find("weight") != std::string::npos) CHECK(distance == 0);
    CHECK(max_abs_difference(value.to(f64), c.at(name).to(f64)) == 0);
  }
  CHECK(moved == 8);  // four batch norms
}

TEST_CASE("the untrained encoder without batch norm looks at no image: fixed positions are no statistics") {
  class Untouched final : public ImageSource {
   public:
    int64_t size() const override { return 60; }
    Image image(int64_t) const override { throw Error("looked at"); }
    std::optional<int64_t> label(int64_t) const override { return 0; }
    int64_t channels() const override { return 3; }
  };
  const nn::EncoderOptions vit{.name = "vit_micro", .width = 16, .image_size = 16, .patch_size = 8, .drop_path = 0.5};
  CHECK_NOTHROW(random_encoder(vit, std::make_shared<Untouched>(), stripes_views()));
}

TEST_CASE("the whole table: every method, the same draws, numbers in range") {
  const auto train = std::make_shared<Stripes>(120), test = std::make_shared<Stripes>(60);
  nn::Encoder run = random_encoder(kSmall, train, stripes_views());
  EvaluateOptions options;
  options.linear.epochs = 3;
  options.labels = {{2, 8}, 2, 0};
  std::vector<std::vector<int64_t>> seen;
  options.trained = {{"supervised", [&](const LabelDraw& draw) {
                        seen.push_back(draw.indices);
                        return 0.75;
                      }}};
  std::string parts;
  options.progress = [&](const std::string& part) { parts += part + "\n"; };
  const EvaluationTable table = evaluate(run, kSmall, train, test, stripes_views(), options);
  std::vector<std::string> methods;
  for (const auto& row : table.label_efficiency) {
    methods.push_back(row.method + std::to_string(row.labels_per_class));
    CHECK(row.draws == 2);
    CHECK(row.mean >= 0);
    CHECK(row.mean <= 1);
  }
  CHECK(methods == std::vector<std::string>{"pixels2", "random2", "supervised2", "run2", "pixels8", "random8",
                                            "supervised8", "run8"});
  REQUIRE(seen.size() == 4);
  for (size_t i = 0; i < 4; ++i) CHECK(seen[i] == table.draws[i].indices);
  // The run is the same untrained network here, and so are its figures.
  CHECK(table.knn.run == table.knn.random);
  CHECK(table.linear.run == table.linear.random);
  CHECK(table.knn.pixels > 0.8);
  CHECK(table.clusters == 2);
  CHECK(table.nmi.run == table.nmi.random);
  CHECK(table.cluster_accuracy.pixels >= 0.5);  // two classes
  CHECK(table.pca.shape() == Shape{60, 2});
  CHECK(table.explained[0] >= table.explained[1]);
  CHECK(table.rank_me >= 1);
  CHECK(parts.find("random: linear probe") != std::string::npos);

  CHECK_THROWS_WITH_AS(evaluate(run, kSmall, std::make_shared<Stripes>(20, false), test, stripes_views(), options),
                       doctest::Contains("20 of 20 images of the training split"), Error);
  CHECK_THROWS_WITH_AS(evaluate(run, kSmall, std::make_shared<Stripes>(9), test, stripes_views(), options),
                       doctest::Contains("(horizontal) has 5"), Error);
}

TEST_CASE("the whole table: what few images do not allow is left out, and said") {
  const auto stripes = std::make_shared<Stripes>(40);
  nn::Encoder run = random_encoder(kSmall, stripes, stripes_views());
  EvaluateOptions options;
  options.labels = {{1}, 1, 0};
  std::string parts;
  options.progress = [&](const std::string& part) { parts += part + "\n"; };
  // Images 0, 2, 4 and 1: the second class has one.
  EvaluationTable table =
      evaluate(run, kSmall, subset(stripes, {0, 2, 4, 1}), subset(stripes, {1}), stripes_views(), options);
  CHECK(std::isnan(table.linear.run));
  CHECK(std::isfinite(table.knn.run));
  CHECK(parts.find("run: no linear probe") != std::string::npos);
  CHECK(render(table).find("      -") != std::string::npos);
  CHECK(cli::to_json(table).dump().find("\"linear\":{\"pixels\":null") != std::string::npos);
}

TEST_CASE("JSON has the names that scripts rely on, and fractions") {
  EvaluationTable table;
  table.knn = {0.855, 0.829, 0.888};
  table.linear = {0.844, 0.813, 0.887};
  table.clusters = 10;
  table.nmi = {0.5, 0.4, 0.6};
  table.cluster_accuracy = {0.7, 0.5, 0.8};
  table.label_efficiency = {{10, "pixels", 0.723, 0.007, 3, {}}, {10, "run", 0.777, 0.01, 3, {}}};
  const auto json = to_json(table);
  CHECK(json["knn"]["pixels"] == 0.855);
  CHECK(json["knn"]["random"] == 0.829);
  CHECK(json["linear"]["run"] == 0.887);
  CHECK(json["clustering"]["nmi"]["run"] == 0.6);
  CHECK(json["clustering"]["accuracy"]["pixels"] == 0.7);
  CHECK(json["clustering"]["k"] == 10);
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
