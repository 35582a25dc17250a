// What a run shows of its insides: histograms, pictures and histograms in event files, and that looking changes
// nothing.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "process.h"
#include "ssl/train/append.h"
#include "ssl/train/build.h"
#include "ssl/train/inspection.h"
#include "ssl/train/picture.h"
#include "ssl/train/resolve.h"
#include "tensor/ops.h"
#include "train.h"

namespace {

using namespace tacit;
using namespace tacit::ssl;
using testing::TemporaryDirectory;
using testing::tiny_config;

Histogram histogram(const std::vector<float>& values) {
  return histogram_of({Tensor::from(values, {static_cast<int64_t>(values.size())})});
}

StepRecord step_one() {
  StepRecord record;
  record.step = 1;
  return record;
}

/// Every bucket's count, made again from the values and the limits.
std::vector<double> counted_again(const Histogram& h, const std::vector<float>& values) {
  std::vector<double> counts(h.limits.size());
  for (const float value : values)
    for (size_t i = 0; i < h.limits.size(); ++i)
      if (static_cast<double>(value) < h.limits[i]) {
        ++counts[i];
        break;
      }
  return counts;
}

}  // namespace

TEST_CASE("a picture that a PNG cannot hold is refused before its memory is taken") {
  const int64_t most = ContactSheet::most_rows(10, 224);
  CHECK(most == 1400);  // (3 (10 * 226 + 2) + 1) (1400 * 226 + 2) is just below 2^31
  CHECK_THROWS_WITH_AS(ContactSheet(most + 1, 10, 224), doctest::Contains("the most is 1400"), Error);
  CHECK_THROWS_AS(ContactSheet(int64_t{1} << 30, 1000, 224), Error);
  CHECK(ContactSheet::most_rows(int64_t{1} << 30, 224) == 0);
  CHECK(ContactSheet(2, 3, 8).png().substr(1, 3) == "PNG");
}

TEST_CASE("histogram: moments, and a value lies from its bucket's lower limit up to the upper one") {
  const std::vector<float> values = {-2, -1, -0.5f, 0, 0.25f, 0.5f, 0.5f, 1, 1.0625f, 1.125f, 3};
  const Histogram h = histogram(values);
  CHECK(h.min == -2);
  CHECK(h.max == 3);
  CHECK(h.count == 11);
  CHECK(h.sum == doctest::Approx(std::accumulate(values.begin(), values.end(), 0.0)));
  CHECK(h.sum_squares == doctest::Approx(std::inner_product(values.begin(), values.end(), values.begin(), 0.0)));
  REQUIRE(h.limits.size() == h.counts.size());
  CHECK(std::is_sorted(h.limits.begin(), h.limits.end()));
  CHECK(h.counts == counted_again(h, values));
  CHECK(std::accumulate(h.counts.begin(), h.counts.end(), 0.0) == 11);
  CHECK(h.counts.front() == 1);  // -2, without empty buckets before it
  CHECK(h.counts.back() == 1);   // 3
  for (size_t i = 1; i < h.counts.size(); ++i) CHECK((h.counts[i] > 0 || h.counts[i - 1] > 0));
}

TEST_CASE("histogram: of many values at any scale at most 161 buckets, all of them counted") {
  for (const double scale : {1.0, 1e-30, 1e30}) {
    CAPTURE(scale);
    const std::vector<float> values = (Tensor::normal({100'000}, 1, 2) * scale).to_vector<float>();
    const Histogram h = histogram(values);
    CHECK(h.limits.size() > 100);
    CHECK(h.limits.size() <= 161);
    CHECK(h.counts == counted_again(h, values));
    CHECK(std::accumulate(h.counts.begin(), h.counts.end(), 0.0) == 100'000);
  }
  // The largest numbers that there are, and the smallest.
  const float most = std::numeric_limits<float>::max(), least = std::numeric_limits<float>::denorm_min();
  const Histogram h = histogram({most, -most, least, -least});
  CHECK(h.counts == std::vector<double>{1, 0, 2, 0, 1});
}

TEST_CASE("histogram: of zeros one bucket, of nothing finite none; tensors are taken together") {
  const Histogram zeros = histogram({0, -0.0f, 0});
  CHECK(zeros.counts == std::vector<double>{3});
  CHECK(zeros.limits[0] > 0);
  const Histogram none = histogram({NAN, INFINITY, -INFINITY});
  CHECK(none.count == 0);
  CHECK(none.counts.empty());
  CHECK(histogram({NAN, 1}).count == 1);
  const Histogram both = histogram_of({Tensor::ones({2, 3}).t(), Tensor::full({4}, 2)});
  CHECK(both.count == 10);
  CHECK(both.sum == 14);
}

TEST_CASE("event files: pictures and histograms read back among scalars, and are cut with them") {
  const TemporaryDirectory dir;
  EventFile events(dir / ".");
  const Histogram h = histogram({-1, 0.5f, 7});
  events.add_image(0, "views", {.height = 4, .width = 6, .png = std::string("\x89PNG\0\n", 6)});
  events.add(1, {{"loss", 0.5}});
  events.add_histograms(1, {{"features", h}, {"gradients/head", Histogram{}}});
  events.add_image(2, "views", {.height = 1, .width = 1, .colorspace = 1, .png = "x"});
  std::vector<EventValue> read = read_events(events.path());
  REQUIRE(read.size() == 5);
  REQUIRE(read[0].image);
  CHECK(read[0].step == 0);
  CHECK(read[0].tag == "views");
  CHECK(read[0].image->height == 4);
  CHECK(read[0].image->width == 6);
  CHECK(read[0].image->colorspace == 3);
  CHECK(read[0].image->png == std::string("\x89PNG\0\n", 6));
  CHECK_FALSE(read[0].histogram);
  CHECK(read[1].value == 0.5);
  CHECK_FALSE(read[1].image);
  REQUIRE(read[2].histogram);
  CHECK(read[2].tag == "features");
  CHECK(read[2].histogram->min == -1);
  CHECK(read[2].histogram->max == 7);
  CHECK(read[2].histogram->count == 3);
  CHECK(read[2].histogram->sum == 6.5);
  CHECK(read[2].histogram->sum_squares == 50.25);
  CHECK(read[2].histogram->limits == h.limits);
  CHECK(read[2].histogram->counts == h.counts);
  REQUIRE(read[3].histogram);
  CHECK(read[3].histogram->counts.empty());
  CHECK(read[4].image->colorspace == 1);

  append_to_file(events.path(), "half a picture");
  cut_events(dir / ".", 1);
  read = read_events(events.path());
  REQUIRE(read.size() == 4);
  CHECK(read.back().tag == "gradients/head");
  cut_events(dir / ".", 0);
  CHECK(read_events(events.path()).size() == 1);
  cut_events(dir / ".", -1);  // a run that begins again: no picture of step 0 is left to stand there twice
  CHECK_FALSE(std::filesystem::exists(events.path()));
}

TEST_CASE("inspection: after the first step and at the end of at most a hundred epochs, the last among them") {
  TrainConfig config = tiny_config();
  const auto looks = [&](int64_t epochs, int64_t steps_per_epoch) {
    config.epochs = epochs;
    const Inspection inspection(config, nullptr, {}, {});
    std::vector<int64_t> steps;
    for (StepRecord r = step_one(); r.step <= epochs * steps_per_epoch; ++r.step) {
      r.epoch = (r.step - 1) / steps_per_epoch + 1;
      r.epoch_end = r.step % steps_per_epoch == 0;
      if (inspection.due(r)) steps.push_back(r.step);
    }
    return steps;
  };
  CHECK(looks(2, 5) == std::vector<int64_t>{1, 5, 10});
  CHECK(looks(3, 1) == std::vector<int64_t>{1, 2, 3});
  CHECK(looks(100, 3).size() == 101);
  CHECK(looks(250, 3).size() == 85);  // every third epoch, the 250th, and the first step
  CHECK(looks(250, 3).back() == 750);
}

TEST_CASE("inspection: shows features, gradients by module and a reconstruction, and changes nothing") {
  for (const bool predicts : {false, true}) {
    CAPTURE(predicts);
    TrainConfig config = tiny_config();
    if (predicts) {
      config.method = "mae";
      apply_recipe(config, "small-images");
      config.image_size = 16, config.channels = 3, config.encoder_width = 32, config.batch_size = 8;
    }
    const ImageSourcePtr source = open_data({"synthetic:64"}, Split::All);
    const std::unique_ptr<Method> method = make_method(config);
    const std::unique_ptr<optim::Optimizer> optimizer = make_optimizer(config, *method);
    std::vector<Tensor> views(predicts ? 1 : 2);
    for (size_t v = 0; v < views.size(); ++v) views[v] = Tensor::uniform({8, 16, 16, 3}, 1, v);
    method->loss(views, {}).backward();
    optimizer->step();
    const nn::StateDict before = nn::state_dict(*method), moments = optimizer->state();

    const TemporaryDirectory dir;
    {
      RunDirectory directory(dir / "run");
      directory.cut_to(-1);
      const PlainViews plain = plain_views(config, {}, {});
      Inspection inspection(config, source, plain, method_views(config, plain));
      inspection.look(1, *method, *optimizer, directory);
      inspection.look(2, *method, *optimizer, directory);
    }
    CHECK(method->training());
    CHECK(method->encoder().training());
    for (const auto& entry : nn::state_dict(*method)) {
      CAPTURE(entry.first);
      CHECK(entry.second.dtype() == before.at(entry.first).dtype());
      CHECK(entry.second.to(f64).to_vector<double>() == before.at(entry.first).to(f64).to_vector<double>());
    }
    for (const auto& [name, value] : optimizer->state())
      CHECK(value.to(f64).to_vector<double>() == moments.at(name).to(f64).to_vector<double>());

    std::map<std::string, std::vector<EventValue>> shown;
    for (const auto& entry : std::filesystem::directory_iterator(dir / "run"))
      if (entry.path().filename().string().starts_with("events"))
        for (EventValue& value : read_events(entry.path())) shown[value.tag].push_back(value);
    REQUIRE(shown["features"].size() == 2);
    CHECK(shown["features"][0].histogram->count == 8 * method->encoder().features());
    CHECK(shown["features"][0].histogram->counts == shown["features"][1].histogram->counts);
    int64_t gradients = 0, parameters = 0;
    for (const auto& [tag, values] : shown)
      if (tag.starts_with("gradients/")) gradients += values[0].histogram->count;
    for (const optim::ParamGroup& group : optimizer->groups())
      for (const Variable& p : group.parameters) parameters += p.value().numel();
    CHECK(gradients == parameters);
    CHECK(shown.count("gradients/encoder." + std::string(predicts ? "blocks" : "conv1")) == 1);
    CHECK(shown.count(predicts ? "gradients/decoder_blocks" : "gradients/projector") == 1);
    CHECK(shown.count("reconstruction") == (predicts ? 1 : 0));
    CHECK(std::filesystem::exists(dir / "run/images/reconstruction.png") == predicts);
    if (!predicts) continue;
    const EventImage& picture = *shown["reconstruction"][1].image;
    CHECK(testing::read_file(dir / "run/images/reconstruction.png") == picture.png);
    CHECK(picture.height > picture.width);  // eight rows of three
  }
}
