#include "cli/feature_choice.h"

#include "ssl/train/check.h"

namespace tacit::cli {

void FeatureChoice::add(Settings& settings) {
  settings.add("feature", &name_,
               "encoder, projection, or a stage of the encoder: layer1 … layer4 (ResNets), block1 … (small_cnn, nin, "
               "ViTs)");
}

void FeatureChoice::check(nn::Encoder& encoder, bool with_projection) const {
  std::vector<std::string> known = encoder.stages();
  if (with_projection) known.insert(known.begin(), "projection");
  known.insert(known.begin(), "encoder");
  if (std::find(known.begin(), known.end(), name_) == known.end())
    throw UsageError("--feature: unknown value '" + name_ + "'; this run has: " + ssl::join(known));
}

ssl::FeatureSet FeatureChoice::of(ssl::Pretrained& run, const ssl::ImageSource& source) const {
  if (name_ == "encoder") return ssl::encoder_features(run.method->encoder(), source, run.views);
  if (name_ == "projection") return ssl::projected_features(*run.method, source, run.views);
  return ssl::stage_features(run.method->encoder(), name_, source, run.views);
}

}  // namespace tacit::cli
