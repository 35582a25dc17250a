// The cache of decoded images: what it keeps, when it is made anew, and that damaged files stay named.
#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>

#include "ssl/data/cache.h"
#include "ssl/data/sources.h"
#include "tests/images.h"
#include "tests/process.h"

namespace fs = std::filesystem;
using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

/// Ten images in two classes: a large gray one, a small colour one, a damaged one, and others.
void write_folder(const TemporaryDirectory& dir) {
  for (const char* name : {"a", "b"}) fs::create_directories(dir / "images/" + name);
  write_file(dir / "images/a/0.pgm", pgm(40, 100, 77));
  write_file(dir / "images/a/1.ppm", ppm(5, 3));
  write_file(dir / "images/a/2.ppm", ppm(40, 3).substr(0, 500));
  for (int i = 0; i < 7; ++i) write_file(dir / "images/b/" + std::to_string(i) + ".ppm", ppm(50, i + 1));
}

struct Opening {
  std::vector<std::string> notes;
  ImageSourcePtr source;
  bool wrote() const { return !notes.empty() && contains(notes.back(), "wrote "); }
};

Opening open_cached(const TemporaryDirectory& dir, int64_t image_size = 14, Split split = Split::Train,
                    const std::string& cache = "cache") {
  Opening opening;
  opening.source =
      cached(open_data({"folder:" + (dir / "images")}, Split::All), dir / cache, split, image_size, &opening.notes);
  return opening;
}

}  // namespace

TEST_CASE("cache: shorter sides of 8/7 of the size, small images as they are, labels and names as before") {
  const TemporaryDirectory dir;
  write_folder(dir);
  const ImageSourcePtr plain = open_data({"folder:" + (dir / "images")}, Split::All);
  const Opening first = open_cached(dir), second = open_cached(dir);
  CHECK(first.wrote());
  CHECK(second.notes.empty());
  REQUIRE(first.source->size() == 10);
  CHECK(first.source->class_names() == plain->class_names());
  CHECK(labels_of(*first.source) == labels_of(*plain));
  CHECK(first.source->file(3) == plain->file(3));
  const Image wide = first.source->image(0);
  CHECK(wide.height == 16);
  CHECK(wide.width == 40);
  CHECK(wide.channels == 1);
  CHECK(wide.pixels == std::vector<uint8_t>(640, 77));
  CHECK(first.source->image(1).pixels == plain->image(1).pixels);
  for (int64_t i = 3; i < 10; ++i) {
    CHECK(first.source->image(i).height == 16);
    CHECK(first.source->image(i).pixels == second.source->image(i).pixels);
  }
  // The damaged file is so every time, for the same reason.
  const auto reason = [](const ImageSourcePtr& source) {
    try {
      source->image_for(2, 14);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(contains(reason(plain), "a/2.ppm is damaged"));
  CHECK(reason(first.source) == reason(plain));
  CHECK(reason(second.source) == reason(plain));
  std::vector<std::string> notes;
  CHECK(without_damaged(second.source, &notes)->size() == 9);
}

TEST_CASE("cache: other sizes, changed, new or removed files and damage make it anew") {
  const TemporaryDirectory dir;
  write_folder(dir);
  open_cached(dir);
  CHECK(contains(open_cached(dir, 28).notes.at(0), "another version or image size"));
  CHECK(open_cached(dir, 14).wrote());
  CHECK_FALSE(open_cached(dir, 14).wrote());

  const std::string file = dir / "images/b/0.ppm";
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(5));
  CHECK(contains(open_cached(dir).notes.at(0), "the data has changed"));
  write_file(dir / "images/b/9.ppm", ppm(50, 99));
  const Opening more = open_cached(dir);
  CHECK(more.wrote());
  CHECK(more.source->size() == 11);
  fs::remove(dir / "images/b/9.ppm");
  CHECK(open_cached(dir).source->size() == 10);

  const std::string whole = read_file(dir / "cache");
  for (const size_t length : {whole.size() - 1, whole.size() - 100, size_t{41}, size_t{40}}) {
    write_file(dir / "cache", whole.substr(0, length));
    CHECK(contains(open_cached(dir).notes.at(0), "it was damaged"));
  }
  std::string wrong = whole;
  wrong[whole.size() - 24 + 8] ^= 1;  // the last entry's size
  write_file(dir / "cache", wrong);
  CHECK(contains(open_cached(dir).notes.at(0), "it was damaged"));
  CHECK(read_file(dir / "cache") == whole);
}

TEST_CASE("cache: what was refused for its size is read once more is allowed") {
  const TemporaryDirectory dir;
  write_folder(dir);
  const auto opened = [&](int64_t max_pixels) {
    DataOptions options;
    options.max_pixels = max_pixels;
    return cached(open_data({"folder:" + (dir / "images")}, Split::All, options), dir / "cache", Split::Train, 14,
                  nullptr);
  };
  CHECK_THROWS_WITH_AS(opened(1000)->image(3), doctest::Contains("--max-pixels"), Error);
  CHECK(opened(10000)->image(3).width == 16);
}

TEST_CASE("cache: a directory, splits beside each other, what is no cache, and data that needs none") {
  const TemporaryDirectory dir;
  write_folder(dir);
  fs::create_directories(dir / "caches");
  CHECK(open_cached(dir, 14, Split::Train, "caches").wrote());
  CHECK(fs::exists(dir / "caches/images.cache"));
  CHECK(open_cached(dir, 14, Split::Test, "caches").wrote());
  CHECK_FALSE(open_cached(dir, 14, Split::Train, "caches").wrote());
  write_file(dir / "precious", "not a cache");
  CHECK_THROWS_WITH_AS(open_cached(dir, 14, Split::Train, "precious"), doctest::Contains("precious is there and not a"),
                       Error);
  CHECK(read_file(dir / "precious") == "not a cache");
  CHECK_THROWS_WITH_AS(open_cached(dir, 14, Split::Train, "precious/place"), doctest::Contains("precious"), Error);
  CHECK(open_cached(dir, 14, Split::Train, "new/place").wrote());  // with its directory
  CHECK(fs::exists(dir / "new/place"));
  CHECK(open_cached(dir, 14, Split::Train, "other/").wrote());
  CHECK(fs::exists(dir / "other/images.cache"));
  std::vector<std::string> notes;
  const ImageSourcePtr made = open_data({"synthetic:20"}, Split::All);
  CHECK(cached(made, dir / "unused", Split::Train, 32, &notes) == made);
  CHECK(contains(notes.at(0), "--cache is not used"));
  CHECK_FALSE(fs::exists(dir / "unused"));
}

TEST_CASE("cache: tar shards and parts of data have one too, in the order of the source") {
  const TemporaryDirectory dir;
  std::string tar;
  for (int i = 0; i < 30; ++i) tar += tar_member(std::to_string(i) + ".ppm", ppm(20, i + 1));
  write_file(dir / "a.tar", tar + tar_end());
  const ImageSourcePtr train = open_data({dir / "a.tar"}, Split::Train);
  std::vector<std::string> notes;
  const ImageSourcePtr kept = cached(train, dir / "cache", Split::Train, 7, &notes);
  CHECK(kept->size() == 27);
  CHECK(kept->order(3, 1) == train->order(3, 1));
  CHECK(kept->image(26).height == 8);
  notes.clear();
  DataOptions limited;
  limited.limit = 5;
  cached(open_data({dir / "a.tar"}, Split::Train, limited), dir / "cache", Split::Train, 7, &notes);
  CHECK(contains(notes.at(0), "the data has changed"));
}

TEST_CASE("cache: its making is told as it goes on, its reading is not") {
  const TemporaryDirectory dir;
  std::string tar;
  for (int i = 0; i < 300; ++i) tar += tar_member(std::to_string(1000 + i) + ".pgm", pgm(4, 5, i % 256));
  write_file(dir / "a.tar", tar + tar_end());
  std::vector<std::pair<int64_t, int64_t>> told;
  const auto open = [&] {
    return cached(open_data({dir / "a.tar"}, Split::All), dir / "cache", Split::All, 7, nullptr,
                  [&](int64_t done, int64_t images) { told.emplace_back(done, images); });
  };
  open();
  CHECK(told == std::vector<std::pair<int64_t, int64_t>>{{256, 300}, {300, 300}});
  open();
  CHECK(told.size() == 2);
}
