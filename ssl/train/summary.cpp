#include "ssl/train/summary.h"

#include <cmath>
#include <sstream>

#include "ssl/train/settings.h"
#include "tensor/counted.h"

namespace tacit::ssl {

namespace {

/// Three digits, or all before the point where that needs no exponent.
std::string three_significant(double value) {
  return value >= 100 && value < 1e6 ? std::to_string(std::llrint(value)) : three_digits(value);
}

std::string by_channel(const std::vector<float>& values) {
  std::string text;
  for (const float value : values) text += " " + three_significant(value);
  return text;
}

std::string data_line(const TrainConfig& config, const ImageSource& source, const ViewPolicy& policy) {
  std::ostringstream text;
  text << "data        " << counted(source.size(), "image");
  if (source.labelled()) text << " of " << counted(source.class_names().size(), "class", "classes");
  const auto [height, width] = source.image_size();
  if (height > 0)
    text << ", " << height << " x " << width;
  else
    text << ", of several sizes";
  text << ", seen at " << config.image_size << " x " << config.image_size << " x " << config.channels;
  if (policy.mean.empty())
    text << " in [0, 1]";
  else
    text << ", mean" << by_channel(policy.mean) << ", std" << by_channel(policy.std);
  return text.str();
}

/// Where the learning rate comes from.
std::string rate(const TrainConfig& config) {
  const std::string lr = "lr " + shortest(config.effective_lr());
  if (config.lr) return lr;
  return lr + " = " + shortest(config.base_lr.value_or(0)) + " x " + std::to_string(config.batch_size) + " / 256";
}

}  // namespace

std::string readable_flop(double operations) {
  for (const char* unit : {"FLOP", "kFLOP", "MFLOP", "GFLOP"}) {
    if (operations < 999.5) return three_significant(operations) + " " + unit;
    operations /= 1000;
  }
  return three_significant(operations) + " TFLOP";
}

std::vector<std::string> summary(const TrainConfig& config, const ImageSource& source, Method& method,
                                 const optim::Optimizer& optimizer, const RunPlan& plan,
                                 const std::vector<ViewPolicy>& views, const std::string& memory) {
  std::vector<std::string> lines = {data_line(config, source, views[0])};
  nn::Encoder& encoder = method.encoder();
  const double operations =
      2 * static_cast<double>(nn::multiply_adds(encoder, config.image_size, config.encoder_options().channels));
  lines.push_back("encoder     " + config.encoder + ", " + counted(encoder.parameter_count(), "parameter") + ", " +
                  counted(encoder.features(), "feature") + ", " + readable_flop(operations) + " an image");
  lines.push_back("recipe      " + config.recipe + "; " + counted(plan.epochs, "epoch") + " of " +
                  counted(plan.steps_per_epoch, "step") + ", batches of " + std::to_string(config.batch_size) + " x " +
                  counted(views.size(), "view"));
  lines.push_back("optimiser   " + config.optimizer + ", " + rate(config) + " (warm-up " +
                  counted(config.warmup_steps(plan.steps), "step") + ", then " +
                  (config.schedule == "cosine" ? "cosine to 0" : "by steps") + ")");
  std::istringstream groups(optimizer.describe());
  std::string parameters;
  for (std::string line; std::getline(groups, line);) parameters += (parameters.empty() ? "" : "; ") + line;
  lines.push_back("parameters  " + parameters);
  lines.push_back("memory      " + memory);
  std::string chance =
      "chance      a network that knows nothing has loss " + shortest(std::round(plan.chance.loss * 100) / 100);
  if (plan.chance.top1 > 0) chance += " and accuracy " + shortest(std::round(plan.chance.top1 * 1e4) / 100) + " %";
  lines.push_back(chance);
  return lines;
}

}  // namespace tacit::ssl
