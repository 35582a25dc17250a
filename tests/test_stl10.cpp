// STL-10: column-major images, labels from 1, an unlabelled part; from files and from the archive as downloaded.
#include <doctest/doctest.h>

#include <filesystem>

#include "ssl/data/image_source.h"
#include "tests/images.h"
#include "tests/process.h"

namespace fs = std::filesystem;
using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

constexpr size_t kSide = 96;

/// One image of the file: byte (channel, column, row).
std::string record(int seed) {
  std::string bytes;
  for (size_t c = 0; c < 3; ++c)
    for (size_t x = 0; x < kSide; ++x)
      for (size_t y = 0; y < kSide; ++y)
        bytes += static_cast<char>(c * 80 + x / 2 + (y == 0 ? 0 : 20) + static_cast<size_t>(seed));
  return bytes;
}

void write_set(const std::string& directory) {
  fs::create_directories(directory);
  write_file(directory + "/train_X.bin", record(1) + record(2) + record(3));
  write_file(directory + "/train_y.bin", "\x01\x0A\x05");
  write_file(directory + "/test_X.bin", record(4) + record(5));
  write_file(directory + "/test_y.bin", "\x02\x03");
  write_file(directory + "/unlabeled_X.bin", record(6) + record(7) + record(8) + record(9));
}

void pack(const std::string& directory, const std::string& path) {
  std::string tar;
  for (const char* name : {"test_X.bin", "test_y.bin", "train_X.bin", "train_y.bin", "unlabeled_X.bin"})
    tar += tar_member("stl10_binary/" + std::string(name), read_file(directory + "/" + name));
  write_file(path, gzipped(tar + tar_end()));
}

}  // namespace

TEST_CASE("stl10: columns become rows, labels start at 0, unlabelled images have none") {
  const TemporaryDirectory dir;
  write_set(dir / "stl10_binary");
  const ImageSourcePtr train = open_data({"stl10:" + (dir / "")}, Split::Train),
                       test = open_data({dir / ""}, Split::Test),
                       unlabeled = open_data({dir / "stl10_binary"}, Split::Unlabeled);
  CHECK(train->size() == 3);
  CHECK(test->size() == 2);
  CHECK(unlabeled->size() == 4);
  CHECK(train->image_size() == std::pair<int64_t, int64_t>{96, 96});
  CHECK(train->channels() == 3);
  CHECK(labels_of(*train) == std::vector<int64_t>{0, 9, 4});
  CHECK(labels_of(*unlabeled) == std::vector<int64_t>(4, -1));
  CHECK(train->class_names().size() == 10);
  CHECK(train->class_names()[9] == "truck");
  CHECK_FALSE(unlabeled->labelled());
  const Image image = test->image(1);
  const auto at = [&](size_t y, size_t x, size_t c) { return int{image.pixels[(y * kSide + x) * 3 + c]}; };
  CHECK(at(0, 0, 0) == 5);
  CHECK(at(0, 90, 0) == 5 + 45);  // along a row the column counts
  CHECK(at(1, 0, 0) == 5 + 20);   // and down a column the row
  CHECK(at(95, 90, 2) == 5 + 160 + 45 + 20);
  const ImageSourcePtr all = open_data({dir / ""}, Split::All);
  CHECK(all->size() == 9);
  CHECK_FALSE(all->labelled());  // not every image has a label, so nothing that needs them may begin
  fs::remove(dir / "stl10_binary/unlabeled_X.bin");
  CHECK(open_data({dir / ""}, Split::All)->labelled());
  CHECK(contains(error_of({dir / ""}, Split::Unlabeled), "no unlabeled_X.bin"));
}

TEST_CASE("stl10: the archive as downloaded gives the same images") {
  const TemporaryDirectory dir;
  write_set(dir / "plain");
  pack(dir / "plain", dir / "stl10_binary.tar.gz");
  for (const Split split : {Split::Train, Split::Test, Split::Unlabeled}) {
    const ImageSourcePtr plain = open_data({dir / "plain"}, split),
                         packed = open_data({dir / "stl10_binary.tar.gz"}, split);  // recognised by its content
    REQUIRE(plain->size() == packed->size());
    CHECK(labels_of(*plain) == labels_of(*packed));
    for (int64_t i = 0; i < plain->size(); ++i) CHECK(plain->image(i).pixels == packed->image(i).pixels);
  }
}

TEST_CASE("stl10: short, missing and wrongly labelled files are named") {
  const TemporaryDirectory dir;
  const std::string spec = "stl10:" + (dir / "");
  CHECK(contains(error_of({spec + "/none"}), "does not exist"));
  write_set(dir / "");
  write_file(dir / "train_X.bin", record(1).substr(1));
  CHECK(contains(error_of({spec}), "train_X.bin has 27647 bytes"));
  write_file(dir / "train_X.bin", "");
  CHECK(contains(error_of({spec}), "train_X.bin has 0 bytes"));
  write_file(dir / "train_X.bin", record(1) + record(2));
  CHECK(contains(error_of({spec}), "train_y.bin has 3 labels for 2 images"));
  write_file(dir / "train_y.bin", std::string("\x0A\x00", 2));
  CHECK(contains(error_of({spec}), "label 0 of image 1; labels are 1 to 10"));
  write_file(dir / "train_y.bin", "\x0B\x01");
  CHECK(contains(error_of({spec}), "label 11 of image 0"));
  fs::remove(dir / "train_y.bin");
  CHECK(contains(error_of({spec}), "but not its labels, train_y.bin"));
  fs::remove(dir / "train_X.bin");
  CHECK(contains(error_of({spec}), "has no train_X.bin"));
  const ImageSourcePtr test = open_data({spec}, Split::Test);
  fs::resize_file(dir / "test_X.bin", 30000);  // cut short while it is in use
  CHECK_NOTHROW(test->image(0));
  CHECK_THROWS_WITH_AS(test->image(1), doctest::Contains("test_X.bin ends before"), Error);
}
