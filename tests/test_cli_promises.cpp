// What the command says holds: limits, figures that agree with each other, advice that can be followed.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli.h"

using namespace tacit::testing;
namespace fs = std::filesystem;

TEST_CASE("embed --limit: the first N of any split but test, which stays whole and says so") {
  const TemporaryDirectory dir;
  for (const char* split : {"all", "train"}) {
    const Outcome some = run_tacit(on_run("embed", {"--limit", "30", "--split", split, "--out", dir / split}));
    check_ok(some);
    CHECK(contains(some.out, ": 30 images, "));
  }
  const Outcome whole = run_tacit(
      {"embed", shared_run(), "--data", "synthetic:200", "--limit", "30", "--split", "test", "--out", dir / "test"});
  check_ok(whole);
  CHECK(contains(whole.out, ": 40 images, "));
  CHECK(contains(whole.err, "--limit"));
}

TEST_CASE("pretrain's loss: the same in the last line of progress, in the result and in --json") {
  const TemporaryDirectory dir;
  Arguments arguments = small_run(dir / "run", {"--steps", "20", "--json", dir / "figures.json"});  // 12 an epoch
  arguments.erase(std::find(arguments.begin(), arguments.end(), "--quiet"));
  const Outcome outcome = run_tacit(arguments);
  check_ok(outcome);
  const auto figures = nlohmann::json::parse(read_file(dir / "figures.json"));
  double sum = 0;
  std::istringstream lines(read_file(dir / "run/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto step = nlohmann::json::parse(line);
    if (step["step"] > 12) sum += step["loss"].get<double>();
  }
  CHECK(figures["step"] == 20);
  CHECK(figures["loss_steps"] == 8);
  CHECK(figures["loss"].get<double>() == doctest::Approx(sum / 8));
  char shown[40];
  std::snprintf(shown, sizeof shown, "loss %.4f", sum / 8);
  CHECK(contains(outcome.out, std::string(shown) + " (the mean of the last 8 steps)"));
  const size_t last = outcome.err.rfind("step 20/20");
  REQUIRE(last != std::string::npos);
  CHECK(contains(outcome.err.substr(last), shown));
}

TEST_CASE("pretrain ends with the command that comes next, which works; nothing when --quiet") {
  const TemporaryDirectory dir;
  const std::string run = dir / "a run";
  Arguments arguments = small_run(run, {"--stop-after-epochs", "1"});
  arguments.erase(std::find(arguments.begin(), arguments.end(), "--quiet"));
  CHECK(contains(run_tacit(arguments).err, "\ngo on with: tacit pretrain simclr --out '" + run + "' --resume\n"));
  const Outcome rest = run_tacit({"pretrain", "simclr", "--out", run, "--resume", "--stop-after-epochs", "5"});
  check_ok(rest);
  CHECK(contains(rest.err, "\nnext: tacit evaluate '" + run + "' --data synthetic:200; tacit report '" + run + "'\n"));
  CHECK_FALSE(contains(run_tacit(small_run(dir / "quiet", {"--steps", "1"})).err, "next: "));
}

TEST_CASE("pretrain says what will learn how; a line of progress an epoch where stderr is no terminal; --log-every") {
  const TemporaryDirectory dir;
  const Arguments moco = {"pretrain",        "moco",      "--data",         "synthetic:100",
                          "--image-size",    "16",        "--batch-size",   "16",
                          "--encoder-width", "4",         "--queue-size",   "64",
                          "--bn-splits",     "4",         "--epochs",       "2",
                          "--log-every",     "3",         "--device",       "cpu",
                          "--out",           dir / "run", "--memory-limit", "4G"};
  const Outcome outcome = run_tacit(moco);
  check_ok(outcome);
  CHECK(contains(outcome.err, "batch norm  over 4 groups of 4 images"));
  CHECK(contains(outcome.err, "no_decay: "));
  const std::string before = "\n" + outcome.err.substr(0, outcome.err.find("\nepoch "));
  for (const char* part :
       {"\ndata  ", " 32 x 32, seen at 16 x 16 x 3, mean ", "\nencoder  ", " an image", "\nrecipe  ", "\noptimiser  ",
        "\nparameters  decay: ", "\nmemory      about ", "; the limit is 4.0 GiB (--memory-limit)", "\nchance  "})
    CHECK(contains(before, part));
  CHECK(std::count(before.begin(), before.end(), '\n') <= 12);  // eight of the run; notes and warnings
  size_t lines = 0;
  for (size_t at = 0; (at = outcome.err.find("\nepoch ", at)) != std::string::npos; ++at) ++lines;
  CHECK(lines == 2);
  const std::string metrics = read_file(dir / "run/metrics.jsonl");
  CHECK(std::count(metrics.begin(), metrics.end(), '\n') == 3);  // steps 3, 6, 9 of 10
}

TEST_CASE("an OpenBLAS that chose a core without AVX is warned of, once, and training goes on") {
  const TemporaryDirectory dir;
  setenv("OPENBLAS_CORETYPE", "Prescott", 1);
  const Outcome info = run_tacit({"info"}), outcome = run_tacit(small_run(dir / "run", {"--steps", "1"}));
  unsetenv("OPENBLAS_CORETYPE");
  check_ok(outcome);
  size_t warnings = 0;
  for (size_t at = 0; (at = outcome.err.find("OPENBLAS_CORETYPE=", at)) != std::string::npos; ++at) ++warnings;
  const bool has_avx = contains(info.out, "x86-64-v3") || contains(info.out, "x86-64-v4");
  if (contains(info.out, "blas_core: Prescott"))
    CHECK(warnings == (has_avx ? 1 : 0));
  else
    std::printf("skipped: the warning of a wrong core: this OpenBLAS is built for one\n");
}

TEST_CASE("the reference backend trains to the cpu's figures; embed marks unlabelled images by -1") {
  const TemporaryDirectory dir;
  const auto loss = [&](const std::string& device) {
    const Outcome outcome = run_tacit({"pretrain",
                                       "simclr",
                                       "--data",
                                       "synthetic:20",
                                       "--split",
                                       "all",
                                       "--image-size",
                                       "8",
                                       "--encoder-width",
                                       "2",
                                       "--projector",
                                       "4,2",
                                       "--batch-size",
                                       "4",
                                       "--steps",
                                       "1",
                                       "--quiet",
                                       "--device",
                                       device,
                                       "--out",
                                       dir / device,
                                       "--json",
                                       dir / "figures.json"});
    check_ok(outcome);
    return nlohmann::json::parse(read_file(dir / "figures.json"))["loss"].get<double>();
  };
  CHECK(loss("reference") == doctest::Approx(loss("cpu")).epsilon(1e-4));
  check_ok(run_tacit({"embed", dir / "cpu", "--data", "synthetic:20", "--no-labels", "--out", dir / "features"}));
  const std::string labels = read_file(dir / "features/labels.npy");
  CHECK(labels.substr(labels.size() - 8) == std::string(8, '\xff'));
}

TEST_CASE("a folder with fewer images than the recipe's batch: trains, says how, and resumes to the same bits") {
  const TemporaryDirectory dir;
  fs::create_directories(dir / "photos");
  for (int i = 0; i < 30; ++i) {
    std::string pixels;
    for (int p = 0; p < 20 * 20 * 3; ++p) pixels.push_back(static_cast<char>((p * (i + 3)) % 251));
    write_file(dir / "photos/" + std::to_string(i) + ".ppm", "P6\n20 20\n255\n" + pixels);
  }
  for (const std::string method : {"simclr", "moco"}) {
    CAPTURE(method);
    const std::string whole = dir / (method + "-whole"), parts = dir / (method + "-parts");
    const auto pretrain = [&](const std::string& out, const Arguments& more) {
      return run_tacit(with({"pretrain", method, "--data", "folder:" + (dir / "photos"), "--image-size", "16",
                             "--encoder-width", "4", "--epochs", "4", "--out", out},
                            more));
    };
    const Outcome outcome = pretrain(whole, {});
    check_ok(outcome);
    const std::string batch = method == "moco" ? "16" : "24";  // 27 are not held out; MoCo's queue is of 4096
    CHECK(contains(
        outcome.err,
        "the data has 27 images, fewer than a batch of recipe small-images, 256: --batch-size is " + batch + ", lr "));
    CHECK(contains(read_file(whole + "/config.toml"), "\nbatch-size = " + batch + "\n"));
    check_ok(pretrain(parts, {"--steps", "2"}));
    check_ok(run_tacit({"pretrain", method, "--out", parts, "--resume", "--steps", "100"}));
    CHECK(read_file(parts + "/checkpoints/last.safetensors") == read_file(whole + "/checkpoints/last.safetensors"));
    check_error(pretrain(dir / "none", {"--batch-size", "32"}), 1, "--batch-size 32 is more than the data's 27 images");
    CHECK_FALSE(fs::exists(dir / "none"));
  }
}

TEST_CASE("augment allows as many damaged files as --max-damaged says") {
  const TemporaryDirectory dir;
  std::filesystem::create_directory(dir / "images");
  for (int i = 0; i < 20; ++i)
    write_file(dir / "images/" + std::to_string(i) + ".pgm",
               i % 5 == 0 ? "P5" : "P5\n8 8\n255\n" + std::string(64, 'x'));
  const Arguments augment = {"augment", "simclr", "--data", "folder:" + (dir / "images"), "--out", dir / "views.png"};
  check_error(run_tacit(augment), 1, "--max-damaged");
  check_ok(run_tacit(with(augment, {"--max-damaged", "0.3"})));
}

TEST_CASE("augment shows what the network is shown: masked, cut, turned; its --out is a PNG") {
  const TemporaryDirectory dir;
  const auto sheet = [&](const std::string& method, const Arguments& more = {}) {
    const std::string png = dir / "sheet.png";
    const Outcome outcome =
        run_tacit(with({"augment", method, "--data", "synthetic:20", "--image-size", "24", "--out", png}, more));
    check_ok(outcome);
    CHECK(contains(outcome.out, method == "simclr" ? "at 24 pixels\n" : ", as " + method + " is shown them"));
    return read_file(png);
  };
  sheet("simclr");
  CHECK(sheet("colorization", {"--augmentation", "none"}) != sheet("simclr", {"--augmentation", "none"}));
  CHECK(sheet("mae", {"--patch-size", "4"}) != sheet("mae", {"--patch-size", "4", "--mask-ratio", "0.5"}));
  CHECK(sheet("jigsaw") != sheet("jigsaw", {"--gap", "0"}));
  // Of plain views, which are the same for both but for the turns.
  CHECK(sheet("rotation", {"--augmentation", "none"}) != sheet("simclr", {"--augmentation", "none"}));
  const Outcome help = run_tacit({"augment", "mae", "--help"});
  check_ok(help);
  CHECK(contains(help.out, "the PNG to write"));
  CHECK_FALSE(contains(help.out, "run directory"));
}

TEST_CASE("a loss that is not finite: nan without a sign, and what is advised works") {
  const TemporaryDirectory dir;
  const auto mae = [&](const std::string& out, const Arguments& more) {
    return run_tacit(with({"pretrain",        "mae", "--data",          "synthetic:400",
                           "--split",         "all", "--image-size",    "16",
                           "--encoder-width", "32",  "--decoder-dim",   "16",
                           "--batch-size",    "16",  "--epochs",        "10",
                           "--optimizer",     "sgd", "--warmup-epochs", "4",
                           "--seed",          "2",   "--out",           out,
                           "--patch-size",    "2",   "--augmentation",  "supervised"},
                          more));
  };
  // A rate that rises from 0.2: the loss falls below chance, by step 5, before it grows without end, by step 9.
  const Outcome diverged = mae(dir / "run", {"--lr", "20", "--save-every-steps", "5"});
  check_error(diverged, 1, "the loss is nan at step ");
  const std::string checkpoint = dir / "run/checkpoints/last.safetensors";
  CHECK(
      contains(diverged.err, (dir / "run") + " keeps its checkpoint of step 5, but --resume keeps the learning rate"));
  CHECK(contains(diverged.err, "; --init " + checkpoint + " starts it from that checkpoint's encoder"));
  check_error(run_tacit({"pretrain", "mae", "--out", dir / "run", "--resume", "--lr", "0.01"}), 2,
              "cannot change --lr");
  const Outcome again = mae(dir / "again", {"--lr", "0.01", "--init", checkpoint, "--steps", "3"});
  check_ok(again);
  CHECK(contains(again.err, "init        " + checkpoint + ": "));
  check_ok(mae(dir / "clipped", {"--lr", "20", "--clip", "1", "--steps", "12"}));
  // A checkpoint that is no better than chance is not worth starting from.
  const Outcome at_once = mae(dir / "at-once", {"--lr", "1e9"});
  check_error(at_once, 1, "keeps its checkpoint of step 0");
  CHECK_FALSE(contains(at_once.err, "--init"));
}
