// --feature: which layer's features a command looks at.
#pragma once

#include "cli/run_command.h"

namespace tacit::cli {

class FeatureFlag {
 public:
  /// `all`: whether the command takes `--feature all`, every stage one after the other; `projection`: whether it takes
  /// what the head makes of features.
  explicit FeatureFlag(bool all, bool projection = true) : all_(all), projection_(projection) {}
  void add(Settings&);
  /// The features to look at, one or (for all) every stage's, from the image on. Throws UsageError listing those that
  /// this run has.
  std::vector<std::string> chosen(ssl::Pretrained&) const;

 private:
  bool all_, projection_;
  std::string feature_ = "encoder";
};

/// "encoder", "projection" or a stage's name.
ssl::FeatureSet features(ssl::Pretrained&, const std::string& feature, const ssl::ImageSource&);

}  // namespace tacit::cli
