#include "ssl/train/watch.h"

#include <numeric>

#include "nn/norm.h"
#include "ssl/train/settings.h"
#include "tensor/counted.h"

namespace tacit::ssl {

namespace {

std::string collapse(const char* what, const char* metric, double value, const char* remedy) {
  return std::string("warning: collapse: all images have nearly one ") + what + " (" + metric + " " +
         three_digits(value) + " over the last " + std::to_string(RunWatch::kWindow) +
         " steps, 1 is healthy): the loss says nothing any more. Remedy: begin another --out with " + remedy;
}

class BatchNormFinder : public nn::Visitor {
 public:
  bool found = false;

 protected:
  void module(const std::string&, nn::Module& m) override {
    found = found || dynamic_cast<nn::BatchNorm*>(&m) != nullptr;
  }
};

}  // namespace

void RunWatch::Mean::add(double value) { last_[static_cast<size_t>(count_++ % kWindow)] = value; }

double RunWatch::Mean::value() const {
  return std::accumulate(last_.begin(), last_.end(), 0.0) / static_cast<double>(kWindow);
}

std::vector<std::string> RunWatch::batch(const Batch& batch) {
  if (seen_batch_) return {};
  seen_batch_ = true;
  if (batch.views.size() < 2 || batch.views[0].shape() != batch.views[1].shape() ||
      batch.views[0].to_vector<float>() != batch.views[1].to_vector<float>())
    return {};
  return {
      "warning: both views of every image of the first batch are equal: there is nothing to learn from them. "
      "Remedy: an --augmentation that changes images (see images/views.png)"};
}

std::vector<std::string> RunWatch::step(const StepRecord& record) {
  const auto add = [&](Mean& mean, const char* metric) {
    const auto found = record.metrics.find(metric);
    if (found != record.metrics.end()) mean.add(found->second);
  };
  add(features_, "feature_std");
  add(head_, "projection_std");
  add(top1_, "pretext_top1");
  loss_.add(record.loss);
  std::vector<std::string> warnings;
  const auto warn_once = [&](bool& said, bool cause, const auto& text) {
    if (said || !cause) return;
    said = true;
    warnings.push_back(text());
  };
  warn_once(said_features_, features_.full() && features_.value() < kCollapsedFeatures, [&] {
    return collapse("feature", "feature_std", features_.value(), "a smaller --lr, a longer warm-up or --clip 1");
  });
  warn_once(said_head_, head_.full() && head_.value() < kCollapsedHead, [&] {
    return collapse("projection", "projection_std", head_.value(),
                    "predictor and stop-gradient, a --target-momentum nearer to 1, or a smaller --lr");
  });
  const bool due = loss_.full() && record.step >= kPatience && record.step >= steps_per_epoch_;
  const bool guessing = !top1_.full() || top1_.value() < kTimesChance * chance_.top1;
  warn_once(said_chance_, due && guessing && loss_.value() >= kAtChance * chance_.loss, [&] {
    return "warning: after " + counted(record.step, "step") + " the loss is still at its chance level (" +
           three_digits(loss_.value()) + " over the last " + std::to_string(kWindow) + " steps, chance " +
           three_digits(chance_.loss) +
           "): nothing is learned yet. Remedy: another --lr, smaller or larger, and views that show enough (see "
           "images/views.png)";
  });
  return warnings;
}

std::string batch_norm_warning(Method& method, int64_t images, int64_t splits, const std::string& size_flag) {
  const int64_t together = images / nn::split_groups(images, splits);
  if (together >= kFewestTogether) return "";
  BatchNormFinder finder;
  finder("", method);
  if (!finder.found) return "";
  const bool fewer = images >= kFewestTogether;  // fewer groups would do
  return "warning: batch norm makes its statistics of " + counted(together, "image") +
         " at a time, which are noise below " + std::to_string(kFewestTogether) + ". Remedy: " +
         (fewer ? "--bn-splits " + std::to_string(images / kFewestTogether) + " or fewer, or a larger "
                : std::string("a larger ")) +
         size_flag;
}

}  // namespace tacit::ssl
