// What a run is warned of while it goes on, when there is still a day to be saved. The rule: a warning comes once, and
// only of what has lasted: single steps are noise.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "ssl/data/loader.h"
#include "ssl/methods/method.h"
#include "ssl/train/trainer.h"

namespace tacit::ssl {

class RunWatch {
 public:
  /// Figures are judged by their mean over this many steps of the process; the loss from step kPatience on, and not
  /// before the first epoch has ended: some tasks begin slowly.
  static constexpr int64_t kWindow = 100, kPatience = 300;
  /// feature_std and projection_std below which images have one feature. Healthy runs lie near 1; the features of a
  /// ViT may pass through 0.1 while MAE learns its first things, those of a head never come near.
  static constexpr double kCollapsedFeatures = 0.02, kCollapsedHead = 0.1;
  /// A loss that is no lower than this part of its chance level has learned nothing, unless the pretext accuracy is
  /// kTimesChance times its own: MoCo's loss first rises.
  static constexpr double kAtChance = 0.98, kTimesChance = 10;

  RunWatch(Chance chance, int64_t steps_per_epoch) : chance_(chance), steps_per_epoch_(steps_per_epoch) {}

  /// Lines "warning: …" that a batch gives cause for: views that are equal. Looks at the first one alone.
  std::vector<std::string> batch(const Batch&);
  /// The same of a step: collapse, and a loss that stays at its chance level.
  std::vector<std::string> step(const StepRecord&);

 private:
  /// The mean of the last kWindow values.
  class Mean {
   public:
    void add(double value);
    bool full() const { return count_ >= kWindow; }
    double value() const;

   private:
    std::array<double, kWindow> last_{};
    int64_t count_ = 0;
  };

  Chance chance_;
  int64_t steps_per_epoch_;
  Mean features_, head_, loss_, top1_;
  bool seen_batch_ = false, said_features_ = false, said_head_ = false, said_chance_ = false;
};

/// "warning: …" where a batch norm of the method has fewer than kFewestTogether images to make its statistics of; else
/// "". `images`: those of a step, or of a chunk of it; `splits`: --bn-splits, 0 for none.
std::string batch_norm_warning(Method&, int64_t images, int64_t splits, const std::string& size_flag);
inline constexpr int64_t kFewestTogether = 8;

}  // namespace tacit::ssl
