// Data sources: what is read, and that damaged, missing or wrongly labelled files are named.
#include <doctest/doctest.h>

#include <filesystem>
#include <set>

#include "ssl/data/decode.h"
#include "ssl/data/image_source.h"
#include "tests/images.h"
#include "tests/process.h"

namespace fs = std::filesystem;
using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

void write_idx(const TemporaryDirectory& dir, const std::string& images, const std::string& labels,
               const std::string& ending = "") {
  for (const char* part : {"train", "t10k"}) {
    write_file(dir / (std::string(part) + "-images-idx3-ubyte" + ending), images);
    write_file(dir / (std::string(part) + "-labels-idx1-ubyte" + ending), labels);
  }
}

}  // namespace

TEST_CASE("idx: plain and compressed files give the same images") {
  const TemporaryDirectory plain, compressed;
  write_idx(plain, idx_images(6, 4), idx_labels(6));
  write_idx(compressed, gzipped(idx_images(6, 4)), gzipped(idx_labels(6)), ".gz");
  const ImageSourcePtr a = open_data({"idx:" + (plain / "")}, Split::Train);
  const ImageSourcePtr b = open_data({compressed / ""}, Split::Test);  // recognised by its content
  CHECK(a->size() == 6);
  CHECK(a->image_size() == std::pair<int64_t, int64_t>{4, 4});
  CHECK(a->channels() == 1);
  CHECK(a->class_names().size() == 3);
  CHECK(a->image(1).pixels[0] == 16);
  for (int64_t i = 0; i < 6; ++i) {
    CHECK(a->image(i).pixels == b->image(i).pixels);
    CHECK(a->label(i) == i % 3);
  }
  CHECK(open_data({plain / ""}, Split::All)->size() == 12);
}

TEST_CASE("idx: a split that lacks the last class still joins the other") {
  const TemporaryDirectory dir;
  write_idx(dir, idx_images(6, 4), idx_labels(6));
  write_file(dir / "t10k-labels-idx1-ubyte", big_endian(0x801) + big_endian(6) + std::string(6, '\1'));
  const ImageSourcePtr all = open_data({"idx:" + (dir / "")}, Split::All);
  CHECK(all->size() == 12);
  CHECK(all->class_names().size() == 3);
  CHECK(all->label(11) == 1);
}

TEST_CASE("idx: missing, truncated, too long, wrongly labelled and corrupt files are named") {
  const auto error_for = [](const std::string& images, const std::string& labels, const std::string& ending = "") {
    const TemporaryDirectory dir;
    write_idx(dir, images, labels, ending);
    return error_of({"idx:" + (dir / "")});
  };
  const std::string images = idx_images(6, 4), labels = idx_labels(6);
  CHECK(contains(error_for(images.substr(0, images.size() - 1), labels), "train-images-idx3-ubyte is truncated"));
  CHECK(contains(error_for(images.substr(0, 7), labels), "truncated"));
  CHECK(contains(error_for(images + "x", labels), "more bytes"));
  CHECK(contains(error_for(images, idx_labels(5)), "6 images"));
  CHECK(contains(error_for(labels, images), "these are labels"));
  CHECK(contains(error_for(idx_images(6, 4, 7), labels), "magic number 7"));
  CHECK(contains(error_for(big_endian(0x803) + big_endian(4000000000u) + big_endian(16000) + big_endian(16000), labels),
                 "train-labels"));  // the counts differ, and no memory is taken for what is only promised
  const std::string packed = gzipped(images), file = "train-images-idx3-ubyte.gz";
  std::string corrupt = packed;
  for (size_t i = 12; i < corrupt.size(); ++i) corrupt[i] = static_cast<char>(corrupt[i] ^ 0x5a);
  for (const std::string& bytes : {packed.substr(0, packed.size() - 12), corrupt}) {
    const std::string error = error_for(bytes, gzipped(labels), ".gz");
    CHECK(contains(error, file));
    CHECK(error.find(file) == error.rfind(file));  // zlib's own message names it too
  }
  const TemporaryDirectory dir;
  CHECK(contains(error_of({"idx:" + (dir / "none")}), "does not exist"));
  CHECK(contains(error_of({"idx:" + (dir / "")}), "has no train-images-idx3-ubyte"));
  write_file(dir / "file", "x");
  CHECK(contains(error_of({"idx:" + (dir / "file")}), "is a file"));
}

TEST_CASE("cifar: colour planes become pixels; short files and labels out of range are named") {
  const TemporaryDirectory dir;
  std::string record(3073, '\0');
  record[0] = 7;
  record[1] = 11;             // red of pixel 0
  record[1 + 1024] = 22;      // green
  record[1 + 2 * 1024] = 33;  // blue
  for (int i = 1; i <= 5; ++i) write_file(dir / ("data_batch_" + std::to_string(i) + ".bin"), record + record);
  write_file(dir / "test_batch.bin", record);
  const ImageSourcePtr train = open_data({dir / ""}, Split::Train);
  CHECK(train->size() == 10);
  CHECK(train->label(3) == 7);
  const Image image = train->image(9);
  CHECK(image.pixels[0] == 11);
  CHECK(image.pixels[1] == 22);
  CHECK(image.pixels[2] == 33);
  CHECK(open_data({"cifar10:" + (dir / "")}, Split::Test)->size() == 1);
  write_file(dir / "data_batch_3.bin", record.substr(1));
  CHECK(contains(error_of({dir / ""}), "data_batch_3.bin"));
  record[0] = 10;
  write_file(dir / "data_batch_3.bin", record);
  CHECK(contains(error_of({dir / ""}), "label 10"));
  write_file(dir / "x.tar.gz", "not an archive");
  CHECK(contains(error_of({"cifar10:" + (dir / "x.tar.gz")}), "x.tar.gz"));
}

TEST_CASE("cifar100: two labels, of which the fine one counts; an archive is read as it is") {
  const TemporaryDirectory dir;
  std::string record(3074, '\0');
  record[0] = 3;   // coarse
  record[1] = 99;  // fine
  record[2] = 44;  // red of pixel 0
  for (const char* name : {"train.bin", "test.bin"}) write_file(dir / name, record + record);
  const ImageSourcePtr train = open_data({"cifar100:" + (dir / "")}, Split::Train);
  REQUIRE(train->size() == 2);
  CHECK(train->label(1) == 99);
  CHECK(train->class_names().size() == 100);
  CHECK(train->image(1).pixels[0] == 44);
  write_file(dir / "cifar-100-binary.tar.gz", gzipped(tar_member("cifar-100-binary/train.bin", record + record) +
                                                      tar_member("cifar-100-binary/test.bin", record) + tar_end()));
  const ImageSourcePtr packed = open_data({"cifar100:" + (dir / "cifar-100-binary.tar.gz")}, Split::Train);
  REQUIRE(packed->size() == 2);
  CHECK(packed->label(0) == 99);
  CHECK(packed->image(0).pixels == train->image(0).pixels);
  CHECK(open_data({"cifar100:" + (dir / "cifar-100-binary.tar.gz")}, Split::Test)->size() == 1);
  record[1] = 100;
  write_file(dir / "train.bin", record);
  CHECK(contains(error_of({"cifar100:" + (dir / "")}), "label 100"));
}

TEST_CASE("folders: an image beside the classes, a limit beyond the data: the user is told") {
  const TemporaryDirectory dir;
  for (const char* name : {"cat", "dog"}) {
    fs::create_directories(dir / name);
    for (int i = 0; i < 10; ++i) write_file(dir / name + "/" + std::to_string(i) + ".pgm", "P5\n1 1\n255\nx");
  }
  std::vector<std::string> notes;
  CHECK(open_data({dir / ""}, Split::All, {}, &notes)->class_names().size() == 2);
  CHECK(notes.empty());
  DataOptions limited;
  limited.limit = 1000;
  open_data({dir / ""}, Split::Train, limited, &notes);
  CHECK(contains(notes.back(), "--limit 1000 is more than the 18"));
  write_file(dir / "stray.pgm", "P5\n1 1\n255\nx");
  CHECK(open_data({dir / ""}, Split::All, {}, &notes)->class_names().empty());
  CHECK(contains(notes.back(), "stray.pgm"));
}

TEST_CASE("folders: classes, flat, splits, held-out images, limits") {
  const TemporaryDirectory dir;
  for (const char* name : {"cats", "dogs"}) {
    fs::create_directories(dir / name);
    for (int i = 0; i < 10; ++i) write_file(dir / name + "/" + std::to_string(i) + ".ppm", ppm(5, i + 1));
  }
  write_file(dir / "cats/readme.txt", "not an image");
  std::vector<std::string> notes;
  const ImageSourcePtr train = open_data({dir / ""}, Split::Train, {}, &notes);
  const ImageSourcePtr test = open_data({dir / ""}, Split::Test);
  CHECK(train->size() == 18);
  CHECK(test->size() == 2);
  CHECK(notes.size() == 1);
  CHECK(train->class_names() == std::vector<std::string>{"cats", "dogs"});
  std::set<std::string> files;
  for (const ImageSourcePtr& part : {train, test})
    for (int64_t i = 0; i < part->size(); ++i) {
      files.insert(part->file(i));
      CHECK(contains(part->file(i), part->label(i) == 0 ? "cats" : "dogs"));
    }
  CHECK(files.size() == 20);
  DataOptions unlabelled;
  unlabelled.no_labels = true;
  CHECK_FALSE(open_data({dir / ""}, Split::All, unlabelled)->labelled());

  DataOptions limited;
  limited.limit = 5;
  const ImageSourcePtr five = open_data({dir / ""}, Split::Train, limited);
  CHECK(five->size() == 5);
  CHECK(five->file(0) == open_data({dir / ""}, Split::Train, limited)->file(0));
  CHECK(open_data({dir / ""}, Split::Test, limited)->size() == 2);
  CHECK(open_data({dir / ""}, Split::All, limited)->size() == 5);
  CHECK(open_data({dir / "cats/3.ppm"}, Split::All)->size() == 1);
  CHECK(contains(error_of({dir / "cats/readme.txt"}), "readme.txt"));
  fs::create_symlink("itself", dir / "itself");
  CHECK(open_data({dir / ""}, Split::All)->size() == 20);
  fs::create_directories(dir / "empty");
  CHECK(contains(error_of({"folder:" + (dir / "empty")}), "has no .jpg"));

  fs::create_directories(dir / "split/train/a");
  fs::create_directories(dir / "split/val/a");
  write_file(dir / "split/train/a/1.ppm", ppm(5, 1));
  write_file(dir / "split/val/a/2.ppm", ppm(5, 2));
  CHECK(contains(open_data({dir / "split"}, Split::Test)->file(0), "2.ppm"));
  CHECK(open_data({dir / "split"}, Split::All)->size() == 2);
}

TEST_CASE("folders: only a test part is no set of classes, and the error says what to give") {
  const TemporaryDirectory dir;
  for (const char* part : {"one/val/a", "two/val/a", "two/test/b", "class/test", "class/cats"}) {
    fs::create_directories(dir / part);
    write_file(dir / part + "/1.ppm", ppm(5, 1));
    write_file(dir / part + "/2.ppm", ppm(5, 2));
  }
  CHECK(contains(error_of({dir / "one"}), "no train/"));
  CHECK(contains(error_of({dir / "one"}), dir / "one/val"));
  CHECK(contains(error_of({"folder:" + (dir / "two")}), "no train/"));
  CHECK(open_data({dir / "one/val"}, Split::All)->class_names() == std::vector<std::string>{"a"});
  DataOptions unlabelled;
  unlabelled.no_labels = true;
  CHECK(open_data({dir / "two"}, Split::All, unlabelled)->size() == 4);
  CHECK(open_data({dir / "class"}, Split::All)->class_names() == std::vector<std::string>{"cats", "test"});
}

TEST_CASE("images: damaged, truncated and too large ones are refused") {
  const TemporaryDirectory dir;
  const auto error_for = [&](const std::string& name, const std::string& bytes, int64_t max_pixels = 1000) {
    write_file(dir / name, bytes);
    try {
      decode_file(dir / name, max_pixels);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  CHECK(error_for("good.ppm", ppm(6, 3)) == "no error");
  CHECK(contains(error_for("short.ppm", ppm(6, 3).substr(0, 60)), "ends before its last pixel"));
  CHECK(contains(error_for("large.ppm", ppm(6, 3), 35), "--max-pixels"));
  CHECK(contains(error_for("overflow.pgm", "P5\n4294967297 1\n255\nx"), "damaged"));
  // A Huffman table of 255 * 16 codes: stb_image would write past the end of its own.
  CHECK(contains(error_for("codes.jpg", "\xFF\xD8\xFF\xC4\xFF\xFF\x10" + std::string(400, '\xFF')), "damaged"));
  CHECK(contains(error_for("comment.pgm", "P5\n# a\r99999999999 1\n255\nx"), "damaged"));
  CHECK(contains(error_for("text.png", "hello"), "text.png"));
  CHECK(contains(error_for("empty.jpg", ""), "empty.jpg"));
  CHECK(contains(error_for("claims.pgm", "P5\n60000 60000\n255\n"), "limit"));
}

TEST_CASE("specs: unknown kinds, empty ones, differing classes") {
  CHECK(contains(error_of({"nonsense:/tmp"}), "'nonsense' is no kind of data"));
  CHECK(contains(error_of({""}), "empty"));
  CHECK(contains(error_of({"/no/such/path"}), "does not exist"));
  CHECK(contains(error_of({"folder"}), "folder does not exist"));  // without a colon it is a path
  for (const char* wrong : {"", "nonsense:/tmp", "synthetic:-1", "synthetic:1e3", "idx:", "tar:", "tar:x-{3..1}.tar",
                            "x-{a..b}.tar", "tar:x-{1"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(check_spec(wrong), Error);
  }
  // What only the files can tell is no matter of the SPEC.
  for (const char* fine : {"/no/such/path", "no/such:path", "file.v2:x", "folder", "idx:/none", "tar:x-{0..2}.tar",
                           "fashion-mnist", "synthetic", "synthetic:7"}) {
    CAPTURE(fine);
    CHECK_NOTHROW(check_spec(fine));
  }
  CHECK(contains(error_of({"synthetic:0"}), "from 1 to"));
  CHECK(contains(error_of({"synthetic:many"}), "whole number"));
  CHECK(open_data({"synthetic:50", "synthetic:20"}, Split::All)->size() == 70);
  CHECK(open_data({"synthetic:50"}, Split::Train)->image(3).pixels ==
        open_data({"synthetic:50"}, Split::All)->image(3).pixels);
}

TEST_CASE("channels: gray, colour and alpha") {
  const Image rgba{1, 2, 4, {255, 0, 0, 255, 100, 100, 100, 0}};
  CHECK(to_channels(rgba, 3).pixels == std::vector<uint8_t>{255, 0, 0, 0, 0, 0});
  CHECK(to_channels(rgba, 1).pixels == std::vector<uint8_t>{76, 0});
  CHECK(to_channels({1, 1, 1, {9}}, 3).pixels == std::vector<uint8_t>{9, 9, 9});
}
