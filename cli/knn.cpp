// tacit knn RUN: weighted nearest neighbours on frozen features.
#include <nlohmann/json.hpp>

#include "cli/feature.h"
#include "cli/figures.h"
#include "ssl/evaluate/evaluate.h"
#include "tensor/counted.h"

namespace tacit::cli {

namespace {

class Knn final : public RunCommand {
 public:
  const char* name() const override { return "knn"; }
  const char* summary() const override { return "weighted nearest neighbours on frozen features"; }
  const char* example() const override { return "  tacit knn run --data fashion-mnist --k 20 --json knn.json"; }
  void own_settings(Settings& settings) override {
    settings.group("kNN")
        .add("k", &options_.k, "neighbours that vote")
        .add("temperature", &options_.temperature, "T of a neighbour's weight exp(similarity / T)");
    feature_.add(settings);
  }
  void check_own() const override {
    check_flag("k", static_cast<double>(options_.k), 1, 1e9);
    check_flag("temperature", options_.temperature, 1e-4, 1e4);
  }
  int run_on(ssl::Pretrained& run) override {
    const std::string feature = feature_.chosen(run)[0];
    const TrainAndTest data = data_.open_train_and_test(common_);
    const ssl::ImageSourcePtr &train = data.train, &test = data.test;
    check_memory(run, (train->size() + test->size()) * run.method->encoder().features());
    options_.k = possible_k(options_.k, train->size());
    const ssl::FeatureSet bank = features(run, feature, *train);
    const ssl::KnnResult result = ssl::knn(bank, features(run, feature, *test), options_);
    print_result(common_, "kNN(" + std::to_string(result.options.k) + "): " + percent(result.top1) + " of " +
                              counted(result.test_images, "test image") + ", by " +
                              counted(result.train_images, "training image"));
    write_json(common_, to_json(result));
    return 0;
  }

 private:
  ssl::KnnOptions options_;
  FeatureFlag feature_{false};
};

}  // namespace

std::unique_ptr<Command> make_knn() { return std::make_unique<Knn>(); }

}  // namespace tacit::cli
