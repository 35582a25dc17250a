// Test images that are training images too: found in memory, in folders and tars, at a bounded cost.
#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <numeric>

#include "ssl/data/overlap.h"
#include "ssl/data/sources.h"
#include "tests/images.h"
#include "tests/process.h"

namespace fs = std::filesystem;
using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

/// Images of 2 x 2 gray pixels, one a number.
ImageSourcePtr numbers(const std::vector<int>& values) {
  std::vector<uint8_t> pixels;
  for (const int value : values)
    for (int i = 0; i < 4; ++i) pixels.push_back(static_cast<uint8_t>(value >> (8 * i)));
  return memory_source(pixels, std::vector<int64_t>(values.size(), 0), 2, 2, 1, {"a", "b"});
}

std::vector<int> count_from(int first, int count) {
  std::vector<int> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), first);
  return values;
}

void make_folder(const std::string& path, int first, int count, int side = 8) {
  fs::create_directories(path);
  for (int i = first; i < first + count; ++i) write_file(path + "/" + std::to_string(i) + ".ppm", ppm(side, i + 1));
}

ImageSourcePtr folder(const std::string& path) { return open_data({"folder:" + path}, Split::All); }

}  // namespace

TEST_CASE("overlap: in memory every image is compared; 60,000 of them too") {
  const Overlap none = find_overlap(*numbers(count_from(0, 60'000)), *numbers(count_from(60'000, 10'000)));
  CHECK(none.found == 0);
  CHECK(none.compared == 10'000);
  std::vector<int> test = count_from(60'000, 9'990);
  for (int i = 0; i < 10; ++i) test.push_back(100 * i + 7);
  const Overlap some = find_overlap(*numbers(count_from(0, 60'000)), *numbers(test));
  CHECK(some.found == 10);
  CHECK(some.first_test == 9'990);
  CHECK(some.first_train == 7);
}

TEST_CASE("overlap: the warning names number and first pair; one image in two thousand is not worth it") {
  const std::string warning = overlap_warning(*numbers({1, 2, 3}), *numbers({4, 3}));
  CHECK(warning.starts_with("warning: 1 of 2 test images is among the training images"));
  CHECK(contains(warning, "image 1 is image 2"));
  CHECK(contains(warning, "Remedy: "));
  CHECK(warning.find('\n') == std::string::npos);
  CHECK(overlap_warning(*numbers({1, 2, 3}), *numbers({4, 5})).empty());
  const ImageSourcePtr train = numbers(count_from(0, 3'000));
  CHECK(overlap_warning(*train, *numbers(count_from(2'999, 2'000))).empty());
  CHECK_FALSE(overlap_warning(*train, *numbers(count_from(2'999, 1'000))).empty());
  // The same bytes in another shape are another image.
  const ImageSourcePtr flat = memory_source({1, 0, 0, 0}, {0}, 1, 4, 1, {});
  CHECK(find_overlap(*numbers({1}), *flat).found == 0);
}

TEST_CASE("overlap: files are told apart by their lengths, and only those of one length are decoded") {
  const TemporaryDirectory dir;
  make_folder(dir / "train", 0, 150);
  make_folder(dir / "test", 145, 30);
  make_folder(dir / "large", 0, 40, 9);
  const Overlap some = find_overlap(*folder(dir / "train"), *folder(dir / "test"));
  CHECK(some.compared == 30);
  CHECK(some.found == 5);
  CHECK(contains(overlap_warning(*folder(dir / "train"), *folder(dir / "test")), "test/145.ppm is "));
  const Overlap other = find_overlap(*folder(dir / "train"), *folder(dir / "large"));
  CHECK(other.compared == 40);
  CHECK(other.found == 0);

  // A damaged file is no copy of another.
  write_file(dir / "train/broken.ppm", "P6 nonsense");
  write_file(dir / "test/broken.ppm", "P6 nonsense");
  CHECK(find_overlap(*folder(dir / "train"), *folder(dir / "test")).found == 5);
  // Parts of a source, and sources in a row, know their files' lengths.
  const ImageSourcePtr both = concatenate_sources({folder(dir / "large"), folder(dir / "train")});
  CHECK(both->encoded_bytes(0) == static_cast<int64_t>(ppm(9, 1).size()));
  CHECK(subset(both, {189, 40})->encoded_bytes(1) == static_cast<int64_t>(ppm(8, 1).size()));
  CHECK(find_overlap(*both, *folder(dir / "test")).found == 5);
  fs::remove(dir / "train/0.ppm");
  CHECK(both->encoded_bytes(40) == 0);
}

TEST_CASE("overlap: of many files a part is decoded, rare lengths first, and the warning says so") {
  const TemporaryDirectory dir;
  make_folder(dir / "train", 0, 300, 4);
  make_folder(dir / "test", 0, 100, 4);
  make_folder(dir / "train", 300, 20, 5);
  make_folder(dir / "test", 300, 10, 5);
  const ImageSourcePtr train = folder(dir / "train"), test = folder(dir / "test");
  const Overlap part = find_overlap(*train, *test);
  CHECK(part.test == 110);
  CHECK(part.compared == 10);  // 200 + 430 / 50 images may be decoded: the 30 larger ones are
  CHECK(part.found == 10);
  CHECK(contains(overlap_warning(*train, *test), "10 of the 10 compared of 110 test images"));
}

TEST_CASE("overlap: between a tar and itself") {
  const TemporaryDirectory dir;
  std::string tar;
  for (int i = 0; i < 4; ++i) tar += tar_member(std::to_string(i) + ".ppm", ppm(4 + i, 3));
  write_file(dir / "some.tar", tar + std::string(1024, '\0'));
  const ImageSourcePtr source = open_data({dir / "some.tar"}, Split::All);
  CHECK(source->encoded_bytes(2) == static_cast<int64_t>(ppm(6, 3).size()));
  CHECK(find_overlap(*source, *subset(source, {3, 1})).found == 2);
}
