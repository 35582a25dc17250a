// --feature: which features of a run a command looks at.
#pragma once

#include "cli/command.h"
#include "ssl/train/build.h"

namespace tacit::cli {

class FeatureChoice {
 public:
  void add(Settings&);
  /// Throws UsageError, listing what there is, where the run has no such feature.
  void check(nn::Encoder&, bool with_projection = true) const;
  ssl::FeatureSet of(ssl::Pretrained&, const ssl::ImageSource&) const;
  /// "" for the encoder's output.
  std::string stage() const { return name_ == "encoder" ? "" : name_; }

 private:
  std::string name_ = "encoder";
};

}  // namespace tacit::cli
