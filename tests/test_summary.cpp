// What a run says of itself before its first step.
#include <doctest/doctest.h>

#include "process.h"
#include "ssl/data/sources.h"
#include "ssl/train/build.h"
#include "ssl/train/memory.h"
#include "ssl/train/summary.h"
#include "train.h"

namespace {

using namespace tacit;
using namespace tacit::ssl;
using testing::contains;
using testing::tiny_config;

/// The lines' texts by their first words.
std::map<std::string, std::string> lines_of(const TrainConfig& config, const ImageSource& source) {
  const std::unique_ptr<Method> method = make_method(config);
  const std::unique_ptr<optim::Optimizer> optimizer = make_optimizer(config, *method);
  RunPlan plan;
  plan.epochs = 3, plan.steps_per_epoch = 8, plan.steps = plan.last = 24;
  plan.chance = method->chance(config.batch_size);
  std::map<std::string, std::string> lines;
  const std::vector<std::string> all =
      summary(config, source, *method, *optimizer, plan, views_of(config), "about 1.2 GB; the limit is 9.0 GB (a)");
  CHECK(all.size() == 7);
  for (const std::string& line : all) {
    CHECK(line.find('\n') == std::string::npos);
    lines[line.substr(0, line.find(' '))] = line.substr(12);
  }
  return lines;
}

}  // namespace

TEST_CASE("summary: data with sizes, classes and normalisation; encoder with its arithmetic; groups; memory; chance") {
  TrainConfig config = tiny_config();
  config.base_lr = 0.25;
  config.lr.reset();
  const ImageSourcePtr source = open_data({"synthetic:64"}, Split::All);
  auto lines = lines_of(config, *source);
  CHECK(lines["data"].starts_with("64 images of 10 classes, 32 x 32, seen at 16 x 16 x 3"));
  CHECK(contains(lines["data"], "mean 0.485 0.456 0.406, std 0.229 0.224 0.225"));
  const std::unique_ptr<Method> method = make_method(config);
  const int64_t products = nn::multiply_adds(method->encoder(), 16, 3);
  CHECK(lines["encoder"] == "small_cnn, " + std::to_string(method->encoder().parameter_count()) +
                                " parameters, 32 features, " + readable_flop(2 * static_cast<double>(products)) +
                                " an image");
  CHECK(contains(lines["recipe"], "3 epochs of 8 steps, batches of 8 x 2 views"));
  CHECK(contains(lines["optimiser"], "lr 0.0078125 = 0.25 x 8 / 256 (warm-up "));
  CHECK(contains(lines["parameters"], "decay: 6 tensors, "));
  CHECK(contains(lines["parameters"], "; no_decay: "));
  CHECK(lines["memory"] == "about 1.2 GB; the limit is 9.0 GB (a)");
  CHECK(contains(lines["chance"], "loss 2.71 and accuracy 6.67 %"));  // log 15, 1 / 15

  config.lr = 0.125;
  config.decay_all = true;
  lines = lines_of(config, *without_labels(source));
  CHECK(contains(lines["data"], "64 images, 32 x 32"));
  CHECK(contains(lines["optimiser"], "lr 0.125 (warm-up"));
  CHECK(contains(lines["parameters"], "all: "));
}

TEST_CASE("summary: operations in the unit that suits them") {
  CHECK(readable_flop(12) == "12 FLOP");
  CHECK(readable_flop(7.52e6) == "7.52 MFLOP");
  CHECK(readable_flop(2 * 1'813'561'344.0) == "3.63 GFLOP");
  CHECK(readable_flop(999.6e6) == "1 GFLOP");
  CHECK(readable_flop(123.4e9) == "123 GFLOP");
  CHECK(readable_flop(4e15) == "4000 TFLOP");
}

TEST_CASE("memory: what a run will take is said beside the limit") {
  TrainConfig config = tiny_config();
  config.memory_limit = "3G";
  const std::string said = check_training_memory(config).said;
  CHECK(said.starts_with("about "));
  CHECK(contains(said, " MiB; the limit is 3.0 GiB (--memory-limit)"));
}
