// MAE on the command line: mistakes named by flag and value, pictures, the decoder in the checkpoint.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "cli.h"

using namespace tacit::testing;
namespace fs = std::filesystem;

namespace {

Arguments mae(const std::string& out, const Arguments& more = {}) {
  return with({"pretrain", "mae", "--data", "synthetic:200", "--out", out, "--quiet"}, more);
}

/// One small run for all tests that only read it.
const std::string& mae_run() {
  static const TemporaryDirectory dir;
  static const std::string path = [] {
    const std::string run = dir / "run";
    check_ok(run_tacit(mae(run, {"--image-size", "16", "--encoder-width", "32", "--decoder-dim", "16", "--batch-size",
                                 "32", "--steps", "4"})));
    return run;
  }();
  return path;
}

}  // namespace

TEST_CASE("mae: what flags alone show to be wrong is exit 2, before any work") {
  const TemporaryDirectory dir;
  const std::string out = dir / "run";
  check_error(run_tacit(mae(out, {"--encoder", "small_cnn"})), 2, "--encoder small_cnn: mae needs a ViT");
  check_error(run_tacit(mae(out, {"--patch-size", "5", "--image-size", "32"})), 2,
              "--patch-size 5 does not divide --image-size 32");
  check_error(run_tacit(mae(out, {"--image-size", "100"})), 2, "--patch-size 16 does not divide --image-size 100");
  for (const char* ratio : {"0", "1", "-0.5", "1.5"})
    check_error(run_tacit(mae(out, {"--mask-ratio", ratio})), 2, "--mask-ratio");
  check_error(run_tacit(mae(out, {"--mask-ratio", "0.95", "--image-size", "16", "--patch-size", "4"})), 2,
              "--mask-ratio 0.95 leaves 0 of 16 patches visible");
  check_error(run_tacit(mae(out, {"--mask-ratio", "0.01", "--image-size", "16", "--patch-size", "16"})), 2,
              "of 1 patches");
  check_error(run_tacit(mae(out, {"--decoder-dim", "60", "--decoder-heads", "8"})), 2, "--decoder-heads 8");
  check_error(run_tacit(mae(out, {"--decoder-dim", "62", "--decoder-heads", "2"})), 2, "--decoder-dim 62");
  check_error(run_tacit(mae(out, {"--decoder-depth", "0"})), 2, "--decoder-depth");
  check_error(run_tacit(mae(out, {"--pool", "mean"})), 2, "--pool mean");
  check_error(run_tacit(mae(out, {"--image-size", "16", "--patch-size", "1", "--channels", "1"})), 2, "--norm-pixels");
  check_error(run_tacit(mae(out, {"--augmentation", "simclr"})), 2, "2 views");
  check_error(run_tacit(with({"pretrain", "simclr", "--data", "synthetic", "--out", out}, {"--mask-ratio", "0.5"})), 2,
              "--mask-ratio is of mae");
  CHECK_FALSE(fs::exists(out));
}

TEST_CASE("mae: what only the data's size shows to be wrong is exit 1, and leaves no run") {
  const TemporaryDirectory dir;
  check_error(run_tacit(mae(dir / "run", {"--patch-size", "5"})), 1, "--patch-size 5 does not divide --image-size 32");
  check_error(run_tacit(mae(dir / "run", {"--mask-ratio", "0.99"})), 1, "leaves 0 of 16 patches visible");
  CHECK_FALSE(fs::exists(dir / "run"));
  // 7 divides no default size, but it does divide these images.
  fs::create_directory(dir / "gray");
  for (int i = 0; i < 20; ++i)
    write_file(dir / "gray/" + std::to_string(i) + ".pgm",
               "P5\n28 28\n255\n" + std::string(28 * 28, static_cast<char>(i)));
  const Arguments small = {"pretrain", "mae", "--data", "folder:" + (dir / "gray"), "--batch-size", "4", "--quiet"};
  check_ok(run_tacit(with(small, {"--out", dir / "run", "--steps", "1", "--patch-size", "7"})));
  // A recipe's own patch gives way to the default where it does not divide.
  CHECK(contains(run_tacit(with(small, {"--print-config"})).out, "patch-size = 0\n"));
  CHECK(contains(run_tacit(with(small, {"--image-size", "48", "--print-config"})).out, "patch-size = 8\n"));
  check_ok(run_tacit(with(small, {"--out", dir / "own", "--steps", "1"})));
}

TEST_CASE("mae: plain views, targets that are not normalised, the class token as feature") {
  const TemporaryDirectory dir;
  check_ok(run_tacit(mae(dir / "run", {"--augmentation", "none", "--norm-pixels=false", "--pool", "cls", "--image-size",
                                       "16", "--encoder-width", "32", "--batch-size", "32", "--steps", "2"})));
  CHECK(contains(read_file(dir / "run/metrics.jsonl"), "\"chance_loss\":1.0"));
}

TEST_CASE("mae: features of the encoder and of its blocks; there is no projection") {
  for (const char* feature : {"encoder", "block2"})
    check_ok(run_tacit({"knn", mae_run(), "--data", "synthetic:200", "--quiet", "--k", "5", "--feature", feature}));
  check_error(
      run_tacit({"knn", mae_run(), "--data", "synthetic:200", "--quiet", "--k", "5", "--feature", "projection"}), 2,
      "no projection head");
}

TEST_CASE("evaluate: MAE is judged by fine-tuning beside training from scratch, unless it is told not to be") {
  const auto methods = [](const std::string& run, const Arguments& more) {
    const Outcome outcome = run_tacit(with({"evaluate", run, "--data", "synthetic:60", "--labels-per-class", "2",
                                            "--draws", "1", "--min-steps", "2", "--json", "-", "--quiet"},
                                           more));
    check_ok(outcome);
    std::set<std::string> found;
    const nlohmann::json table = nlohmann::json::parse(outcome.out);
    for (const nlohmann::json& row : table["label_efficiency"]) found.insert(static_cast<std::string>(row["method"]));
    return found;
  };
  using Set = std::set<std::string>;
  CHECK(methods(mae_run(), {}) == Set{"pixels", "random", "supervised", "finetuned", "run"});
  const Outcome printed = run_tacit({"evaluate", mae_run(), "--data", "synthetic:200", "--print-config"});
  check_ok(printed);
  CHECK_FALSE(contains(printed.out, "with-finetuning"));  // or it would be a "false" that somebody said
  CHECK(methods(mae_run(), {"--with-finetuning=false"}) == Set{"pixels", "random", "supervised", "run"});
  CHECK(methods(shared_run(), {}) == Set{"pixels", "random", "supervised", "run"});
  CHECK(contains(run_tacit({"evaluate", "--help"}).out, "true for mae"));
}

TEST_CASE("reconstruct: a row an image, from the decoder in the checkpoint; the seed chooses the masks") {
  const TemporaryDirectory dir;
  const auto reconstruct = [&](const std::string& run, const std::string& png, const Arguments& more = {}) {
    return run_tacit(
        with({"reconstruct", run, "--data", "synthetic:200", "--images", "5", "--out", png, "--quiet"}, more));
  };
  const Outcome outcome = reconstruct(mae_run(), dir / "a.png", {"--json", "-"});
  check_ok(outcome);
  const auto figures = nlohmann::json::parse(outcome.out);
  CHECK(figures["images"] == 5);
  CHECK(figures["columns"] == nlohmann::json({"image", "masked", "reconstruction"}));
  const std::string png = read_file(dir / "a.png");
  CHECK(png.substr(1, 3) == "PNG");
  // Five rows of three tiles of 16 pixels, enlarged four times, with gaps of 2: the header has width and height.
  CHECK(png.substr(16, 8) == std::string("\0\0\0\xC8\0\0\x01\x4C", 8));
  check_ok(reconstruct(mae_run() + "/checkpoints/last.safetensors", dir / "b.png"));
  CHECK(read_file(dir / "b.png") == png);
  check_ok(reconstruct(mae_run(), dir / "c.png", {"--seed", "1"}));
  CHECK(read_file(dir / "c.png") != png);
  check_error(reconstruct(shared_run(), dir / "d.png"), 2, "simclr, which predicts no pixels");
  check_error(reconstruct(mae_run(), dir / "d.png", {"--images", "3"}), 2, "given 2 times");
  check_error(run_tacit({"reconstruct", mae_run(), "--data", "synthetic:200"}), 2, "--out");
  check_error(run_tacit({"reconstruct", mae_run(), "--data", "synthetic:200", "--out", dir / "d.png", "--images", "0"}),
              2, "--images");
  check_error(run_tacit({"reconstruct", mae_run(), "--data", "synthetic:200", "--out", "/proc/no/d.png"}), 1, "--out");
}
