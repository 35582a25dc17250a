#include "ssl/train/build.h"

#include "optim/adamw.h"
#include "optim/lars.h"
#include "optim/schedule.h"
#include "optim/sgd.h"
#include "ssl/train/method_entry.h"

namespace tacit::ssl {

PlainViews plain_views(const TrainConfig& config, const std::vector<float>& mean, const std::vector<float>& std) {
  PlainViews views;
  views.normalisation.mean = mean;
  views.normalisation.std = std;
  views.normalisation.lightness = method_entry(config.method).lightness;
  views.image_size = config.image_size;
  views.channels = config.encoder_options().channels;
  return views;
}

PlainViews method_views(const TrainConfig& config, PlainViews views) {
  views.normalisation.lightness = false;
  views.channels = config.channels;
  return views;
}

std::unique_ptr<Method> make_method(const TrainConfig& config) {
  TACIT_CHECK(config.image_size > 0 && config.channels > 0, "[method] the image size and channels are not resolved");
  return method_entry(config.method).make(config);
}

std::unique_ptr<optim::Optimizer> make_optimizer(const TrainConfig& config, nn::Module& model) {
  std::vector<optim::ParamGroup> groups = config.decay_all ? optim::single_group(model, config.weight_decay)
                                                           : optim::default_groups(model, config.weight_decay);
  if (config.optimizer == "lars")
    return std::make_unique<optim::LARS>(std::move(groups),
                                         optim::LARSOptions{.lr = config.effective_lr(),
                                                            .momentum = config.sgd_momentum,
                                                            .eta = config.trust_coefficient,
                                                            .lr_in_buffer = config.lars_variant == "simclr"});
  if (config.optimizer == "sgd")
    return std::make_unique<optim::SGD>(
        std::move(groups),
        optim::SGDOptions{.lr = config.effective_lr(), .momentum = config.sgd_momentum, .nesterov = config.nesterov});
  return std::make_unique<optim::AdamW>(std::move(groups),
                                        optim::AdamWOptions{.lr = config.effective_lr(), .beta2 = config.beta2});
}

std::function<double(int64_t)> make_schedule(const TrainConfig& config, int64_t steps) {
  const double lr = config.effective_lr();
  const int64_t warmup = config.warmup_steps(steps), per_epoch = steps / config.epochs;
  if (config.schedule == "cosine") return [=](int64_t step) { return optim::warmup_cosine(step, warmup, steps, lr); };
  std::vector<int64_t> drops;
  for (const int64_t epoch : config.lr_drop_epochs) drops.push_back(epoch * per_epoch);
  return [=, factor = config.lr_drop_factor](int64_t step) {
    return optim::warmup_steps(step, warmup, drops, factor, lr);
  };
}

ShownViews shown_views(const TrainConfig& config) {
  const auto shown = method_entry(config.method).shown;
  return shown ? shown(config) : ShownViews{};
}

Pretrained load_pretrained(const std::string& run) {
  const std::string path = checkpoint_path(run);
  Checkpoint checkpoint = load_checkpoint(path);
  Pretrained loaded;
  loaded.info = checkpoint.info;
  try {
    loaded.method = make_method(checkpoint.info.config);
  } catch (const std::exception& e) {  // a UsageError too: no flag of this command is at fault
    throw Error(path + ": " + e.what());
  }
  try {
    nn::load_state(*loaded.method, checkpoint.model);
  } catch (const Error& e) {
    throw Error(path + ": its weights are not those of " + checkpoint.info.config.method + " with " +
                checkpoint.info.config.encoder + ", which it says to be: " + e.what());
  }
  loaded.views = plain_views(loaded.info.config, loaded.info.mean, loaded.info.std);
  loaded.method_views = method_views(loaded.info.config, loaded.views);
  return loaded;
}

}  // namespace tacit::ssl
