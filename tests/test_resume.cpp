// The same bits: at any number of threads, and across kill and resume at any point.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "process.h"
#include "run_files.h"
#include "ssl/train/method_entry.h"

namespace {

using namespace tacit::testing;
using Arguments = std::vector<std::string>;
namespace fs = std::filesystem;

Arguments resume(const std::string& run, const std::string& method = "simclr") {
  return {"pretrain", method, "--out", run, "--resume", "--quiet"};
}

void check_ok(const Outcome& outcome) {
  CAPTURE(outcome.err);
  CHECK(outcome.signal == 0);
  CHECK(outcome.status == 0);
}

/// What every test here compares with: one run without any trouble.
struct Reference {
  TemporaryDirectory dir;
  std::string run = dir / "run", metrics, events, checkpoint;
  Reference() {
    check_ok(run_tacit(small_run(run, {"--save-every-steps", "5"})));
    metrics = deterministic_metrics(run);
    events = deterministic_events(run);
    checkpoint = checkpoint_bytes(run);
  }
};
const Reference& reference() {
  static const Reference one;
  return one;
}

void check_same(const std::string& run) {
  CHECK(deterministic_metrics(run) == reference().metrics);
  CHECK((deterministic_events(run) == reference().events));  // pictures and histograms too, each once
  CHECK(checkpoint_bytes(run) == reference().checkpoint);
}

int64_t lines_of(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

/// Waits until the file that a process writes has this many lines, or the process has ended.
void wait_for_lines(pid_t pid, const std::string& path, int64_t lines) {
  while (!has_ended(pid) && lines_of(read_file(path)) < lines)
    std::this_thread::sleep_for(std::chrono::microseconds(500));
}

}  // namespace

TEST_CASE("a run has a line a step, a rising step count and a loss that falls") {
  std::istringstream lines(reference().metrics);
  int64_t step = 0;
  double first = 0, last = 0;
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json object = nlohmann::json::parse(line);
    CHECK(object["step"] == ++step);
    CHECK(object.contains("feature_std"));
    last = object["loss"];
    if (step == 1) first = last;
  }
  CHECK(step == 60);
  CHECK(last < first);
}

TEST_CASE("same bits at 1, 2 and 4 threads") {
  const TemporaryDirectory dir;
  for (const char* threads : {"1", "2", "4"}) {
    CAPTURE(threads);
    const std::string run = dir / threads;
    check_ok(run_tacit(small_run(run, {"--save-every-steps", "5", "--threads", threads})));
    check_same(run);
  }
}

TEST_CASE("views made by the device: same bits at 1 and 2 threads and across a resume; the loss falls") {
  const TemporaryDirectory dir;
  RunOptions options;
  options.environment = {{"TACIT_FALLBACK", "error"}};
  const auto run = [&](const std::string& name, const Arguments& more) {
    Arguments arguments = small_run(dir / name, {"--augment-on", "device"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    check_ok(run_tacit(arguments, options));
    return dir / name;
  };
  const std::string one = run("one", {"--threads", "1"}), two = run("two", {"--threads", "2"});
  const std::string stopped = run("stopped", {"--steps", "23"});
  const Outcome changed = run_tacit({"pretrain", "simclr", "--out", stopped, "--resume", "--augment-on", "cpu"});
  CHECK(changed.status == 2);
  CHECK(contains(changed.err, "augment-on"));
  check_ok(run_tacit({"pretrain", "simclr", "--out", stopped, "--resume", "--quiet", "--steps", "60"}, options));
  CHECK(deterministic_metrics(two) == deterministic_metrics(one));
  CHECK(checkpoint_bytes(two) == checkpoint_bytes(one));
  CHECK(deterministic_metrics(stopped) == deterministic_metrics(one));
  std::istringstream lines(deterministic_metrics(one)), host_lines(reference().metrics);
  std::vector<double> losses;
  for (std::string line; std::getline(lines, line);) losses.push_back(nlohmann::json::parse(line)["loss"]);
  REQUIRE(losses.size() == 60);
  CHECK(losses.back() < losses.front());
  std::string first;
  std::getline(host_lines, first);
  CHECK(losses.front() == doctest::Approx(nlohmann::json::parse(first)["loss"].get<double>()).epsilon(1e-4));
}

TEST_CASE("views made by the reference device") {
  const TemporaryDirectory dir;
  check_ok(run_tacit(small_run(dir / "run", {"--augment-on", "device", "--device", "reference", "--steps", "1"})));
  check_ok(run_tacit(small_run(dir / "host", {"--device", "reference", "--steps", "1"})));
  const auto loss = [&](const char* run) {
    return nlohmann::json::parse(deterministic_metrics(dir / run))["loss"].get<double>();
  };
  CHECK(loss("run") == doctest::Approx(loss("host")).epsilon(1e-4));
}

TEST_CASE("same bits whatever is saved and evaluated on the way") {
  const TemporaryDirectory dir;
  check_ok(run_tacit(small_run(dir / "run", {"--save-every", "7", "--eval-every", "1"})));
  CHECK(contains(deterministic_metrics(dir / "run"), "knn_top1"));
  CHECK(contains(deterministic_metrics(dir / "run"), "linear_top1"));
  CHECK(checkpoint_bytes(dir / "run") == reference().checkpoint);
}

TEST_CASE("same bits after SIGKILL at seeded points and resume") {
  std::mt19937 random(20240517);
  const TemporaryDirectory dir;
  int killed = 0;
  for (int trial = 0; trial < 6; ++trial) {
    CAPTURE(trial);
    const std::string run = dir / std::to_string(trial);
    Arguments arguments = small_run(run, {"--save-every-steps", "5"});
    for (int attempt = 0; attempt < 3; ++attempt) {
      // From before the first line to near the end, and a moment later so that it falls anywhere within a step.
      const auto lines = static_cast<int64_t>(random() % 56);
      const auto delay = std::chrono::microseconds(random() % 8000);
      RunOptions options;
      options.meanwhile = [&](pid_t pid) {
        if (lines > 0) wait_for_lines(pid, run + "/metrics.jsonl", lines);
        std::this_thread::sleep_for(delay);
        kill(pid, SIGKILL);
      };
      killed += run_tacit(arguments, options).signal == SIGKILL;
      arguments =
          fs::exists(run + "/config.toml") ? resume(run) : small_run(run, {"--save-every-steps", "5", "--resume"});
    }
    check_ok(run_tacit(arguments));
    check_same(run);
  }
  CHECK(killed >= 6);
}

TEST_CASE("same bits after a kill between write, fsync and rename of a checkpoint") {
  const TemporaryDirectory dir;
  // Points 1 and 2 are config.toml and the picture of the views; 3 is the first checkpoint, 4 and 5 those at steps
  // 5, 10.
  for (const char* point : {"write:1", "fsync:1", "rename:1", "fsync:2", "rename:2", "write:9", "fsync:3", "rename:3",
                            "fsync:5", "rename:5"}) {
    CAPTURE(point);
    const std::string run = dir / point;
    RunOptions options;
    options.environment = {{"TACIT_CRASH_AT", point}};
    const Outcome killed = run_tacit(small_run(run, {"--save-every-steps", "5"}), options);
    CHECK(killed.signal == SIGKILL);
    check_ok(run_tacit(small_run(run, {"--save-every-steps", "5", "--resume"})));
    check_same(run);
  }
}

TEST_CASE("SIGINT and SIGTERM: the step ends, is saved, exit 130, and the run goes on to the same bits") {
  const TemporaryDirectory dir;
  for (const int signal : {SIGINT, SIGTERM}) {
    std::string run;
    Outcome interrupted;
    // On a machine under load the run may be over before the signal is sent: then again.
    for (int attempt = 0; attempt < 10 && interrupted.status != 130; ++attempt) {
      run = dir / (std::to_string(signal) + "-" + std::to_string(attempt));
      RunOptions options;
      options.meanwhile = [&](pid_t pid) {
        wait_for_lines(pid, run + "/metrics.jsonl", 3);
        kill(pid, signal);
      };
      interrupted = run_tacit(small_run(run, {"--save-every-steps", "5"}), options);
    }
    CHECK(interrupted.status == 130);
    const int64_t lines = lines_of(read_file(run + "/metrics.jsonl"));
    CHECK(lines < 60);
    CHECK(contains(checkpoint_bytes(run), "\"step\":\"" + std::to_string(lines) + "\""));
    check_ok(run_tacit(resume(run)));
    check_same(run);
  }
}

TEST_CASE("--stop-after-epochs however large is no more than the schedule") {
  const TemporaryDirectory dir;
  check_ok(run_tacit(small_run(dir / "run", {"--stop-after-epochs", "9223372036854775807"})));
  CHECK(checkpoint_bytes(dir / "run") == reference().checkpoint);
}

TEST_CASE("stopping early with --steps and going on with more of them") {
  const TemporaryDirectory dir;
  const std::string run = dir / "run";
  check_ok(run_tacit(small_run(run, {"--steps", "0"})));
  CHECK(fs::exists(run + "/checkpoints/last.safetensors"));
  CHECK(read_file(run + "/metrics.jsonl").empty());
  Arguments more = resume(run);
  more.insert(more.end(), {"--steps", "7"});
  check_ok(run_tacit(more));
  CHECK(lines_of(read_file(run + "/metrics.jsonl")) == 7);
  more.back() = "100";
  check_ok(run_tacit(more));
  check_same(run);
  check_ok(run_tacit(more));  // nothing left to do
  check_same(run);
}

TEST_CASE("resume without the checkpoint that was there refuses, and leaves the recorded steps") {
  const TemporaryDirectory dir;
  const std::string run = dir / "run";
  check_ok(run_tacit(small_run(run, {"--steps", "3"})));
  const std::string metrics = read_file(run + "/metrics.jsonl");
  fs::remove(run + "/checkpoints/last.safetensors");
  const Outcome outcome = run_tacit(resume(run));
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.err, "no checkpoints/last.safetensors"));
  CHECK(read_file(run + "/metrics.jsonl") == metrics);
}

TEST_CASE("resume refuses what would change the trajectory, with both values, and takes what would not") {
  const TemporaryDirectory dir;
  const std::string run = dir / "run";
  check_ok(run_tacit(small_run(run, {"--steps", "4"})));
  const std::string before = checkpoint_bytes(run);
  const auto refused = [&](const Arguments& flags, const std::string& was, const std::string& is) {
    Arguments arguments = resume(run);
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const Outcome outcome = run_tacit(arguments);
    CAPTURE(outcome.err);
    CHECK(outcome.status == 2);
    CHECK(contains(outcome.err, flags[0]));
    CHECK(contains(outcome.err, was));
    CHECK(contains(outcome.err, is));
  };
  refused({"--seed", "3"}, "0", "3");
  refused({"--encoder", "resnet18"}, "small_cnn", "resnet18");
  refused({"--encoder-width", "16"}, "8", "16");
  refused({"--batch-size", "32"}, "16", "32");
  refused({"--epochs", "3"}, "5", "3");
  refused({"--lr", "0.5"}, "0.002", "0.5");
  refused({"--temperature", "0.7"}, "0.2", "0.7");
  refused({"--data", "synthetic:100"}, "synthetic:200", "synthetic:100");
  CHECK(checkpoint_bytes(run) == before);
  Arguments free = resume(run);
  free.insert(free.end(),
              {"--threads", "1", "--save-every-steps", "3", "--eval-every", "2", "--log-every", "1", "--steps", "100"});
  check_ok(run_tacit(free));
  CHECK(checkpoint_bytes(run) == reference().checkpoint);
}

TEST_CASE("damaged images met before a resume count after it: the run stops at the step where it would have") {
  const TemporaryDirectory dir;
  fs::create_directories(dir / "images");
  for (int i = 0; i < 160; ++i) {  // more than 1 % damaged are two
    std::string pixels(16 * 16 * 3, '\0');
    for (size_t p = 0; p < pixels.size(); ++p) pixels[p] = static_cast<char>((p * static_cast<size_t>(i + 3)) % 251);
    const bool damaged = i == 20 || i == 120;
    write_file(dir / "images/" + std::to_string(i) + ".ppm", "P6\n16 16\n255\n" + (damaged ? "short" : pixels));
  }
  const auto start = [&](const std::string& run, const Arguments& more) {
    Arguments arguments = {"pretrain",
                           "simclr",
                           "--data",
                           "folder:" + (dir / "images"),
                           "--split",
                           "all",
                           "--image-size",
                           "16",
                           "--encoder-width",
                           "4",
                           "--projector",
                           "8,4",
                           "--batch-size",
                           "8",
                           "--epochs",
                           "5",
                           "--quiet",
                           "--out",
                           run};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_tacit(arguments);
  };
  CHECK(start(dir / "whole", {}).status == 1);
  const int64_t made = lines_of(read_file(dir / "whole/metrics.jsonl"));  // the next batch met the second
  REQUIRE(made > 0);
  REQUIRE(made < 20);
  check_ok(start(dir / "run", {"--steps", std::to_string(made)}));
  Arguments more = resume(dir / "run");
  more.insert(more.end(), {"--steps", "100"});
  const Outcome stopped = run_tacit(more);
  CAPTURE(stopped.err);
  CHECK(stopped.status == 1);
  CHECK(contains(stopped.err, "more than 1 %"));
  CHECK(lines_of(read_file(dir / "run/metrics.jsonl")) == made);
}

TEST_CASE("no space while saving: exit 1, and the checkpoint before stays") {
  const TemporaryDirectory dir;
  const std::string run = dir / "run";
  check_ok(run_tacit(small_run(run, {"--steps", "4"})));
  const std::string before = checkpoint_bytes(run);
  REQUIRE(before.size() > 20000);
  RunOptions options;
  options.largest_file = 16384;                          // logs still fit, the checkpoint does not
  for (const auto& entry : fs::directory_iterator(run))  // with the picture in them events are as large as it
    if (entry.path().filename().string().starts_with("events")) fs::remove(entry.path());
  Arguments more = resume(run);
  more.insert(more.end(), {"--steps", "6"});
  const Outcome full = run_tacit(more, options);
  CHECK(full.signal == 0);
  CHECK(full.status == 1);
  CHECK(contains(full.err, "error: "));
  CHECK(contains(full.err, "last.safetensors"));
  CHECK(checkpoint_bytes(run) == before);
  more.back() = "100";
  check_ok(run_tacit(more));
  CHECK(checkpoint_bytes(run) == reference().checkpoint);
}

namespace {

/// A method, or a variant with state of its own, and the flags that make it small. A new method is a line here.
struct Row {
  std::string method, flags;
};
const std::vector<Row> kMethods = {
    {"simclr", "--projector 16,8"},
    {"simclr", "--projector 16,8 --chunk-size 8"},
    {"moco", "--projector 16,8 --queue-size 64 --bn-splits 4"},
    {"moco", "--projector 16,8 --queue-size 96 --symmetric"},
    {"moco", "--projector 16,8 --predictor 16,8 --variant v3"},
    {"moco", "--projector 16,8 --predictor 16,8 --variant v3 --encoder vit_micro --patch-size 4"},
    {"byol", "--projector 16,8 --predictor 16,8"},
    {"byol", "--projector 16,8 --predictor 16,8 --target-momentum 0 --optimizer lars"},
    {"mae", "--encoder vit_micro --patch-size 4 --decoder-dim 16 --decoder-depth 1 --decoder-heads 2"},
    {"rotation", "--schedule steps --lr-drop-epochs 2"},
    {"jigsaw", "--patch-features 16"},
    {"jigsaw", "--gap 0 --permutations 10 --patch-features 16 --patch-normalization=false"},
    {"colorization", "--color-width 8"},
    {"colorization", "--color-width 8 --color-loss regression"},
};

/// 100 made-up images of 16 pixels: three epochs of 6 steps, a checkpoint every 4.
Arguments method_run(const Row& row, const std::string& out, const Arguments& more) {
  std::istringstream words("pretrain " + row.method +
                           " --data synthetic:100 --split all --image-size 16 --encoder-width 8 --batch-size 16 "
                           "--epochs 3 --save-every-steps 4 --quiet " +
                           row.flags + (contains(row.flags, "--encoder") ? "" : " --encoder small_cnn"));
  Arguments arguments{std::istream_iterator<std::string>(words), {}};
  arguments.insert(arguments.end(), {"--out", out});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace

TEST_CASE("--checkpoint-activations: the same checkpoint, and a resume may switch it") {
  const TemporaryDirectory dir;
  const auto net = [&](const std::string& run, const Arguments& more) {
    Arguments all = small_run(run, more);
    *std::find(all.begin(), all.end(), "small_cnn") = "resnet18";
    return run_tacit(all);
  };
  check_ok(net(dir / "kept", {}));
  check_ok(net(dir / "again", {"--checkpoint-activations", "--steps", "5"}));
  Arguments rest = resume(dir / "again");
  rest.insert(rest.end(), {"--checkpoint-activations=false", "--steps", "100"});
  check_ok(run_tacit(rest));
  CHECK(checkpoint_bytes(dir / "kept") == checkpoint_bytes(dir / "again"));
  const Outcome refused = run_tacit(small_run(dir / "no", {"--checkpoint-activations"}));
  CHECK(refused.status == 2);
  CHECK(contains(refused.err, "--checkpoint-activations is of ResNets"));
}

TEST_CASE("every method: same bits after a kill and a resume at another number of threads") {
  for (const Row& row : kMethods) {
    CAPTURE(row.method);
    CAPTURE(row.flags);
    const TemporaryDirectory dir;
    check_ok(run_tacit(method_run(row, dir / "whole", {"--threads", "1"})));
    const std::string metrics = deterministic_metrics(dir / "whole"), events = deterministic_events(dir / "whole"),
                      checkpoint = checkpoint_bytes(dir / "whole");
    CHECK(lines_of(metrics) == 18);
    for (const char* key : {"\"loss\":", "\"chance_loss\":", "\"feature_std\":"})
      CHECK(contains(read_file(dir / "whole/metrics.jsonl"), key));
    // Killed while a checkpoint is written: the one before it counts, steps behind metrics.jsonl.
    const std::string run = dir / "killed";
    RunOptions options;
    options.environment = {{"TACIT_CRASH_AT", "fsync:6"}};
    CHECK(run_tacit(method_run(row, run, {"--threads", "2"}), options).signal == SIGKILL);
    const int64_t lines = lines_of(read_file(run + "/metrics.jsonl"));
    CHECK(lines > 4);
    CHECK(lines < 18);
    Arguments again = resume(run, row.method);
    again.insert(again.end(), {"--threads", "4"});
    check_ok(run_tacit(again));
    CHECK(deterministic_metrics(run) == metrics);
    CHECK((deterministic_events(run) == events));
    CHECK(checkpoint_bytes(run) == checkpoint);
    // Stopped after 7 steps, and gone on with.
    const std::string stopped = dir / "stopped";
    check_ok(run_tacit(method_run(row, stopped, {"--threads", "2", "--steps", "7"})));
    again = resume(stopped, row.method);
    again.insert(again.end(), {"--steps", "100"});
    check_ok(run_tacit(again));
    CHECK(checkpoint_bytes(stopped) == checkpoint);
  }
}

TEST_CASE("every method has a row in the table of resumes") {
  for (const std::string& method : tacit::ssl::method_names()) {
    CAPTURE(method);
    CHECK(std::any_of(kMethods.begin(), kMethods.end(), [&](const Row& row) { return row.method == method; }));
  }
}
