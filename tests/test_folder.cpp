// Folders: kinds of JPEG, gray and transparent images, mixed sizes, Tiny-ImageNet's layout, damaged files.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "ssl/data/decode.h"
#include "ssl/data/loader.h"
#include "ssl/data/sources.h"
#include "tests/images.h"
#include "tests/process.h"

namespace fs = std::filesystem;
using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

std::string sample(const std::string& name) { return TACIT_SOURCE_DIR "/tests/fixtures/images/" + name; }

/// The scene of tests/fixtures/make_images.py.
int scene(int64_t y, int64_t x, int c) {
  if (c == 1) return static_cast<int>(255 * y / 48);
  const auto red = static_cast<int>(255 * x / 64);
  return c == 0 ? red : 255 - red;
}

int largest_difference(const Image& image) {
  int most = 0;
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t x = 0; x < image.width; ++x)
      for (int c = 0; c < 3; ++c)
        most =
            std::max(most, std::abs(image.pixels[static_cast<size_t>((y * image.width + x) * 3 + c)] - scene(y, x, c)));
  return most;
}

std::string reason_for(const std::string& path) {
  try {
    decode_file(path, 1 << 20);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("JPEG: baseline, progressive and CMYK files show the same scene; gray ones have one channel") {
  for (const char* name : {"rgb.jpg", "progressive.jpg", "cmyk.jpg"}) {
    CAPTURE(name);
    const Image image = decode_file(sample(name), 1 << 20);
    CHECK(image.height == 48);
    CHECK(image.width == 64);
    REQUIRE(image.channels == 3);
    CHECK(largest_difference(image) <= 12);
    CHECK(image_file_size(sample(name)) == std::pair<int64_t, int64_t>{48, 64});
  }
  CHECK(decode_file(sample("gray.jpg"), 1 << 20).channels == 1);
}

TEST_CASE("JPEG: 12 bits, arithmetic coding and lossless are named as unsupported") {
  const TemporaryDirectory dir;
  const std::string good = read_file(sample("rgb.jpg"));
  const size_t frame = good.find("\xFF\xC0");
  REQUIRE(frame != std::string::npos);
  const auto changed = [&](size_t at, char to) {
    std::string bytes = good;
    bytes[at] = to;
    write_file(dir / "a.jpg", bytes);
    return reason_for(dir / "a.jpg");
  };
  CHECK(contains(changed(frame + 4, 12), "a.jpg is a JPEG of 12 bits a sample, which is not supported"));
  CHECK(contains(changed(frame + 1, '\xC9'), "a.jpg is an arithmetic-coded JPEG"));
  CHECK(contains(changed(frame + 1, '\xCA'), "arithmetic-coded"));
  CHECK(contains(changed(frame + 1, '\xC3'), "a.jpg is a lossless JPEG"));
  CHECK(contains(changed(frame + 1, '\xC5'), "a.jpg is a hierarchical JPEG"));
  for (const size_t length : {good.size() - 2, good.size() / 2, size_t{100}}) {
    write_file(dir / "a.jpg", good.substr(0, length));
    CHECK(contains(reason_for(dir / "a.jpg"), "a.jpg is damaged"));
  }
}

TEST_CASE("JPEG: a smaller version keeps the shorter side, is the same every time, and shows the same") {
  for (const char* name : {"rgb.jpg", "cmyk.jpg", "progressive.jpg"})
    for (const int64_t side : {1, 7, 12, 13, 24, 47, 48, 1000}) {
      CAPTURE(name);
      CAPTURE(side);
      const Image image = decode_file(sample(name), 1 << 20, side);
      CHECK(std::min(image.height, image.width) >= std::min<int64_t>(side, 48));
      if (jpeg_decoder().starts_with("libjpeg") && side <= 12) CHECK(image.height <= 12);
      CHECK(decode_file(sample(name), 1 << 20, side).pixels == image.pixels);
      double mean = 0;
      for (const uint8_t v : image.pixels) mean += v;
      CHECK(mean / static_cast<double>(image.pixels.size()) == doctest::Approx(125).epsilon(0.04));
    }
}

TEST_CASE("folders: gray, colour, transparent and mixed sizes become what the encoder takes") {
  const TemporaryDirectory dir;
  fs::create_directories(dir / "a");
  write_file(dir / "a/1.pgm", pgm(5, 9, 100));
  write_file(dir / "a/2.ppm", ppm(7, 3));
  fs::copy(sample("cmyk.jpg"), dir / "a/3.jpg");
  fs::copy(sample("rgba.png"), dir / "a/4.png");
  const ImageSourcePtr source = open_data({dir / ""}, Split::All);
  REQUIRE(source->size() == 4);
  CHECK(source->image_size() == std::pair<int64_t, int64_t>{0, 0});
  CHECK(source->image(0).channels == 1);
  // A red pixel, and a white one that cannot be seen.
  CHECK(to_channels(source->image(3), 3).pixels == std::vector<uint8_t>{255, 0, 0, 0, 0, 0});
  LoaderOptions options;
  options.batch_size = 4;
  options.image_size = 8;
  for (const int64_t channels : {1, 3}) {
    options.channels = channels;
    options.views = augmentation("simclr", 8, channels);
    Loader loader(source, options);
    for (const float x : loader.next().views[0].to_vector<float>()) CHECK(std::isfinite(x));
    CHECK(loader.damage().empty());
  }
}

TEST_CASE("folders: Tiny-ImageNet's val has its classes in a file, and its test none") {
  const TemporaryDirectory dir;
  for (const char* name : {"n01", "n02", "n03"}) {
    fs::create_directories(dir / "train/" + name + "/images");
    for (int i = 0; i < 3; ++i)
      write_file(dir / "train/" + name + "/images/" + name + "_" + std::to_string(i) + ".ppm", ppm(4, i));
  }
  fs::create_directories(dir / "val/images");
  fs::create_directories(dir / "test/images");
  write_file(dir / "test/images/test_0.ppm", ppm(4, 9));
  for (int i = 0; i < 4; ++i) write_file(dir / "val/images/val_" + std::to_string(i) + ".ppm", ppm(4, 20 + i));
  const std::string list = dir / "val/val_annotations.txt";
  write_file(list, "val_0.ppm\tn03\t0\t32\t44\t62\nval_1.ppm\tn01\t0\t0\t1\t1\nval_2.ppm\tn03\t0\t0\t1\t1\n");
  const ImageSourcePtr train = open_data({dir / ""}, Split::Train), test = open_data({dir / ""}, Split::Test);
  CHECK(train->size() == 9);
  CHECK(labels_of(*test) == std::vector<int64_t>{2, 0, 2});  // numbered as in train, though n02 is not there
  CHECK(test->class_names() == train->class_names());
  CHECK(test->image(1).pixels[1] == 21);
  CHECK(open_data({dir / ""}, Split::All)->size() == 12);
  DataOptions options;
  options.no_labels = true;
  CHECK_FALSE(open_data({dir / ""}, Split::Test, options)->labelled());
  write_file(list, "val_9.ppm\tn03\n");
  CHECK(contains(error_of({dir / ""}, Split::Test), "names val_9.ppm, which is not in"));
  write_file(list, "val_0.ppm\n");
  CHECK(contains(error_of({dir / ""}, Split::Test), "has no class"));
  write_file(list, "val_0.ppm\tn99\n");
  CHECK(contains(error_of({dir / ""}, Split::Test), "class 'n99'"));
  write_file(list, "\n");
  CHECK(contains(error_of({dir / ""}, Split::Test), "names no image"));
}

TEST_CASE("a folder with 2 % damaged files: named, counted, stopped above 1 %, unless more are allowed") {
  const TemporaryDirectory dir;
  fs::create_directories(dir / "a");
  for (int i = 0; i < 200; ++i) {
    const std::string bytes = ppm(4, i);
    write_file(dir / "a/" + std::to_string(1000 + i) + ".ppm", i % 50 == 7 ? bytes.substr(0, 20) : bytes);
  }
  const ImageSourcePtr source = open_data({dir / ""}, Split::All);
  const auto epoch = [&](double max_damaged) {
    LoaderOptions options;
    options.batch_size = 20;
    options.image_size = 4;
    options.views = augmentation("none", 4, 3);
    options.max_damaged = max_damaged;
    Loader loader(source, options);
    for (int i = 0; i < 10; ++i) loader.next();
    return loader.damage();
  };
  CHECK_THROWS_WITH_AS(epoch(kMaxDamaged), doctest::Contains("3 of 200 images cannot be read, more than 1 %"), Error);
  CHECK_THROWS_WITH_AS(epoch(kMaxDamaged), doctest::Contains(".ppm (it ends before its last pixel), "), DamageError);
  CHECK_THROWS_WITH_AS(epoch(kMaxDamaged), doctest::Contains("allow more by a larger --max-damaged (now 0.01)"), Error);
  const Damage damage = epoch(0.02);
  REQUIRE(damage.size() == 4);
  for (const int64_t i : {7, 57, 107, 157}) CHECK(contains(damage.at(i), std::to_string(1000 + i) + ".ppm"));
  // Evaluation leaves them out under the same limit.
  std::vector<std::string> notes;
  CHECK_THROWS_WITH_AS(without_damaged(source, &notes), doctest::Contains("4 of 200"), Error);
  notes.clear();
  CHECK(without_damaged(source, &notes, 0.02)->size() == 196);
  REQUIRE(notes.size() == 1);
  const std::string file = source->file(7);
  CHECK(contains(notes[0], "warning: 4 of 200 files are damaged and left out: " + file + " (it ends before its last"));
  CHECK(contains(notes[0], "1157.ppm"));
  // One is always let pass.
  notes.clear();
  CHECK(without_damaged(subset(source, {6, 7}), &notes)->size() == 1);
  CHECK(contains(notes.at(0), "warning: 1 of 2 files is damaged and left out: "));
}

TEST_CASE("damaged files are left out wherever their part stands among several data sets") {
  const TemporaryDirectory dir;
  for (int i = 0; i < 4; ++i) write_file(dir / std::to_string(i) + ".ppm", i == 2 ? "P6 4 4" : ppm(4, i));
  DataOptions options;
  options.no_labels = true;
  const ImageSourcePtr memory = without_labels(memory_source(std::vector<uint8_t>(2 * 48, 9), {0, 0}, 4, 4, 3, {"x"})),
                       folder = open_data({"folder:" + (dir / "")}, Split::All, options);
  CHECK(without_damaged(concatenate_sources({memory, folder}), nullptr)->size() == 5);
  CHECK(without_damaged(concatenate_sources({folder, memory}), nullptr)->size() == 5);
}

TEST_CASE("damage: a long list is cut, reasons stand without what the name has said") {
  const TemporaryDirectory dir;
  fs::create_directories(dir / "a");
  for (int i = 0; i < 30; ++i) write_file(dir / "a/" + std::to_string(100 + i) + ".ppm", ppm(4, i));
  const ImageSourcePtr source = open_data({dir / ""}, Split::All);
  Damage damage;
  for (int64_t i = 0; i < 27; ++i) damage.emplace(i, "[image] " + source->file(i) + " is damaged: torn");
  damage[1] = "[image] " + source->file(1) + " has 9 x 9 pixels, the limit is 5; raise --max-pixels to read it";
  damage[2] = "cannot read " + source->file(2) + ": Permission denied";
  damage[3] = "";
  const auto message = [&] {
    try {
      check_damage(damage, *source, 0.1);
    } catch (const DamageError& e) {
      return std::string(e.what());
    }
    return std::string();
  }();
  CHECK(contains(message, "27 of 30 images cannot be read, more than 10 %: " + source->file(0) + " (torn), " +
                              source->file(1) + " (9 x 9 pixels, the limit is 5; raise --max-pixels to read it), " +
                              source->file(2) + " (cannot be read: Permission denied), " + source->file(3) + ", " +
                              source->file(4) + " (torn) and 22 more; "));
  CHECK(contains(damage_warning(damage, *source, "left out"), " and 7 more"));
  CHECK_NOTHROW(check_damage(damage, *source, 0.9));
}

TEST_CASE("folders: images that are links to nowhere count as damaged, other such links are told") {
  const TemporaryDirectory dir;
  for (const char* name : {"a", "b"}) {
    fs::create_directories(dir / "set/" + name);
    for (int i = 0; i < 60; ++i) write_file(dir / "set/" + name + "/" + std::to_string(100 + i) + ".ppm", ppm(4, i));
  }
  fs::create_symlink(dir / "gone.ppm", dir / "set/a/1.ppm");
  std::vector<std::string> notes;
  const ImageSourcePtr source = open_data({dir / "set"}, Split::All, {}, &notes);
  CHECK(notes.empty());
  REQUIRE(source->size() == 121);
  CHECK(without_damaged(source, &notes)->size() == 120);
  const std::string link = dir / "set/a/1.ppm";
  CHECK(contains(notes.at(0), "1 of 121 files is damaged and left out: " + link + " (a link to nowhere)"));
  LoaderOptions options;
  options.batch_size = 121;
  options.image_size = 4;
  options.views = augmentation("none", 4, 3);
  Loader loader(source, options);
  loader.next();
  REQUIRE(loader.damage().size() == 1);
  CHECK(contains(loader.damage().at(0), "is a link to nowhere"));
  // A class, and a file that may be anything: no images, but not to be lost without a word either.
  fs::create_symlink(dir / "gone", dir / "set/c");
  fs::create_symlink("itself", dir / "set/b/itself");
  fs::create_symlink("no.jpg", dir / "set/stray.jpg");  // does not make the folder a flat one
  notes.clear();
  const ImageSourcePtr more = open_data({dir / "set"}, Split::All, {}, &notes);
  CHECK(more->size() == 121);
  CHECK(more->class_names().size() == 2);
  CHECK(contains(notes.at(0), "warning: 3 links of " + (dir / "set") + " to nowhere left out: " +
                                  (dir / "set/b/itself") + ", " + (dir / "set/c") + ", " + (dir / "set/stray.jpg")));
  fs::create_directories(dir / "links");
  fs::create_symlink("no.jpg", dir / "links/only.jpg");
  notes.clear();
  CHECK_THROWS_WITH_AS(without_damaged(open_data({dir / "links"}, Split::All), &notes),
                       doctest::Contains("only.jpg (a link to nowhere)"), Error);
}

TEST_CASE("folders: images in formats that are not read are told by their endings") {
  const TemporaryDirectory dir;
  for (const char* name : {"phone", "set/a", "set/b"}) fs::create_directories(dir / name);
  for (const char* name : {"phone/1.HEIC", "phone/2.heic", "phone/3.webp", "phone/notes.txt"})
    write_file(dir / name, "x");
  CHECK_THROWS_WITH_AS(open_data({dir / "phone"}, Split::All),
                       doctest::Contains("files below it, but 2 .heic, 1 .webp: "), Error);
  for (const char* name : {"set/a/1.ppm", "set/b/2.ppm"}) write_file(dir / name, ppm(4, 1));
  for (const char* name : {"set/a/3.heic", "set/b/4.heic", "set/b/5.xmp"}) write_file(dir / name, "x");
  std::vector<std::string> notes;
  CHECK(open_data({dir / "set"}, Split::All, {}, &notes)->size() == 2);
  CHECK(notes == std::vector<std::string>{"warning: " + (dir / "set") +
                                          " has images in formats that are not read, left out: 2 .heic"});
}

TEST_CASE("a directory without permission to read is left out, named; classes keep their images") {
  const TemporaryDirectory dir;
  for (const char* name : {"a", "b", "c"}) {
    fs::create_directories(dir / "set/" + name + "/more");
    testing::write_file(dir / "set/" + name + "/more/1.ppm", testing::ppm(8, 1));
  }
  fs::permissions(dir / ".", fs::perms::owner_all | fs::perms::group_read | fs::perms::group_exec |
                                 fs::perms::others_read | fs::perms::others_exec);
  fs::permissions(dir / "set/b", fs::perms::none);
  fs::permissions(dir / "set/c/more", fs::perms::none);
  const bool root = geteuid() == 0;  // who may read everything
  const bool as_other = !root || seteuid(65534) == 0;
  if (!as_other || faccessat(AT_FDCWD, (dir / "set").c_str(), R_OK | X_OK, AT_EACCESS) != 0) {
    if (root && as_other) REQUIRE(seteuid(0) == 0);
    std::printf("skipped: directories without permission: root, and nobody else may look into %s\n",
                (dir / ".").c_str());
    return;
  }
  std::vector<std::string> notes;
  const ImageSourcePtr source = open_data({dir / "set"}, Split::All, {}, &notes);
  CHECK_THROWS_WITH_AS(open_data({dir / "set/c"}, Split::All), doctest::Contains("without permission to read"), Error);
  if (root) REQUIRE(seteuid(0) == 0);
  fs::permissions(dir / "set/b", fs::perms::owner_all);
  fs::permissions(dir / "set/c/more", fs::perms::owner_all);
  CHECK(source->class_names() == std::vector<std::string>{"a"});
  CHECK(notes.at(0) == "warning: 2 directories of " + (dir / "set") +
                           " without permission to read left out: " + (dir / "set/b") + ", " + (dir / "set/c/more"));
}
