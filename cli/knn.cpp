// tacit knn RUN: weighted nearest neighbours on frozen features.
#include <nlohmann/json.hpp>

#include "cli/run_command.h"
#include "ssl/evaluate/evaluate.h"

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
        .add("temperature", &options_.temperature, "T of a neighbour's weight exp(similarity / T)")
        .add("feature", &feature_,
             "encoder, projection, or a stage of the encoder: layer1 … layer4 (ResNets), block1 … (small_cnn, nin, "
             "ViTs)");
  }
  void check() const override {
    check_flag("k", static_cast<double>(options_.k), 1, 1e9);
    check_flag("temperature", options_.temperature, 1e-4, 1e4);
  }
  int run_on(ssl::Pretrained& run) override {
    check_feature(run.method->encoder());
    const ssl::ImageSourcePtr train = data_.open(ssl::Split::Train, common_),
                              test = data_.open(ssl::Split::Test, common_);
    check_memory((train->size() + test->size()) * run.method->encoder().features());
    options_.k = possible_k(options_.k, train->size());
    const ssl::FeatureSet bank = features(run, *train);
    const ssl::KnnResult result = ssl::knn(bank, features(run, *test), options_);
    print_result(common_, "kNN(" + std::to_string(result.options.k) + "): " + percent(result.top1) + " of " +
                              std::to_string(result.test_images) + " test images, by " +
                              std::to_string(result.train_images) + " training images");
    write_json(common_, ssl::to_json(result));
    return 0;
  }

 private:
  void check_feature(nn::Encoder& encoder) const {
    std::vector<std::string> known = encoder.stages();
    known.insert(known.begin(), {"encoder", "projection"});
    if (std::find(known.begin(), known.end(), feature_) != known.end()) return;
    std::string list;
    for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
    throw UsageError("--feature: unknown value '" + feature_ + "'; this run has: " + list);
  }
  ssl::FeatureSet features(ssl::Pretrained& run, const ssl::ImageSource& source) const {
    if (feature_ == "encoder") return ssl::encoder_features(run.method->encoder(), source, run.views);
    if (feature_ == "projection") return ssl::projected_features(*run.method, source, run.views);
    return ssl::stage_features(run.method->encoder(), feature_, source, run.views);
  }

  ssl::KnnOptions options_;
  std::string feature_ = "encoder";
};

}  // namespace

std::unique_ptr<Command> make_knn() { return std::make_unique<Knn>(); }

}  // namespace tacit::cli
