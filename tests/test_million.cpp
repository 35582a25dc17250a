// A million images in tar shards: the memory that a loader needs does not grow with the images it has shown.
// Slow (a minute or two) and needs 1.1 GB below the temporary directory.
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "ssl/data/loader.h"
#include "tests/images.h"
#include "tests/process.h"

using namespace tacit;
using namespace tacit::ssl;
using namespace tacit::testing;

namespace {

constexpr int kShards = 100, kEach = 10'000;

/// Resident memory of this process in MB.
double resident() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1024;
  return 0;
}

void write_shard(const TemporaryDirectory& dir, int shard) {
  std::string tar;
  for (int i = shard * kEach; i < (shard + 1) * kEach; ++i)
    tar += tar_member(std::to_string(i) + ".ppm", ppm(8, i % 251));
  char file[32];
  snprintf(file, sizeof file, "many-%06d.tar", shard);
  write_file(dir / file, tar + tar_end());
}

}  // namespace

TEST_CASE("a million images in 100 shards: memory stays flat") {
  const TemporaryDirectory dir;
  for (int shard = 0; shard < kShards; ++shard) write_shard(dir, shard);
  const double before = resident();
  const ImageSourcePtr source = open_data({"tar:" + (dir / "many-{000000..000099}.tar")}, Split::All);
  REQUIRE(source->size() == int64_t{kShards} * kEach);
  const double opened = resident();
  LoaderOptions options;
  options.batch_size = 512;
  options.image_size = 8;
  options.views = augmentation("mae", 8, 3);
  Loader loader(source, options);
  double early = 0, most = 0, last = 0;
  const int64_t batches = 2 * loader.batches_per_epoch();
  for (int64_t i = 0; i < batches; ++i) {
    loader.next();
    if (i % 50 != 0) continue;
    last = resident();
    if (i == 50) early = last;
    most = std::max(most, last);
  }
  std::cout << "resident MB: before " << before << ", opened " << opened << ", after 50 batches " << early
            << ", at the end of two epochs " << last << ", most " << most << "\n";
  CHECK(opened - before < 64);  // the index is 16 bytes an image
  CHECK(last - early < 24);     // an epoch's order is 8 bytes an image; two are held where epochs meet
  CHECK(most - before < 128);
}
