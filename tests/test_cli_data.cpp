// Data as the command sees it: damaged files, the cache, tar shards, policies by name.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "ssl/data/some_indices.h"
#include "tensor/safetensors.h"
#include "tests/images.h"
#include "tests/process.h"

namespace fs = std::filesystem;
using namespace tacit::testing;

namespace {

/// 200 images in two classes, every fiftieth of them damaged.
void write_images(const TemporaryDirectory& dir) {
  for (const char* name : {"a", "b"}) fs::create_directories(dir / "images/" + name);
  for (int i = 0; i < 200; ++i) {
    const std::string bytes = ppm(24, i + 1);
    write_file(dir / "images/" + (i % 2 ? "a/" : "b/") + std::to_string(1000 + i) + ".ppm",
               i % 50 == 7 ? bytes.substr(0, 20) : bytes);
  }
}

std::vector<std::string> run_on(const std::string& data, const std::string& out, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {
      "pretrain",  "simclr",    "--data",          data, "--split",       "all",  "--image-size", "16",
      "--encoder", "small_cnn", "--encoder-width", "8",  "--projector",   "16,8", "--batch-size", "20",
      "--epochs",  "2",         "--out",           out,  "--max-damaged", "0.02"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::vector<std::string> losses_of(const std::string& run) {
  std::vector<std::string> losses;
  std::istringstream lines(read_file(run + "/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.find("\"loss\":");
    losses.push_back(line.substr(at, line.find(',', at) - at));
  }
  return losses;
}

}  // namespace

TEST_CASE("2 % damaged files stop a run, named, unless --max-damaged allows them") {
  const TemporaryDirectory dir;
  write_images(dir);
  std::vector<std::string> strict = run_on("folder:" + (dir / "images"), dir / "strict");
  strict.back() = "0.01";
  const Outcome stopped = run_tacit(strict);
  CHECK(stopped.status == 1);
  CHECK(contains(stopped.err, "3 of 200 images cannot be read, more than 1 %"));
  CHECK(contains(stopped.err, ".ppm (it ends before its last pixel), "));
  CHECK(contains(stopped.err, "--max-damaged"));
  const Outcome allowed = run_tacit(run_on("folder:" + (dir / "images"), dir / "run"));
  CHECK(allowed.status == 0);
  CHECK(contains(allowed.err, "warning: 4 of 200 files are damaged and replaced by the next ones: "));
  for (const char* name : {"1007", "1057", "1107", "1157"}) CHECK(contains(allowed.err, name));
  // What the message says works, and no step is lost.
  CHECK(contains(stopped.err, (dir / "strict") + " is saved at step "));
  CHECK_FALSE(contains(stopped.err, "at step 0"));
  CHECK(run_tacit({"pretrain", "simclr", "--out", dir / "strict", "--resume"}).status == 1);
  CHECK(run_tacit({"pretrain", "simclr", "--out", dir / "strict", "--resume", "--max-damaged", "0.02"}).status == 0);
  CHECK(losses_of(dir / "strict") == losses_of(dir / "run"));
  const std::string checkpoint = "/checkpoints/last.safetensors";
  CHECK(read_file((dir / "strict") + checkpoint) == read_file((dir / "run") + checkpoint));
  const Outcome refused = run_tacit({"knn", dir / "run", "--data", "folder:" + (dir / "images")});
  CHECK(refused.status == 1);
  CHECK(contains(refused.err, "cannot be read, more than 1 %"));
  // The held-out tenth may have more than its share of them.
  CHECK(run_tacit({"knn", dir / "run", "--data", "folder:" + (dir / "images"), "--max-damaged", "0.2"}).status == 0);
  const Outcome wrong = run_tacit({"knn", dir / "run", "--data", dir / "images", "--max-damaged", "2"});
  CHECK(wrong.status == 2);
  CHECK(contains(wrong.err, "--max-damaged must lie between 0 and 1"));
}

TEST_CASE("--cache is made once, gives the same numbers every time, and belongs to the run") {
  const TemporaryDirectory dir;
  write_images(dir);
  const std::vector<std::string> with_cache = {"--cache", dir / "cache"};
  const Outcome first = run_tacit(run_on("folder:" + (dir / "images"), dir / "one", with_cache)),
                second = run_tacit(run_on("folder:" + (dir / "images"), dir / "two", with_cache));
  CHECK(first.status == 0);
  CHECK(contains(first.err, "wrote " + (dir / "cache.all")));
  CHECK(contains(first.err, "cache 200/200  "));
  CHECK(contains(first.err, " images/s  left 0:00\n"));
  CHECK_FALSE(contains(second.err, "cache 200/200"));
  CHECK(contains(first.err, "1157.ppm"));
  CHECK(second.status == 0);
  CHECK_FALSE(contains(second.err, "wrote "));
  CHECK(contains(second.err, "1157.ppm"));
  CHECK(losses_of(dir / "one").size() == 20);
  CHECK(losses_of(dir / "one") == losses_of(dir / "two"));
  const Outcome other = run_tacit({"pretrain", "simclr", "--out", dir / "one", "--resume", "--cache", dir / "else"});
  CHECK(other.status == 2);
  CHECK(contains(other.err, "--cache"));
  const Outcome knn = run_tacit(
      {"knn", dir / "one", "--data", "folder:" + (dir / "images"), "--max-damaged", "0.2", "--cache", dir / "cache"});
  CHECK(knn.status == 0);
  CHECK(fs::exists(dir / "cache.test"));
}

TEST_CASE("tar shards train like any data; a policy by an unknown name lists the known ones") {
  const TemporaryDirectory dir;
  for (int shard = 0; shard < 3; ++shard) {
    std::string tar;
    for (int i = 0; i < 20; ++i) {
      const std::string name = std::to_string(shard * 20 + i);
      tar += tar_member(name + ".ppm", ppm(20, i + 1)) + tar_member(name + ".cls", std::to_string(i % 2));
    }
    write_file(dir / "set-" + std::to_string(shard) + ".tar", tar + tar_end());
  }
  const std::string data = dir / "set-{0..2}.tar";
  CHECK(run_tacit(run_on(data, dir / "run", {"--augmentation", "byol"})).status == 0);
  CHECK(losses_of(dir / "run").size() == 6);
  const Outcome unknown = run_tacit(run_on(data, dir / "other", {"--augmentation", "moco"}));
  CHECK(unknown.status == 2);
  CHECK(contains(unknown.err, "moco-v2"));
  const Outcome missing = run_tacit(run_on("tar:" + (dir / "set-{0..3}.tar"), dir / "other"));
  CHECK(missing.status == 1);
  CHECK(contains(missing.err, "set-3.tar does not exist"));
}

TEST_CASE("class numbers without images are no classes: tar shards with labels from 1 on, and a gap") {
  const TemporaryDirectory dir;
  std::string tar;
  for (int i = 0; i < 60; ++i) {
    const std::string name = std::to_string(100 + i), number = std::to_string(std::vector<int>{1, 2, 5}[i % 3]);
    tar += tar_member(name + ".ppm", ppm(16, i % 3 + 1)) + tar_member(name + ".cls", number);
  }
  write_file(dir / "set.tar", tar + tar_end());
  const std::string data = dir / "set.tar";
  CHECK(run_tacit(run_on(data, dir / "run")).status == 0);
  const auto on_run = [&](const std::string& command, std::vector<std::string> more) {
    std::vector<std::string> arguments = {command, dir / "run", "--data", data};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_tacit(arguments);
  };
  const Outcome evaluated = on_run("evaluate", {"--supervised=false", "--labels-per-class", "5,10", "--draws", "1"});
  CHECK(evaluated.status == 0);
  CHECK(contains(evaluated.out, "k-means (k = 3)"));
  const Outcome neighbours = on_run("neighbours", {"--queries", "1", "--out", dir / "n.png"});
  CHECK(neighbours.status == 0);
  CHECK(on_run("neighbours", {"--queries", "6", "--out", dir / "n.png"}).status == 0);
}

TEST_CASE("labels without names, where one image of the data has none: left out by --limit, the rest is used") {
  const TemporaryDirectory dir;
  const std::vector<int64_t> kept = tacit::ssl::some_indices(30, 20, "limit");
  int unlabelled = 0;
  while (std::find(kept.begin(), kept.end(), unlabelled) != kept.end()) ++unlabelled;
  std::string train, test;
  for (int i = 0; i < 40; ++i) {
    const std::string name = std::to_string(100 + i), label = std::to_string(i % 2);
    (i < 30 ? train : test) +=
        tar_member(name + ".ppm", ppm(16, i % 2 + 1)) + (i == unlabelled ? "" : tar_member(name + ".cls", label));
  }
  write_file(dir / "train.tar", train + tar_end());
  write_file(dir / "test.tar", test + tar_end());
  CHECK(run_tacit(run_on(dir / "train.tar", dir / "run", {"--no-labels"})).status == 0);
  const auto on_run = [&](const std::string& command, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {command,       dir / "run",      "--data",  dir / "train.tar",
                                          "--test-data", dir / "test.tar", "--limit", "20"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_tacit(arguments);
  };
  const Outcome table = on_run("evaluate", {"--labels-per-class", "5,100", "--draws", "1", "--supervised=false"});
  CHECK(table.status == 1);  // 100 were asked for
  CHECK(contains(table.err, "--labels-per-class 100: class "));
  CHECK(on_run("finetune", {"--labels-per-class", "5", "--epochs", "1"}).status == 0);
}

TEST_CASE("a --resume that is refused leaves the run as it was") {
  const TemporaryDirectory dir;
  const auto write_shard = [&](int images) {
    std::string tar;
    for (int i = 0; i < images; ++i) tar += tar_member(std::to_string(i) + ".ppm", ppm(16, i + 1));
    write_file(dir / "set.tar", tar + tar_end());
  };
  write_shard(60);
  CHECK(run_tacit(run_on(dir / "set.tar", dir / "run", {"--steps", "2"})).status == 0);
  const std::string config = read_file(dir / "run/config.toml");
  write_shard(80);
  const Outcome refused = run_tacit({"pretrain", "simclr", "--resume", "--out", dir / "run", "--steps", "3"});
  CHECK(refused.status == 1);
  CHECK(contains(refused.err, "a resume needs the same data"));
  CHECK(read_file(dir / "run/config.toml") == config);
}

TEST_CASE("a resume refuses other images, though as many") {
  const TemporaryDirectory dir;
  fs::create_directory(dir / "set");
  for (int i = 0; i < 60; ++i) write_file(dir / "set/a" + std::to_string(i) + ".ppm", ppm(16, i + 1));
  CHECK(run_tacit(run_on(dir / "set", dir / "run", {"--steps", "2"})).status == 0);
  const auto resume = [&](const char* steps) {
    return run_tacit({"pretrain", "simclr", "--resume", "--out", dir / "run", "--steps", steps});
  };
  CHECK(resume("3").status == 0);
  for (int i = 0; i < 20; ++i) {
    fs::remove(dir / "set/a" + std::to_string(i) + ".ppm");
    write_file(dir / "set/b" + std::to_string(i) + ".ppm", ppm(16, i + 1));
  }
  const Outcome refused = resume("4");
  CHECK(refused.status == 2);
  CHECK(contains(refused.err, "holds other images"));
}

TEST_CASE("names with control characters: one line each in files.txt, nothing raw on the terminal") {
  const TemporaryDirectory dir;
  fs::create_directory(dir / "set");
  for (int i = 0; i < 40; ++i)
    write_file(dir / "set/" + std::string(i == 3 ? "a\nb\x1b[31m\u009bü\xff" : "c") + std::to_string(i) + ".ppm",
               ppm(16, i + 1));
  CHECK(run_tacit(run_on(dir / "set", dir / "run", {"--steps", "1"})).status == 0);
  CHECK(run_tacit({"embed", dir / "run", "--data", dir / "set", "--out", dir / "e"}).status == 0);
  const std::string files = read_file(dir / "e/files.txt");
  CHECK(std::count(files.begin(), files.end(), '\n') == 40);
  CHECK(contains(files, "a\\nb\\x1b[31m\\xc2\\x9bü\\xff3.ppm\n"));
  CHECK_FALSE(contains(files, "\x1b"));
  tacit::write_safetensors(dir / "f.safetensors",
                           {{{"w\x1b]0;title", tacit::Tensor::zeros({1})}}, {{"made\x1b[31m", "by \x1b[32m"}}});
  for (const Outcome& outcome : {run_tacit({"info", dir / "f.safetensors"}),
                                 run_tacit(run_on(dir / "set", dir / "i", {"--init", dir / "f.safetensors"}))}) {
    CHECK(contains(outcome.out + outcome.err, "w\\x1b]0;title"));
    CHECK_FALSE(contains(outcome.out + outcome.err, "\x1b"));
  }
}

TEST_CASE("--max-damaged 0 stops at the first damaged file") {
  const TemporaryDirectory dir;
  fs::create_directory(dir / "set");
  for (int i = 0; i < 8; ++i)
    write_file(dir / "set/" + std::to_string(i) + ".ppm", ppm(16, i + 1).substr(0, i == 3 ? 20 : 10'000));
  CHECK(run_tacit({"augment", "simclr", "--data", dir / "set", "--out", dir / "v.png", "--max-damaged", "0"}).status ==
        1);
}

TEST_CASE("gzip files that end before their checksum, and labels that leave classes empty") {
  const TemporaryDirectory dir;
  const std::string images = gzipped(idx_images(40, 8));
  std::string labels = idx_labels(40);
  for (size_t i = 0; i < 40; ++i) labels[8 + i] = static_cast<char>(i == 7 ? 9 : i % 2);
  for (const char* split : {"train", "t10k"}) {
    write_file(dir / split + "-images-idx3-ubyte.gz", images);
    write_file(dir / split + "-labels-idx1-ubyte", labels);
  }
  const auto augment = [&] {
    return run_tacit({"augment", "simclr", "--data", "idx:" + (dir / "."), "--out", dir / "v.png"});
  };
  const Outcome gaps = augment();
  CHECK(gaps.status == 0);
  CHECK(contains(gaps.err, "labels up to 9, but no image of 7 classes below, such as 2"));
  for (const size_t cut : {1, 4, 8, 9}) {
    write_file(dir / "train-images-idx3-ubyte.gz", images.substr(0, images.size() - cut));
    const Outcome outcome = augment();
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.err, "train-images-idx3-ubyte.gz: unexpected end of file"));
  }
}

TEST_CASE("a PNG whose checksum is wrong is a damaged file; several files follow one --query") {
  const TemporaryDirectory dir;
  fs::create_directory(dir / "set");
  for (int i = 0; i < 40; ++i) write_file(dir / "set/" + std::to_string(i) + ".ppm", ppm(16, i + 1));
  CHECK(run_tacit(run_on(dir / "set", dir / "run")).status == 0);
  std::string png = read_file(dir / "run/images/views.png");
  png[png.find("IDAT") + 40] ^= 1;
  fs::create_directory(dir / "one");
  write_file(dir / "one/bad.png", png);
  const Outcome bad = run_tacit(
      {"augment", "simclr", "--data", dir / "one", "--split", "all", "--max-damaged", "0", "--out", dir / "v.png"});
  CHECK(bad.status == 1);
  CAPTURE(bad.err);
  CHECK(contains(bad.err, "does not agree with its checksum"));
  CHECK(run_tacit({"neighbours", dir / "run", "--data", dir / "set", "--query", dir / "set/1.ppm", dir / "set/2.ppm",
                   "--out", dir / "n.png"})
            .status == 0);
  // All images are searched, not those alone that a test split leaves, but not the query itself. Damaged ones are not.
  write_file(dir / "set/copy.ppm", read_file(dir / "set/0.ppm"));
  write_file(dir / "set/bad.ppm", "P6\n16 16\n255\n");
  const Outcome all = run_tacit({"neighbours", dir / "run", "--data", dir / "set", "--query", dir / "set", "--k", "40",
                                 "--max-damaged", "0.1", "--out", dir / "n.png", "--json", "-"});
  CHECK(all.status == 0);
  const nlohmann::json answers = nlohmann::json::parse(all.out)["queries"];
  CHECK(answers.size() == 41);
  for (const auto& answer : answers) {
    CHECK(answer["neighbours"].size() == 40);
    for (const auto& neighbour : answer["neighbours"]) CHECK(neighbour["file"] != answer["query"]);
    if (answer["query"] == dir / "set/0.ppm") CHECK(answer["neighbours"][0]["file"] == dir / "set/copy.ppm");
  }
  CHECK(contains(run_tacit({"neighbours", dir / "run", "--data", dir / "set", "--query", dir / "set/1.ppm", "--out",
                            dir / "n.jpg"})
                     .err,
                 "what is written is a PNG"));
  const Outcome part = run_tacit({"neighbours", dir / "run", "--data", dir / "set", "--query", dir / "set", "--k", "39",
                                  "--split", "train", "--out", dir / "n.png"});
  CHECK(part.status == 1);
  CHECK(contains(part.err, "--k 39"));
}
