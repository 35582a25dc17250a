// tacit linear RUN: linear probe on frozen features.
#include <nlohmann/json.hpp>

#include "cli/run_command.h"
#include "ssl/evaluate/evaluate.h"

namespace tacit::cli {

namespace {

class Linear final : public RunCommand {
 public:
  const char* name() const override { return "linear"; }
  const char* summary() const override { return "linear probe on frozen features"; }
  const char* example() const override { return "  tacit linear run --data fashion-mnist"; }
  void own_settings(Settings& settings) override {
    settings.group("Probe")
        .add("epochs", &options_.epochs, "of every learning rate")
        .add("batch-size", &options_.batch_size, "images a step");
  }
  void check() const override {
    check_flag("epochs", static_cast<double>(options_.epochs), 1, 1e6);
    check_flag("batch-size", static_cast<double>(options_.batch_size), 1, 1e6);
  }
  int run_on(ssl::Pretrained& run) override {
    options_.seed = static_cast<uint64_t>(common_.seed);
    const ssl::ImageSourcePtr train = data_.open_labelled(ssl::Split::Train, common_),
                              test = data_.open_labelled(ssl::Split::Test, common_);
    nn::Encoder& encoder = run.method->encoder();
    check_memory((train->size() + test->size()) * encoder.features());
    const ssl::FeatureSet bank = ssl::encoder_features(encoder, *train, run.views);
    const ssl::LinearProbeResult result =
        ssl::linear_probe(bank, ssl::encoder_features(encoder, *test, run.views), options_);
    for (const ssl::SweepPoint& point : result.sweep)
      print_result(common_, "lr " + ssl::shortest(point.lr) + ": " + percent(point.validation_top1) + " held out");
    print_result(common_, "linear: " + percent(result.top1) + " of " + std::to_string(test->size()) +
                              " test images (lr " + ssl::shortest(result.best_lr) + ")");
    write_json(common_, ssl::to_json(result));
    return 0;
  }

 private:
  ssl::LinearProbeOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_linear() { return std::make_unique<Linear>(); }

}  // namespace tacit::cli
