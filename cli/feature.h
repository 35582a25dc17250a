// --feature: which layer's features a command looks at.
#pragma once

#include "cli/run_command.h"

namespace tacit::cli {

class FeatureFlag {
 public:
  /// `all`: whether the command takes `--feature all`, every stage one after the other.
  explicit FeatureFlag(bool all) : all_(all) {}
  void add(Settings&);
  /// The features to look at, one or (for all) every stage's, from the image on. Throws UsageError listing those that
  /// this run has.
  std::vector<std::string> chosen(ssl::Pretrained&) const;

 private:
  bool all_;
  std::string feature_ = "encoder";
};

/// "encoder", "projection" or a stage's name.
ssl::FeatureSet features(ssl::Pretrained&, const std::string& feature, const ssl::ImageSource&);

}  // namespace tacit::cli
