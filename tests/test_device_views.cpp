// Views made by a device (the default one, see main.cpp): equal to the CPU's to 1/255, by whatever backend, and batches
// of them in the same order, with the same labels and the same damage.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "backends/cpu/backend.h"
#include "images.h"
#include "ssl/data/device_views.h"
#include "ssl/data/loader.h"
#include "tensor/ops.h"
#include "toy_backend.h"
#include "values.h"

using namespace tacit;
using namespace tacit::ssl;

namespace {

Image noise_image(int64_t height, int64_t width, int64_t channels, uint64_t seed) {
  Image image{height, width, channels, {}};
  Random random(seed, random_stream("noise image"));
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < channels; ++c)  // slopes with noise, dark and bright
        image.pixels.push_back(static_cast<uint8_t>(
            std::clamp<int64_t>((y * 9 + x * 5 + c * 70) % 256 + static_cast<int64_t>(random.below(61)) - 30, 0, 255)));
  return image;
}

/// Gray, RGB and RGBA, of sizes from one pixel on, in one batch.
const std::vector<Image>& mixed_images() {
  static const std::vector<Image> images = {noise_image(40, 61, 3, 1), noise_image(28, 28, 1, 2),
                                            noise_image(33, 17, 4, 3), noise_image(1, 1, 3, 4),
                                            noise_image(1, 9, 1, 5),   noise_image(150, 120, 3, 6)};
  return images;
}

struct Difference {
  double largest = 0, mean = 0;  // of values in pixels' range, 0 … 1
};

/// Several views of each image, by augment_images on a device and by apply_view.
Difference difference(const Device& device, const ViewPolicy& policy, int64_t size, int64_t channels,
                      int64_t views_each = 2) {
  const std::vector<Image>& images = mixed_images();
  std::vector<int64_t> offsets;
  const Tensor pixels = pack_images(images, offsets).to(device);
  if (policy.lightness) channels = 1;
  std::vector<AugmentView> views;
  std::vector<float> expected;
  for (int64_t k = 0; k < views_each; ++k)
    for (size_t i = 0; i < images.size(); ++i) {
      const Image& image = images[i];
      Random random(7, random_stream("device views", i, static_cast<uint64_t>(k)));
      const ViewParameters drawn = draw_view(policy, image.height, image.width, random);
      views.push_back(augment_view(drawn, {offsets[i], image.height, image.width, image.channels}, size));
      std::vector<float> view(static_cast<size_t>(size * size * channels));
      apply_view(image, drawn, policy, size, channels, view.data());
      expected.insert(expected.end(), view.begin(), view.end());
    }
  const AugmentPolicy constants = augment_policy(policy, channels);
  const Tensor made = augment_images(pixels, views, constants, size, channels);
  CHECK(made.shape() == Shape{static_cast<int64_t>(views.size()), size, size, channels});
  const std::vector<float> values = made.to_vector<float>();
  Difference d;
  for (size_t i = 0; i < values.size(); ++i) {
    const double range = policy.lightness ? 2 : constants.scale[i % static_cast<size_t>(channels)];
    const double here = std::abs(static_cast<double>(values[i]) - static_cast<double>(expected[i])) / range;
    if (!(here <= d.largest)) d.largest = here;  // a NaN stays
    d.mean += here / static_cast<double>(values.size());
  }
  return d;
}

void check_close(const Difference& d) {
  CHECK(d.largest < 1.0 / 255);
  CHECK(d.mean < 1e-5);
}

/// Every step at once, more often than any recipe has it.
ViewPolicy busy_policy() {
  ViewPolicy p;
  p.crop = true;
  p.pad = 3;
  p.flip = 0.5;
  p.gamma = 0.7;
  p.gamma_strength = 0.5;
  p.jitter = 0.9;
  p.brightness = p.contrast = p.saturation = 0.8;
  p.hue = 0.4;
  p.grayscale = 0.3;
  p.blur = 0.7;
  p.solarize = 0.4;
  p.erase = 0.8;
  p.mean = {0.4f, 0.5f, 0.6f};
  p.std = {0.2f, 0.25f, 0.3f};
  return p;
}

LoaderOptions loading(bool on_device, int64_t resident_bytes = 0) {
  LoaderOptions o;
  o.batch_size = 16;
  o.image_size = 24;
  o.views = augmentation("simclr", 24, 3);
  o.seed = 5;
  o.device_augmentation = on_device;
  o.resident_bytes = resident_bytes;
  return o;
}

void check_same_bits(const Batch& a, const Batch& b) {
  CHECK(a.indices == b.indices);
  CHECK(a.labels.to_vector<int64_t>() == b.labels.to_vector<int64_t>());
  REQUIRE(a.views.size() == b.views.size());
  for (size_t v = 0; v < a.views.size(); ++v) CHECK(a.views[v].to_vector<float>() == b.views[v].to_vector<float>());
}

}  // namespace

TEST_CASE("the views of every named policy, gray and colour, at every size: the CPU's to 1/255") {
  for (const std::string& name : augmentation_names())
    for (const int64_t size : {28, 32, 64, 96})
      for (const int64_t channels : {1, 3})
        for (const ViewPolicy& policy : augmentation(name, size, channels)) {
          CAPTURE(name);
          CAPTURE(size);
          CAPTURE(channels);
          check_close(difference(default_device(), policy, size, channels, size == 96 ? 1 : 2));
        }
}

TEST_CASE("every step at once, filters and orders, erasing with noise or the mean: the CPU's to 1/255") {
  for (const bool bicubic : {false, true})
    for (const bool flag : {false, true}) {
      ViewPolicy p = busy_policy();
      p.filter = bicubic ? Filter::Bicubic : Filter::Bilinear;
      p.antialias = p.gray_first = p.erase_noise = p.jitter_random_order = flag;
      p.crop_clamp = !flag;
      for (const int64_t size : {1, 7, 32, 50}) {
        CAPTURE(size);
        check_close(difference(default_device(), p, size, 3, 4));
      }
    }
}

TEST_CASE("the reference and a backend without the kernel make the same views; the default device has it") {
  testing::add_toy_backend();
  const Device toy("toy"), reference("reference");
  const ViewPolicy policy = busy_policy();
  check_close(difference(reference, policy, 32, 3));
  check_close(difference(toy, policy, 32, 3));
  CHECK(toy.backend().fallbacks() == 1);
  CHECK(reference.backend().fallbacks() == 0);
  CHECK(default_device().backend().fallbacks() == 0);
}

TEST_CASE("augment_images refuses what it would read or write beyond") {
  const Tensor pixels = Tensor::zeros({12}, u8);
  AugmentView view;
  view.height = view.width = 2;
  view.box_height = view.box_width = 2;
  const std::vector<AugmentView> good = {view};
  CHECK(augment_images(pixels, good, {}, 4, 3).numel() == 48);
  CHECK(augment_images(pixels, std::vector<AugmentView>{}, {}, 4, 3).numel() == 0);
  const auto refused = [&](auto change, const char* why) {
    std::vector<AugmentView> views = good;
    change(views[0]);
    CHECK_THROWS_WITH_AS(augment_images(pixels, views, {}, 4, 3), doctest::Contains(why), Error);
  };
  refused([](AugmentView& v) { v.offset = 1; }, "ends beyond the 12 bytes");
  refused([](AugmentView& v) { v.offset = -1; }, "ends beyond");
  refused([](AugmentView& v) { v.height = 3; }, "ends beyond");
  refused([](AugmentView& v) { v.height = v.width = INT32_MAX, v.channels = 4; }, "ends beyond");
  refused([](AugmentView& v) { v.width = 0; }, "2 x 0 pixels");
  refused([](AugmentView& v) { v.channels = 2; }, "2 channels");
  refused([](AugmentView& v) { v.box_width = 0; }, "empty box");
  CHECK_THROWS_WITH_AS(augment_images(pixels, good, {}, 1 << 20, 3), doctest::Contains("sizes of 1"), Error);
  CHECK_THROWS_WITH_AS(augment_images(pixels, good, {}, 4, 2), doctest::Contains("1 or 3 channels"), Error);
  CHECK_THROWS_WITH_AS(augment_images(pixels, good, {.lightness = true}, 4, 3), doctest::Contains("lightness"), Error);
  CHECK_THROWS_WITH_AS(augment_images(Tensor::zeros({12}), good, {}, 4, 3), doctest::Contains("u8"), Error);
  ViewPolicy two;
  two.mean = two.std = {1, 1};
  CHECK_THROWS_WITH_AS(augment_policy(two, 3), doctest::Contains("of 2 channels"), Error);
}

TEST_CASE("a loader's batches: the same images and labels, views to 1/255; resident or not, the same bits") {
  const ImageSourcePtr source = open_data({"synthetic:50"}, Split::All);
  Loader host(source, loading(false)), batches(source, loading(true)), resident(source, loading(true, 1 << 30));
  for (int i = 0; i < 7; ++i) {  // into the third epoch
    const Batch expected = host.next(), made = batches.next();
    check_same_bits(made, resident.next());
    CHECK(made.indices == expected.indices);
    CHECK(made.labels.to_vector<int64_t>() == expected.labels.to_vector<int64_t>());
    for (size_t v = 0; v < made.views.size(); ++v) {
      const double scale =
          1 / static_cast<double>(loading(true).views[v].std.empty() ? 1 : loading(true).views[v].std[0]);
      CHECK(max_abs_difference(made.views[v], expected.views[v]) < scale / 255);
    }
  }
}

TEST_CASE("resident images: all of them or none") {
  const ImageSourcePtr source = open_data({"synthetic:30"}, Split::All);
  const auto one_by_one = [](int64_t n, const std::function<void(int64_t)>& f) {
    for (int64_t i = 0; i < n; ++i) f(i);
  };
  const int64_t bytes = source->total_bytes();
  CHECK(bytes == 30 * static_cast<int64_t>(source->image(0).pixels.size()));
  CHECK_FALSE(resident_images(*source, 64, bytes - 1, one_by_one));
  const auto all = resident_images(*source, 64, bytes, one_by_one);
  REQUIRE(all);
  CHECK(all->images.size() == 30);
  const std::vector<uint8_t> pixels = all->pixels.to_vector<uint8_t>();
  const Image last = source->image(29);
  CHECK(std::equal(last.pixels.begin(), last.pixels.end(), pixels.begin() + all->images[29].offset));
  CHECK_FALSE(resident_images(testing::SomeDamaged(source, {17}), 64, bytes, one_by_one));
}

TEST_CASE("damage is met, counted and named as on the host, though all would fit") {
  const auto source =
      std::make_shared<testing::SomeDamaged>(open_data({"synthetic:60"}, Split::All), std::set<int64_t>{3, 4, 41});
  LoaderOptions host = loading(false), device = loading(true, 1 << 30);
  host.max_damaged = device.max_damaged = 0.2;
  Loader expected(source, host), loader(source, device);
  for (int i = 0; i < 6; ++i) CHECK(expected.next().indices == loader.next().indices);
  CHECK(loader.damage().size() == 3);
  CHECK(loader.damage() == expected.damage());
}

TEST_CASE("the same bits at any number of threads, and from any position on") {
  const ImageSourcePtr source = open_data({"synthetic:64"}, Split::All);
  const int before = cpu::threads();
  std::vector<Batch> one;
  cpu::set_threads(1);
  {
    Loader loader(source, loading(true));
    for (int i = 0; i < 6; ++i) one.push_back(loader.next());
  }
  cpu::set_threads(2);
  Loader two(source, loading(true)), later(source, loading(true), 1, 1);
  for (size_t i = 0; i < 6; ++i) {
    check_same_bits(two.next(), one[i]);
    if (i >= 5) check_same_bits(later.next(), one[i]);
  }
  cpu::set_threads(before);
}
