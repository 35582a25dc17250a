// Warnings that save a day, each on stderr once, also with --quiet, and none in a plain run.
#include <algorithm>
#include <filesystem>

#include "cli.h"
#include "images.h"

using namespace tacit::testing;
namespace fs = std::filesystem;

namespace {

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++n;
  return n;
}

/// stderr without the warning of this machine's OpenBLAS.
std::string warnings_of(const Outcome& outcome) {
  std::istringstream lines(outcome.err);
  std::string rest;
  for (std::string line; std::getline(lines, line);)
    if (!contains(line, "OpenBLAS")) rest += line + "\n";
  return rest;
}

Arguments pretrain(const std::string& method, const std::string& out, const Arguments& more,
                   const std::string& batch = "16", const std::string& size = "16") {
  return with({"pretrain", method, "--data", "synthetic:200", "--image-size", size, "--encoder", "small_cnn",
               "--encoder-width", "8", "--batch-size", batch, "--quiet", "--out", out},
              more);
}

}  // namespace

TEST_CASE("a plain run, its evaluation while it goes on, and kNN on it warn of nothing") {
  const TemporaryDirectory dir;
  const Outcome plain =
      run_tacit(pretrain("simclr", dir / "run", {"--projector", "16,8", "--epochs", "2", "--eval-every", "1"}));
  check_ok(plain);
  CHECK(warnings_of(plain).empty());
  const Outcome knn = run_tacit({"knn", dir / "run", "--data", "synthetic:200", "--quiet"});
  check_ok(knn);
  CHECK(warnings_of(knn).empty());
}

TEST_CASE("equal views: one line, at the first batch") {
  const TemporaryDirectory dir;
  const Outcome outcome =
      run_tacit(pretrain("simclr", dir / "run", {"--projector", "16,8", "--epochs", "1", "--augmentation", "none"}));
  check_ok(outcome);
  CHECK(count(outcome.err, "warning: both views of every image") == 1);
}

TEST_CASE("batch norm over few images: a small batch, and groups of a larger one") {
  const TemporaryDirectory dir;
  const Outcome small = run_tacit(pretrain("rotation", dir / "small", {"--steps", "1"}, "4"));
  check_ok(small);
  CHECK(count(small.err, "warning: batch norm makes its statistics of 4 images at a time") == 1);
  const Outcome groups = run_tacit(pretrain(
      "moco", dir / "groups", {"--projector", "16,8", "--queue-size", "32", "--bn-splits", "8", "--steps", "1"}));
  check_ok(groups);
  CHECK(contains(groups.err, "2 images at a time"));
  CHECK(contains(groups.err, "Remedy: --bn-splits 2 or fewer"));
}

TEST_CASE("a learning rate far too large: collapse and a loss at chance, each once, on lines of their own") {
  const TemporaryDirectory dir;
  Arguments arguments = pretrain("rotation", dir / "run", {"--epochs", "32", "--lr", "1"}, "16", "8");
  arguments.erase(std::find(arguments.begin(), arguments.end(), "--quiet"));
  RunOptions options;
  options.columns = 100;
  const Outcome outcome = run_tacit(arguments, options);
  check_ok(outcome);
  CHECK(count(outcome.err, "\nwarning: collapse: all images have nearly one feature") == 1);
  CHECK(count(outcome.err, "the loss is still at its chance level") == 1);
}

TEST_CASE("test images among the training images: every command that uses both says so, and --eval-every") {
  const TemporaryDirectory dir;
  for (int i = 0; i < 30; ++i)
    for (const char* split : {"train", "test"}) {
      const std::string folder = dir / "data/" + split + "/" + (i % 2 == 0 ? "even" : "odd");
      fs::create_directories(folder);
      const bool copied = i < 3;  // the first three are in both
      write_file(folder + "/" + std::to_string(i) + ".ppm", ppm(16, copied || split[1] == 'r' ? 2 * i + 1 : 2 * i + 2));
    }
  const std::string data = "folder:" + (dir / "data"), warning = "warning: 3 of 30 test images are among the training";
  for (const Arguments& command : {Arguments{"knn"},
                                   {"linear", "--epochs", "1"},
                                   {"finetune", "--min-steps", "2", "--epochs", "1"},
                                   {"evaluate", "--labels-per-class", "2", "--draws", "1", "--supervised=false"}}) {
    CAPTURE(command[0]);
    const Outcome outcome = run_tacit(with(command, {shared_run(), "--data", data, "--quiet"}));
    check_ok(outcome);
    CHECK(count(outcome.err, warning) == 1);
  }
  const Outcome run =
      run_tacit({"pretrain", "simclr", "--data", data, "--image-size", "16", "--encoder-width", "8", "--projector",
                 "16,8", "--batch-size", "10", "--epochs", "1", "--eval-every", "1", "--quiet", "--out", dir / "run"});
  check_ok(run);
  CHECK(count(run.err, warning) == 1);
}
