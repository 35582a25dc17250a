// Bugs that data pipelines of self-supervised learning are known for, each as a test that fails when it is put in.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "ssl/data/color.h"
#include "ssl/data/loader.h"
#include "ssl/data/resample.h"
#include "tests/process.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

TEST_CASE("bug 31: both views, both epochs and all images get their own random numbers; a resume gets the same") {
  Image same{32, 32, 3, {}};
  for (int i = 0; i < 32 * 32 * 3; ++i) same.pixels.push_back(static_cast<uint8_t>(i * 37 % 251));
  class Repeated final : public ImageSource {
   public:
    explicit Repeated(const Image& image) : image_(image) {}
    int64_t size() const override { return 8; }
    Image image(int64_t) const override { return image_; }
    std::optional<int64_t> label(int64_t) const override { return std::nullopt; }
    int64_t channels() const override { return 3; }

   private:
    const Image& image_;
  };
  LoaderOptions options;
  options.batch_size = 4;
  options.views = augmentation("simclr", 32, 3);
  const auto source = std::make_shared<Repeated>(same);
  const auto image_of = [](const Batch& batch, size_t view, int64_t b) {
    const std::vector<float> all = batch.views[view].to_vector<float>();
    const int64_t n = static_cast<int64_t>(all.size()) / 4;
    return std::vector<float>(all.begin() + b * n, all.begin() + (b + 1) * n);
  };
  // One image everywhere: two equal pictures can only come from equal random numbers.
  std::set<std::vector<float>> pictures;
  Loader loader(source, options);
  std::vector<Batch> batches;
  for (int i = 0; i < 4; ++i) {  // two epochs of two batches
    batches.push_back(loader.next());
    for (size_t view = 0; view < 2; ++view)
      for (int64_t b = 0; b < 4; ++b) CHECK(pictures.insert(image_of(batches.back(), view, b)).second);
  }
  Loader resumed(source, options, 1, 1);
  const Batch again = resumed.next();
  for (size_t view = 0; view < 2; ++view)
    CHECK(again.views[view].to_vector<float>() == batches[3].views[view].to_vector<float>());
  options.seed = 1;
  Loader other(source, options);
  CHECK(pictures.insert(image_of(other.next(), 0, 0)).second);
}

TEST_CASE("bug 32: jitter in every order, in range, clamped after each step") {
  const ViewPolicy policy = augmentation("simclr", 224, 3)[0];
  std::set<std::array<int, 4>> orders;
  double hue_low = 1, hue_high = -1, saturation_low = 9, saturation_high = -9;
  for (uint64_t i = 0; i < 2000; ++i) {
    Random random(2, i);
    const ViewParameters view = draw_view(policy, 224, 224, random);
    if (!view.jitter) continue;
    orders.insert(view.order);
    hue_low = std::min(hue_low, view.hue);
    hue_high = std::max(hue_high, view.hue);
    saturation_low = std::min(saturation_low, view.saturation);
    saturation_high = std::max(saturation_high, view.saturation);
  }
  CHECK(orders.size() == 24);
  CHECK(hue_low == doctest::Approx(-0.2).epsilon(0.01));  // a fraction of the circle, not degrees
  CHECK(hue_high == doctest::Approx(0.2).epsilon(0.01));
  CHECK(saturation_low == doctest::Approx(0.2).epsilon(0.02));  // a factor 1 ± .8, not an offset
  CHECK(saturation_high == doctest::Approx(1.8).epsilon(0.01));
  // Brightness 1.6, then contrast .5 about the mean, .5: without a clamp between them, white would come out as 1.
  const Image image{2, 2, 1, {255, 0, 0, 255}};
  ViewParameters view;
  view.height = view.width = 2;
  view.jitter = true;
  view.brightness = 1.6;
  view.contrast = 0.5;
  float out[4] = {};
  apply_view(image, view, ViewPolicy(), 2, 1, out);
  CHECK(out[0] == doctest::Approx(0.75));
  CHECK(out[1] == doctest::Approx(0.25));
}

TEST_CASE("bug 32: contrast mixes with the mean of the gray image; gray is .299, .587, .114; 128 is solarized") {
  float x[6] = {1, 0, 0, 0, 0, 1};  // red, blue: gray .299 and .114
  adjust_contrast(x, 2, 3, 0.5);
  CHECK(x[0] == doctest::Approx(0.5 + 0.5 * 0.2065));
  CHECK(x[1] == doctest::Approx(0.5 * 0.2065));
  float primaries[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  to_gray(primaries, 3, 3);
  CHECK(primaries[0] == doctest::Approx(0.299));
  CHECK(primaries[4] == doctest::Approx(0.587));
  CHECK(primaries[8] == doctest::Approx(0.114));
  float levels[2] = {127 / 255.0f, 128 / 255.0f};
  solarize(levels, 2);
  CHECK(levels[0] == doctest::Approx(127 / 255.0));
  CHECK(levels[1] == doctest::Approx(127 / 255.0));
}

TEST_CASE("bug 32: a blur's sigma is a deviation in pixels, drawn from .1 to 2, with a kernel of size / 10") {
  const ViewPolicy policy = augmentation("moco-v2", 224, 3)[0];
  std::set<double> sigmas;
  for (uint64_t i = 0; i < 1000; ++i) {
    Random random(4, i);
    sigmas.insert(draw_view(policy, 224, 224, random).sigma);
  }
  sigmas.erase(0.0);
  CHECK(sigmas.size() > 400);
  CHECK(*sigmas.begin() < 0.11);
  CHECK(*sigmas.begin() >= 0.1);
  CHECK(*sigmas.rbegin() > 1.98);
  CHECK(*sigmas.rbegin() <= 2.0);
  // A point spreads with that deviation: measured along the row through it.
  constexpr size_t kSide = 224, kMiddle = 112;
  std::vector<float> point(kSide * kSide, 0.0f);
  point[kMiddle * kSide + kMiddle] = 1;
  gaussian_blur(point.data(), kSide, 1, 2);
  double mass = 0, square = 0;
  size_t touched = 0;
  for (size_t i = 0; i < kSide; ++i) {
    const double value = static_cast<double>(point[kMiddle * kSide + i]), d = static_cast<double>(i) - kMiddle;
    mass += value;
    square += value * d * d;
    touched += value > 0;
  }
  CHECK(std::sqrt(square / mass) == doctest::Approx(2).epsilon(0.005));
  CHECK(touched == 23);
}

TEST_CASE("bug 33: crops' shapes are log-uniform; ten attempts, then the centred box with its shape clamped") {
  ViewPolicy policy;
  policy.crop = true;
  double sum = 0, below_one = 0;
  constexpr int kDraws = 20000;
  for (uint64_t i = 0; i < kDraws; ++i) {
    Random random(6, i);
    policy.crop_max_area = 0.3;  // no box of any shape is too large: nothing is rejected
    const ViewParameters view = draw_view(policy, 1000, 1000, random);
    sum += std::log(view.width / view.height);
    below_one += view.width < view.height;
  }
  CHECK(std::abs(sum / kDraws) < 0.006);  // uniform in [3/4, 4/3] would give .0207
  CHECK(std::abs(below_one / kDraws - 0.5) < 0.02);
  policy.crop_min_area = policy.crop_max_area = 1;
  Random wide(1, 1), tall(1, 2), square(1, 3);
  const ViewParameters a = draw_view(policy, 30, 1000, wide), b = draw_view(policy, 1000, 30, tall);
  CHECK(a.height == 30);
  CHECK(a.width == 40);
  CHECK(a.left == 480);
  CHECK(b.height == 40);
  CHECK(b.width == 30);
  CHECK(b.top == 480);
}

TEST_CASE("bug 33: shrinking averages what it leaves out") {
  Image stripes{64, 64, 1, {}};  // every eighth column is white
  for (int i = 0; i < 64 * 64; ++i) stripes.pixels.push_back(i % 8 == 0 ? 255 : 0);
  for (const Filter filter : {Filter::Bilinear, Filter::Bicubic}) {
    std::vector<float> out(8 * 8);
    resample(stripes, {0, 0, 64, 64}, 8, 8, false, true, filter, out.data());
    for (size_t x = 2; x < 6; ++x) CHECK(out[3 * 8 + x] == doctest::Approx(0.125).epsilon(0.01));
  }
}

TEST_CASE("bug 36: STL-10's planes are columns, its labels start at 1, and what has no label is -1") {
  const TemporaryDirectory dir;
  std::string image(96 * 96 * 3, '\0');
  image[95] = 'a';       // the end of the first column
  image[96 * 95] = 'b';  // the start of the last
  write_file(dir / "train_X.bin", image + image);
  write_file(dir / "train_y.bin", "\x01\x0A");
  write_file(dir / "unlabeled_X.bin", image);
  const ImageSourcePtr train = open_data({"stl10:" + (dir / "")}, Split::Train);
  const Image first = train->image(0);
  CHECK(first.pixels[95 * 96 * 3] == 'a');
  CHECK(first.pixels[95 * 3] == 'b');
  CHECK(labels_of(*train) == std::vector<int64_t>{0, 9});
  CHECK(train->class_names().size() == 10);
  const ImageSourcePtr unlabeled = open_data({"stl10:" + (dir / "")}, Split::Unlabeled);
  CHECK(labels_of(*unlabeled) == std::vector<int64_t>{-1});
  CHECK_FALSE(unlabeled->labelled());  // so that no probe begins on it
}
