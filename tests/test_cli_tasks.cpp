// The older pretext tasks on the command line: short runs, resumed to the same bits, probed at every block; mistakes.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli.h"

using namespace tacit::testing;
namespace fs = std::filesystem;

namespace {

/// 64 pictures of 16 x 16 pixels with noise, lit from above and in the middle: they have an up and a left and right
/// half.
std::string lit_pictures() {
  static const TemporaryDirectory dir;
  static const bool written = [] {
    uint32_t noise = 1;
    for (int i = 0; i < 64; ++i) {
      std::string pixels;
      for (int p = 0; p < 16 * 16; ++p)
        for (int c = 0; c < 3; ++c) {
          noise = noise * 1664525 + 1013904223;
          const int y = p / 16, x = p % 16;
          pixels.push_back(static_cast<char>(180 - 6 * y - (x - 7) * (x - 7) + static_cast<int>(noise >> 26)));
        }
      write_file(dir / (std::to_string(i) + ".ppm"), "P6\n16 16\n255\n" + pixels);
    }
    return true;
  }();
  (void)written;
  return "folder:" + (dir / ".");
}

Arguments task(const std::string& method, const std::string& out, const Arguments& more = {}) {
  return with({"pretrain", method, "--data", lit_pictures(), "--image-size", "16", "--encoder-width", "8",
               "--batch-size", "16", "--epochs", "20", "--out", out, "--quiet"},
              more);
}
std::string checkpoint(const std::string& run) { return read_file(run + "/checkpoints/last.safetensors"); }

/// The last line of metrics.jsonl.
nlohmann::json last_figures(const std::string& run) {
  const std::string text = read_file(run + "/metrics.jsonl");
  return nlohmann::json::parse(text.substr(text.rfind('\n', text.size() - 2) + 1));
}

}  // namespace

TEST_CASE("rotation and jigsaw: learn within seconds, log chance, resume to the same bits on another thread count") {
  for (const std::string method : {"rotation", "jigsaw"}) {
    CAPTURE(method);
    const TemporaryDirectory dir;
    check_ok(run_tacit(task(method, dir / "whole", {"--threads", "1"})));
    const nlohmann::json figures = last_figures(dir / "whole");
    CHECK(static_cast<double>(figures["chance_top1"]) == doctest::Approx(method == "rotation" ? 1 / 4.0 : 1 / 24.0));
    CHECK(static_cast<double>(figures["loss"]) < 0.8 * static_cast<double>(figures["chance_loss"]));
    CHECK(static_cast<double>(figures["pretext_top1"]) > 2 * static_cast<double>(figures["chance_top1"]));
    CHECK(static_cast<double>(figures["feature_std"]) > 0.1);
    check_ok(run_tacit(task(method, dir / "parts", {"--threads", "2", "--steps", "17"})));
    CHECK(checkpoint(dir / "parts") != checkpoint(dir / "whole"));
    check_ok(run_tacit({"pretrain", method, "--out", dir / "parts", "--resume", "--quiet", "--steps", "1000"}));
    CHECK(checkpoint(dir / "parts") == checkpoint(dir / "whole"));
    check_ok(run_tacit({"knn", dir / "parts", "--data", "synthetic:100", "--k", "5", "--feature", "projection"}));
  }
}

TEST_CASE("one view a method: other policies are refused, `none` always fits") {
  const TemporaryDirectory dir;
  check_error(run_tacit(task("rotation", dir / "run", {"--augmentation", "simclr"})), 2, "--augmentation simclr");
  CHECK_FALSE(fs::exists(dir / "run"));
  check_ok(run_tacit(task("rotation", dir / "run", {"--augmentation", "none", "--steps", "2"})));
}

TEST_CASE("linear probes of a block and of all blocks") {
  const auto probe = [](const Arguments& more) {
    const Outcome outcome = run_tacit(on_run("linear", with({"--epochs", "3", "--json", "-"}, more)));
    check_ok(outcome);
    return nlohmann::json::parse(outcome.out);
  };
  const nlohmann::json all = probe({"--feature", "all"}), encoder = probe({}), second = probe({"--feature", "block2"});
  REQUIRE(all["features"].size() == 4);
  CHECK(all["features"]["block2"] == second);
  CHECK(all["features"]["block4"] == encoder);
  CHECK(all["top1"] == encoder["top1"]);
  CHECK(second["sweep"] != encoder["sweep"]);
  const Outcome lines = run_tacit(on_run("linear", {"--epochs", "1", "--feature", "all"}));
  check_ok(lines);
  for (const char* part : {"block1: ", "block2: ", "block3: ", "block4: "}) CHECK(contains(lines.out, part));
  check_error(run_tacit(on_run("linear", {"--feature", "block9"})), 2, "block4");
  check_error(run_tacit(on_run("knn", {"--feature", "all"})), 2, "block4");
  const TemporaryDirectory dir;
  check_ok(run_tacit(on_run("embed", {"--out", dir / "all"})));
  check_ok(run_tacit(on_run("embed", {"--out", dir / "second", "--feature", "block2"})));
  // 16 channels of block 2 against 64 features.
  CHECK(read_file(dir / "second/features.npy").size() < read_file(dir / "all/features.npy").size() / 3);
}

TEST_CASE("rotation with both of its trunks, network in network and ResNet, is probed at every block") {
  const TemporaryDirectory dir;
  for (const std::string encoder : {"nin", "resnet18"}) {
    CAPTURE(encoder);
    const std::string stage = encoder == "nin" ? "block" : "layer";
    const std::string run = dir / encoder;
    check_ok(run_tacit(task("rotation", run, {"--encoder", encoder, "--steps", "2"})));
    const Outcome probe = run_tacit(
        {"linear", run, "--data", "synthetic:60", "--epochs", "2", "--feature", "all", "--json", "-", "--quiet"});
    check_ok(probe);
    const nlohmann::json figures = nlohmann::json::parse(probe.out);
    REQUIRE(figures["features"].size() == 4);
    for (int i = 1; i <= 4; ++i) CHECK(figures["features"].contains(stage + std::to_string(i)));
  }
}

TEST_CASE("MoCo's queue and checkpoints of another method: refused by flag and values") {
  const TemporaryDirectory dir;
  check_error(run_tacit({"pretrain", "moco", "--data", "synthetic:500", "--queue-size", "1000", "--batch-size", "256",
                         "--out", dir / "run"}),
              2, "--queue-size 1000 must be a multiple of the 256 keys a step makes (--batch-size 256)");
  check_error(run_tacit({"pretrain", "moco", "--data", "synthetic:500", "--queue-size", "384", "--batch-size", "128",
                         "--symmetric", "--out", dir / "run"}),
              2, "256 keys a step makes (--batch-size 128, --symmetric)");
  check_error(run_tacit({"pretrain", "moco", "--data", "synthetic:500", "--stop-grad-conv1", "--variant", "v3",
                         "--encoder", "resnet18", "--out", dir / "run"}),
              2, "--encoder resnet18 has none");
  check_error(run_tacit({"pretrain", "moco", "--data", "synthetic:500", "--recipe", "stl10", "--out", dir / "run"}), 1,
              "no unlabeled split");
  CHECK_FALSE(fs::exists(dir / "run"));
  const std::string before = checkpoint(shared_run());
  check_error(run_tacit({"pretrain", "moco", "--out", shared_run(), "--resume"}), 2, "--method from");
  CHECK(checkpoint(shared_run()) == before);
  // The directory says SimCLR, the file in it is rotation's.
  check_ok(run_tacit(task("rotation", dir / "turned", {"--steps", "1"})));
  fs::copy(shared_run(), dir / "mixed", fs::copy_options::recursive);
  fs::copy_file(dir / "turned/checkpoints/last.safetensors", dir / "mixed/checkpoints/last.safetensors",
                fs::copy_options::overwrite_existing);
  check_error(run_tacit({"pretrain", "simclr", "--out", dir / "mixed", "--resume"}), 2, "rotation");
  // Weights of another method's encoder are welcome, of another encoder not.
  const Arguments start = {"pretrain",        "byol", "--data",       "synthetic:60", "--image-size", "16",
                           "--encoder-width", "8",    "--batch-size", "16",           "--steps",      "1",
                           "--quiet"};
  check_ok(run_tacit(with(start, {"--init", dir / "turned/checkpoints/last.safetensors", "--out", dir / "byol"})));
  check_error(run_tacit(with(start, {"--encoder", "resnet18", "--init", dir / "turned/checkpoints/last.safetensors",
                                     "--out", dir / "other"})),
              1, "--init");
  CHECK_FALSE(fs::exists(dir / "other"));
}

TEST_CASE("jigsaw: puzzles that cannot be laid are refused before any work, by flag and value") {
  const TemporaryDirectory dir;
  const std::string out = dir / "run";
  const auto refused = [&](const Arguments& more, const char* part) {
    check_error(run_tacit(task("jigsaw", out, more)), 2, part);
  };
  refused({"--grid", "3"}, "--image-size 16");
  refused({"--grid", "3"}, "patches of 4");
  refused({"--grid", "4"}, "--grid");
  refused({"--gap", "7"}, "--gap 7");
  refused({"--gap", "-1"}, "--gap");
  refused({"--permutations", "25"}, "--permutations 25 of --grid 2");
  refused({"--permutations", "1"}, "--permutations 1");
  refused({"--grid", "3", "--gap", "0", "--permutations", "20000"}, "10000");
  refused({"--patch-features", "0"}, "--patch-features");
  refused({"--encoder", "vit_tiny"}, "vit_tiny");
  check_error(run_tacit(task("rotation", out, {"--grid", "2"})), 2, "--grid");
  CHECK_FALSE(fs::exists(out));
  // The data's own 32 pixels, where none are said: known only once it is opened.
  check_error(run_tacit({"pretrain", "jigsaw", "--data", "synthetic:50", "--grid", "3", "--gap", "5", "--batch-size",
                         "8", "--out", out}),
              1, "--image-size 32");
  CHECK_FALSE(fs::exists(out));
}

TEST_CASE("jigsaw: images that are smaller than the grid hold no puzzle") {
  const TemporaryDirectory dir;
  fs::create_directory(dir / "set");
  for (int i = 0; i < 30; ++i)
    write_file(dir / "set/" + std::to_string(i) + ".ppm", "P6 2 2 255\n" + std::string(12, char(i * 8)));
  check_error(run_tacit({"pretrain", "jigsaw", "--data", dir / "set", "--image-size", "48", "--grid", "3",
                         "--batch-size", "8", "--out", dir / "run"}),
              1, "has 2 x 2 pixels, which --grid 3 cannot cut");
  CHECK_FALSE(fs::exists(dir / "run"));
}

TEST_CASE("colorization: learns within seconds, is evaluated by lightness, and shows what it predicts") {
  const TemporaryDirectory dir;
  const std::string run = dir / "run";
  const auto pretrain = [&](const Arguments& more) {
    return run_tacit(with(
        {"pretrain", "colorization", "--data", "synthetic:100", "--image-size", "16", "--encoder-width", "8",
         "--color-width", "16", "--batch-size", "16", "--epochs", "15", "--eval-every", "15", "--out", run, "--quiet"},
        more));
  };
  check_error(pretrain({"--channels", "1"}), 2, "--channels 1");
  check_error(pretrain({"--encoder", "vit_tiny"}), 2, "--encoder vit_tiny");
  check_error(pretrain({"--recipe", "fashion-mnist-demo"}), 2, "small-images, folder");
  check_error(pretrain({"--color-loss", "l1"}), 2, "regression");
  check_error(pretrain({"--color-stride", "0"}), 2, "--color-stride");
  const TemporaryDirectory grays;
  for (int i = 0; i < 20; ++i)
    write_file(grays / (std::to_string(i) + ".pgm"), "P5\n16 16\n255\n" + std::string(256, static_cast<char>(60 + i)));
  check_error(
      run_tacit({"pretrain", "colorization", "--data", "folder:" + (grays / "."), "--batch-size", "16", "--out", run}),
      1, "gray data");
  CHECK_FALSE(fs::exists(run));

  check_ok(pretrain({}));
  const nlohmann::json figures = last_figures(run);
  CHECK(static_cast<double>(figures["loss"]) < 0.9 * static_cast<double>(figures["chance_loss"]));
  CHECK(static_cast<double>(figures["pretext_top1"]) > 10 * static_cast<double>(figures["chance_top1"]));
  CHECK(figures.contains("knn_top1"));
  const Arguments data = {"--data", "synthetic:100", "--quiet"};
  for (const Arguments& command :
       {Arguments{"knn", run, "--k", "5"}, Arguments{"linear", run, "--epochs", "2"},
        Arguments{"embed", run, "--out", dir / "features"},
        Arguments{"neighbours", run, "--queries", "2", "--out", dir / "neighbours.png"},
        Arguments{"finetune", run, "--epochs", "1", "--min-steps", "3"},
        Arguments{"evaluate", run, "--labels-per-class", "2", "--draws", "1", "--min-steps", "3", "--with-finetuning"},
        Arguments{"reconstruct", run, "--images", "4", "--out", dir / "colours.png"}}) {
    CAPTURE(command[0]);
    check_ok(run_tacit(with(command, data)));
  }
  CHECK(read_file(dir / "colours.png").substr(1, 3) == "PNG");
  check_error(run_tacit(with({"knn", run, "--k", "5", "--feature", "projection"}, data)), 2, "map");
}
