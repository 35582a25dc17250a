// tacit linear RUN: linear probe on frozen features.
#include <nlohmann/json.hpp>

#include "cli/feature.h"
#include "cli/figures.h"
#include "ssl/evaluate/evaluate.h"
#include "tensor/counted.h"

namespace tacit::cli {

namespace {

class Linear final : public RunCommand {
 public:
  const char* name() const override { return "linear"; }
  const char* summary() const override { return "linear probe on frozen features"; }
  const char* example() const override { return "  tacit linear run --data fashion-mnist --feature all"; }
  void own_settings(Settings& settings) override {
    settings.group("Probe")
        .add("epochs", &options_.epochs, "of every learning rate")
        .add("batch-size", &options_.batch_size, "images a step");
    feature_.add(settings);
  }
  void check_own() const override {
    check_flag("epochs", static_cast<double>(options_.epochs), 1, 1e6);
    check_flag("batch-size", static_cast<double>(options_.batch_size), 1, 1e6);
  }
  int run_on(ssl::Pretrained& run) override {
    options_.seed = static_cast<uint64_t>(common_.seed);
    const std::vector<std::string> chosen = feature_.chosen(run);
    const TrainAndTest data = data_.open_train_and_test(common_);
    const ssl::ImageSourcePtr &train = data.train, &test = data.test;
    check_memory(run, (train->size() + test->size()) * run.method->encoder().features());
    nlohmann::json figures, by_feature;
    for (const std::string& feature : chosen) {
      const ssl::FeatureSet bank = features(run, feature, *train);
      const ssl::LinearProbeResult result = ssl::linear_probe(bank, features(run, feature, *test), options_);
      if (chosen.size() == 1)
        for (const ssl::SweepPoint& point : result.sweep)
          print_result(common_, "lr " + ssl::shortest(point.lr) + ": " + percent(point.validation_top1) + " held out");
      print_result(common_, (chosen.size() == 1 ? "linear: " : feature + ": ") + percent(result.top1) + " of " +
                                counted(test->size(), "test image") + " (lr " + ssl::shortest(result.best_lr) + ")");
      figures = to_json(result);
      by_feature[feature] = figures;
    }
    // The encoder's own figures are the last stage's; those of all stages stand below them.
    if (chosen.size() > 1) figures["features"] = by_feature;
    write_json(common_, figures);
    return 0;
  }

 private:
  ssl::LinearProbeOptions options_;
  FeatureFlag feature_{true};
};

}  // namespace

std::unique_ptr<Command> make_linear() { return std::make_unique<Linear>(); }

}  // namespace tacit::cli
