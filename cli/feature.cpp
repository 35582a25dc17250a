#include "cli/feature.h"

#include <algorithm>

#include "nn/eval_mode.h"
#include "ssl/train/check.h"

namespace tacit::cli {

void FeatureFlag::add(Settings& settings) {
  settings.add("feature", &feature_,
               std::string("encoder, ") + (projection_ ? "projection, " : "") +
                   (all_ ? "all (stages one by one), " : "") +
                   "or a stage of the encoder: layer1 … layer4 (ResNets), block1 … (small_cnn, nin, ViTs)");
}

std::vector<std::string> FeatureFlag::chosen(ssl::Pretrained& run) const {
  const std::vector<std::string> stages = run.method->encoder().stages();
  std::vector<std::string> known = stages;
  if (projection_) known.insert(known.begin(), "projection");
  known.insert(known.begin(), "encoder");
  if (all_ && feature_ == "all") return stages.empty() ? std::vector<std::string>{"encoder"} : stages;
  if (all_) known.emplace_back("all");
  if (std::find(known.begin(), known.end(), feature_) == known.end())
    throw UsageError("--feature: unknown value '" + feature_ + "'; this run has: " + join(known));
  if (feature_ == "projection")  // a method without one says so itself
    ssl::as_usage("--feature projection: ", [&] {
      const nn::EvalMode mode(*run.method);
      run.method->project(Tensor::zeros({1, run.method->encoder().features()}));
    });
  return {feature_};
}

ssl::FeatureSet features(ssl::Pretrained& run, const std::string& feature, const ssl::ImageSource& source) {
  if (feature == "encoder") return ssl::encoder_features(run.method->encoder(), source, run.views);
  if (feature == "projection") return ssl::projected_features(*run.method, source, run.views);
  return ssl::stage_features(run.method->encoder(), feature, source, run.views);
}

}  // namespace tacit::cli
