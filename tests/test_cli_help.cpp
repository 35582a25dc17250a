// What the command says of itself: help, how long a training is, where a resumed run stands.
#include <filesystem>

#include "cli.h"

using namespace tacit::testing;
namespace fs = std::filesystem;

namespace {

int count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

/// The same without --quiet, whose stderr is then progress.
Arguments aloud(Arguments arguments) {
  arguments.erase(std::find(arguments.begin(), arguments.end(), "--quiet"));
  return arguments;
}

}  // namespace

TEST_CASE("pretrain --help: the methods; with METHOD its flags, in groups, its recipes and examples") {
  const Outcome all = run_tacit({"pretrain", "--help"});
  check_ok(all);
  for (const char* method : {"simclr: ", "moco: ", "byol: ", "mae: ", "rotation: ", "jigsaw: ", "colorization: "})
    CHECK(count_of(all.out, method) == 1);
  CHECK(contains(all.out, "tacit pretrain METHOD --help"));
  CHECK_FALSE(contains(all.out, "--batch-size"));

  const struct {
    const char *method, *own, *foreign, *recipe;
  } rows[] = {{"simclr", "--chunk-size", "--queue-size", "cifar10: "},
              {"moco", "--queue-size", "--chunk-size", "imagenet-v3: "},
              {"byol", "--no-predictor", "--temperature", "cifar10: "},
              {"mae", "--mask-ratio", "--projector", "imagenet: "},
              {"rotation", "--schedule", "--grid", "cifar10: "},
              {"jigsaw", "--grid", "--color-loss", "folder: "},
              {"colorization", "--color-loss", "--grid", "folder: "}};
  for (const auto& row : rows) {
    CAPTURE(row.method);
    const Outcome one = run_tacit({"pretrain", row.method, "--help"});
    check_ok(one);
    CHECK(contains(one.out, row.own));
    CHECK_FALSE(contains(one.out, row.foreign));
    CHECK(contains(one.out, row.recipe));
    CHECK(contains(one.out, std::string("tacit pretrain ") + row.method + " --data ~/photos"));
    size_t at = 0;  // the groups in this order
    for (const char* group : {"\nMethod:", "\nData:", "\nAugmentation:", "\nEncoder:", "\nOptimisation:", "\nRun:"}) {
      const size_t next = one.out.find(group);
      REQUIRE(next != std::string::npos);
      CHECK(next >= at);
      at = next;
    }
  }
  CHECK_FALSE(contains(run_tacit({"pretrain", "colorization", "--help"}).out, "--recipe fashion-mnist-demo"));
  check_error(run_tacit({"pretrain", "simsiam", "--help"}), 2, "unknown method");
}

TEST_CASE("finetune: --epochs alone is obeyed, --min-steps stretches it; the length is said first") {
  const auto steps = [](const Arguments& more, bool stretched = false) {
    const Outcome outcome = run_tacit(aloud(on_run("finetune", with({"--batch-size", "40"}, more))));
    check_ok(outcome);
    const size_t at = outcome.out.find(" in ");
    REQUIRE(at != std::string::npos);
    CHECK(contains(outcome.err, "training    to step " + std::to_string(std::stoi(outcome.out.substr(at + 4)))));
    CHECK(contains(outcome.err, "for --min-steps") == stretched);
    return std::stoi(outcome.out.substr(at + 4));
  };
  CHECK(steps({"--epochs", "2"}) == 8);  // 160 images
  CHECK(steps({"--epochs", "2", "--min-steps", "10"}, true) == 10);
  CHECK(steps({"--epochs", "3", "--min-steps", "9"}) == 12);
}

TEST_CASE("a resume whose limit is reached says so, and how to go on") {
  const TemporaryDirectory dir;
  const std::string run = dir / "run";
  const auto resume = [&](const Arguments& more) {
    const Outcome outcome = run_tacit(with({"pretrain", "simclr", "--out", run, "--resume", "--quiet"}, more));
    check_ok(outcome);
    return outcome;
  };
  const Outcome begun = run_tacit(small_run(run, {"--steps", "3"}));
  check_ok(begun);
  CHECK(contains(begun.out, "3 of 60 steps"));
  CHECK_FALSE(contains(begun.err, "nothing"));
  const Outcome stopped = resume({});
  CHECK(contains(stopped.err, "warning: nothing is done: " + run + " is at step 3 of 60, the limit of --steps 3"));
  CHECK(contains(stopped.err, "kept in " + run + "/config.toml"));
  CHECK(contains(stopped.err, "--resume --steps 60"));
  const Outcome both = resume({"--steps", "2", "--stop-after-epochs", "0"});
  CHECK(contains(both.err, "the limit of --steps 2 and --stop-after-epochs 0"));
  CHECK(contains(both.err, "--resume --steps 60 --stop-after-epochs 5"));
  CHECK_FALSE(contains(resume({"--steps", "60", "--stop-after-epochs", "1"}).err, "nothing"));  // to step 12
  CHECK(contains(resume({}).err, "the limit of --stop-after-epochs 1, kept"));
  CHECK_FALSE(contains(resume({"--stop-after-epochs", "5"}).err, "nothing"));
  const Outcome whole = run_tacit({"pretrain", "simclr", "--out", run, "--resume", "--quiet=false"});
  check_ok(whole);
  CHECK(contains(whole.err, "is at step 60 of 60: nothing is left to do"));
  CHECK(contains(whole.err, "--init"));
}
