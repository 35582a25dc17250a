// Tar shards: what is a sample, the order of an epoch, and that damaged, missing or compressed shards are named.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "ssl/data/loader.h"
#include "ssl/data/sources.h"
#include "tests/images.h"
#include "tests/process.h"

namespace fs = std::filesystem;
using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

/// Shards name-0000NN.tar of `each` images; image i of all has gray value i and class i % 3.
void write_shards(const TemporaryDirectory& dir, int shards, int each) {
  for (int s = 0; s < shards; ++s) {
    std::string tar;
    for (int i = s * each; i < (s + 1) * each; ++i) {
      const std::string name = "part/" + std::to_string(100000 + i);
      tar += tar_member(name + ".pgm", pgm(3, 4, i)) + tar_member(name + ".cls", std::to_string(i % 3) + "\n");
    }
    char file[32];
    snprintf(file, sizeof file, "name-%06d.tar", s);
    write_file(dir / file, tar + tar_end());
  }
}

std::string error_for(const std::string& bytes) {
  const TemporaryDirectory dir;
  write_file(dir / "a.tar", bytes);
  return error_of({"tar:" + (dir / "a.tar")}, Split::All);
}

}  // namespace

TEST_CASE("tar: samples are neighbours that share a name up to the first dot; other files are passed over") {
  const TemporaryDirectory dir;
  const std::string long_name = std::string(60, 'd') + "/" + std::string(120, 'n') + ".jpg.ppm";
  const std::string pax = "path=very/long.PPM\n";
  write_file(dir / "a.tar", tar_member("dir/", "", '5') + tar_member("dir/a.txt", "caption") +
                                tar_member("dir/a.ppm", ppm(4, 1)) + tar_member("dir/a.cls", " 7 \n") +
                                tar_member("other/a.cls", "1") + tar_member("other/a.ppm", ppm(4, 2)) +
                                tar_member("other/a.png", "a second image of the sample is left alone") +
                                tar_member("lonely.cls", "0") + tar_member("dir/._a.ppm", "hidden") +
                                tar_member("README", "no field") + tar_member("././@LongLink", long_name + '\0', 'L') +
                                tar_member(long_name.substr(0, 100), ppm(4, 3)) +
                                tar_member("PaxHeaders/x", "22 " + pax, 'x') + tar_member("short.txt", ppm(4, 4)) +
                                tar_member("link.ppm", "", '2') + tar_end());
  std::vector<std::string> notes;
  const ImageSourcePtr source = open_data({dir / "a.tar"}, Split::All, {}, &notes);  // recognised by its content
  REQUIRE(source->size() == 4);
  CHECK(labels_of(*source) == std::vector<int64_t>{7, 1, -1, -1});
  CHECK(contains(source->file(0), "a.tar/dir/a.ppm"));
  CHECK(contains(source->file(2), "a.tar/" + long_name));
  CHECK(contains(source->file(3), "a.tar/very/long.PPM"));
  CHECK(source->image(1).pixels[1] == 2);
  CHECK(source->image(2).pixels[1] == 3);
  CHECK(source->image_size() == std::pair<int64_t, int64_t>{4, 4});
  CHECK_FALSE(source->labelled());
  CHECK(contains(notes.at(0), "2 of 4 images have no .cls"));
}

TEST_CASE("tar: sources that are open together share the process's files") {
  const TemporaryDirectory dir;
  write_shards(dir, 300, 1);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit few{std::min<rlim_t>(400, before.rlim_max), before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
  const std::string spec = "tar:" + (dir / "name-{000000..000299}.tar");
  for (int i = 0; i < 3; ++i) {  // what was given back can be taken again
    const ImageSourcePtr first = open_data({spec}, Split::All), second = open_data({spec}, Split::All);
    CHECK(first->image(299).pixels[0] == 299 % 256);
    CHECK(second->image(299).pixels == first->image(299).pixels);
  }
  setrlimit(RLIMIT_NOFILE, &before);
}

TEST_CASE("tar: shards by a pattern; labels, held-out images, limits") {
  const TemporaryDirectory dir;
  write_shards(dir, 4, 10);
  const std::string spec = "tar:" + (dir / "name-{000000..000003}.tar");
  const ImageSourcePtr all = open_data({spec}, Split::All);
  CHECK(all->size() == 40);
  CHECK(all->class_names() == std::vector<std::string>{"0", "1", "2"});
  for (int64_t i = 0; i < 40; ++i) {
    CHECK(all->image(i).pixels[0] == i);
    CHECK(all->label(i) == i % 3);
  }
  CHECK(open_data({dir / "name-00000{1,3}.tar"}, Split::All)->image(10).pixels[0] == 30);
  std::vector<std::string> notes;
  const ImageSourcePtr train = open_data({spec}, Split::Train, {}, &notes), test = open_data({spec}, Split::Test);
  CHECK(train->size() == 36);
  CHECK(test->size() == 4);
  CHECK(contains(notes.at(0), "10 %"));
  DataOptions options;
  options.test_data = dir / "name-000003.tar";
  CHECK(open_data({dir / "name-{000000..000002}.tar"}, Split::Train, options)->size() == 30);
  CHECK(open_data({dir / "name-{000000..000002}.tar"}, Split::Test, options)->size() == 10);
  options.no_labels = true;
  CHECK_FALSE(open_data({dir / "name-{000000..000002}.tar"}, Split::Test, options)->labelled());
  CHECK_FALSE(open_data({spec}, Split::All, options)->labelled());
}

TEST_CASE("tar: an epoch's order goes through groups of shards, each image once, another one each epoch") {
  const TemporaryDirectory dir;
  write_shards(dir, 40, 6);
  const ImageSourcePtr source = open_data({"tar:" + (dir / "name-{000000..000039}.tar")}, Split::All);
  const std::vector<int64_t> order = source->order(1, 0);
  CHECK(order == source->order(1, 0));
  CHECK(order != source->order(1, 1));
  CHECK(order != source->order(2, 0));
  CHECK(std::set<int64_t>(order.begin(), order.end()).size() == 240);
  std::vector<std::set<int64_t>> shards(3);  // of the first 16 x 6 images, the next, the rest
  for (size_t i = 0; i < order.size(); ++i) shards[i / 96].insert(order[i] / 6);
  CHECK(shards[0].size() == 16);
  CHECK(shards[1].size() == 16);
  CHECK(shards[2].size() == 8);
  int neighbours = 0;
  for (size_t i = 1; i < order.size(); ++i) neighbours += order[i] == order[i - 1] + 1;
  CHECK(neighbours < 20);
  // Parts of a source and sources in a row keep to it.
  const ImageSourcePtr part = subset(source, {3, 50, 51, 200});
  std::vector<int64_t> expected;
  for (const int64_t i : order)
    for (size_t p = 0; p < 4; ++p)
      if (i == std::vector<int64_t>{3, 50, 51, 200}[p]) expected.push_back(static_cast<int64_t>(p));
  CHECK(part->order(1, 0) == expected);
  const ImageSourcePtr both =
      concatenate_sources({source, open_data({"tar:" + (dir / "name-000001.tar")}, Split::All)});
  const std::vector<int64_t> mixed = both->order(1, 0);
  CHECK(std::set<int64_t>(mixed.begin(), mixed.end()).size() == 246);
  std::vector<int64_t> first;
  for (const int64_t i : mixed)
    if (i < 240) first.push_back(i);
  CHECK(first == order);
}

TEST_CASE("tar: a loader resumes inside an epoch from its position alone") {
  const TemporaryDirectory dir;
  write_shards(dir, 20, 5);
  LoaderOptions options;
  options.batch_size = 8;
  options.image_size = 4;
  options.views = augmentation("simclr", 4, 3);
  const auto open = [&] { return open_data({"tar:" + (dir / "name-{000000..000019}.tar")}, Split::All); };
  Loader whole(open(), options);
  std::vector<Batch> batches;
  for (int i = 0; i < 20; ++i) batches.push_back(whole.next());
  Loader resumed(open(), options, 1, 3);  // 12 batches an epoch
  for (size_t i = 15; i < 20; ++i) {
    const Batch batch = resumed.next();
    CHECK(batch.indices == batches[i].indices);
    CHECK(batch.views[1].to_vector<float>() == batches[i].views[1].to_vector<float>());
  }
}

TEST_CASE("tar: damaged, truncated, compressed, empty and wrongly labelled archives are named") {
  const std::string good = tar_member("a.ppm", ppm(8, 1)) + tar_member("a.cls", "1");
  CHECK(error_for(good + tar_end()) == "no error");
  CHECK(contains(error_for(good), "a.tar is truncated"));
  CHECK(contains(error_for(good.substr(0, 600)), "'a.ppm' has"));
  CHECK(contains(error_for(""), "a.tar"));
  CHECK(contains(error_for("hello"), "a.tar"));
  CHECK(contains(error_for(std::string(2000, 'x')), "is not a tar archive"));
  std::string corrupt = good + tar_end();
  corrupt[1030] ^= 1;  // the second header
  CHECK(contains(error_for(corrupt), "is damaged at byte 1024"));
  CHECK(contains(error_for(tar_member("notes.txt", "x") + tar_end()), "has no .jpg"));
  for (const char* label : {"cat", "", "-1", "1.5", "99999999999", "1 2"})
    CHECK(contains(error_for(tar_member("a.ppm", ppm(8, 1)) + tar_member("a.cls", label) + tar_end()),
                   "a.cls holds '" + std::string(label) + "', not a class number"));
  const TemporaryDirectory dir;
  write_file(dir / "a.tar.gz", gzipped(good + tar_end()));
  CHECK(contains(error_of({"tar:" + (dir / "a.tar.gz")}, Split::All), "is compressed (gzip)"));
  CHECK(contains(error_of({dir / "a.tar.gz"}, Split::All), "decompress it once"));
}

TEST_CASE("tar: any byte may be wrong and any end missing: an Error or other images, never a crash") {
  const TemporaryDirectory dir;
  const std::string good = tar_member("././@LongLink", std::string(150, 'n') + ".ppm" + '\0', 'L') +
                           tar_member("short", ppm(3, 1)) + tar_member("PaxHeaders/x", "12 path=b.ppm\n", 'x') +
                           tar_member("b", ppm(3, 2)) + tar_member("b.cls", "1") + tar_end();
  const auto read = [&](const std::string& bytes) {
    write_file(dir / "a.tar", bytes);
    try {
      const ImageSourcePtr source = open_tar(dir / "a.tar", Split::All, {}).source;
      for (int64_t i = 0; i < source->size(); ++i) {
        CHECK(source->file(i).size() < 1000);
        source->image_for(i, 2);
      }
    } catch (const Error& e) {
      CHECK(contains(e.what(), "a.tar"));
    }
  };
  for (size_t at = 0; at < good.size(); at += 1 + at / 512 % 2 * 2) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
    // With its checksum put right, or the flip would never get past it.
    const size_t header = at / 512 * 512;
    unsigned sum = 0;
    for (size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(bytes[header + i]);
    char digits[8];
    snprintf(digits, sizeof digits, "%06o", sum);
    if (bytes.compare(header + 257, 5, "ustar") == 0) bytes.replace(header + 148, 6, digits);
    read(bytes);
  }
  for (size_t length = 0; length < good.size(); length += 37) read(good.substr(0, length));
}

TEST_CASE("tar: a missing shard, a bad pattern, an image that cannot be read") {
  const TemporaryDirectory dir;
  write_shards(dir, 2, 3);
  CHECK(contains(error_of({"tar:" + (dir / "name-{000000..000002}.tar")}), "name-000002.tar does not exist"));
  CHECK(contains(error_of({"tar:" + (dir / "name-{000000..000002}.tar")}), "one of the 3 shards"));
  CHECK(contains(error_of({"tar:" + (dir / "name-{5..3}.tar")}), "{5..3} is not a range"));
  CHECK(contains(error_of({"tar:" + (dir / "name-{0..x}.tar")}), "is not a range"));
  CHECK(contains(error_of({"tar:" + (dir / "name-{0.tar")}), "without its }"));
  CHECK(contains(error_of({"tar:" + (dir / "")}), "is not a file"));
  CHECK(contains(error_of({"tar:" + (dir / "name-000000.tar")}, Split::Unlabeled), "--split all"));
  write_file(dir / "bad.tar", tar_member("x/broken.jpg", "not a jpeg") + tar_end());
  const ImageSourcePtr bad = open_data({dir / "bad.tar"}, Split::All);
  CHECK_THROWS_WITH_AS(bad->image(0), doctest::Contains("bad.tar/x/broken.jpg is damaged"), Error);
  const ImageSourcePtr cut = open_data({dir / "name-000001.tar"}, Split::All);
  fs::resize_file(dir / "name-000001.tar", 1600);
  CHECK_THROWS_WITH_AS(cut->image(2), doctest::Contains("name-000001.tar"), Error);
}
