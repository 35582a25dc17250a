#include "ssl/train/resolve.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "ssl/train/method_entry.h"
#include "ssl/train/run_directory.h"
#include "tensor/counted.h"
#include "tensor/read_file.h"

namespace tacit::ssl {

namespace {

constexpr int64_t kLargestDefault = 64;  // of --image-size, where data and recipe leave the choice

/// Flags of some optimisers only, and the names of these.
const std::pair<std::string, std::string> kOptimizerFlags[] = {
    {"sgd-momentum", "sgd and lars"}, {"beta2", "adamw"}, {"lars-variant", "lars"}, {"trust-coefficient", "lars"}};

Settings apply_layers(TrainConfig& config, const ConfigLayers& layers) {
  Settings settings = settings_of(config);
  settings.apply_toml(layers.toml, layers.toml_file);
  settings.apply(layers.flags);
  settings.check_known_to_method();
  return settings;
}

double to_three_digits(double value) { return std::strtod(three_digits(value).c_str(), nullptr); }

/// A recipe's drops of the learning rate keep their place in a schedule of another length, and its warm-up its part of
/// a shorter one; so that --epochs alone is never a mistake.
void scale_schedule(TrainConfig& config, const Settings& settings, int64_t recipe_epochs) {
  if (config.epochs < 1 || config.epochs > kMostEpochs || config.epochs == recipe_epochs) return;
  if (!settings.said("lr-drop-epochs")) {
    std::vector<int64_t> scaled;
    for (const int64_t epoch : config.lr_drop_epochs) {
      const int64_t at = std::max<int64_t>(1, epoch * config.epochs / recipe_epochs);
      if (scaled.empty() || at > scaled.back()) scaled.push_back(at);
    }
    config.lr_drop_epochs = scaled;
  }
  if (config.warmup_epochs && !settings.said("warmup-epochs") && config.epochs < recipe_epochs)
    config.warmup_epochs = to_three_digits(*config.warmup_epochs * static_cast<double>(config.epochs) /
                                           static_cast<double>(recipe_epochs));
}

}  // namespace

TrainConfig without_defaults(const ConfigLayers& layers) {
  TrainConfig said;
  apply_layers(said, layers);
  return said;
}

TrainConfig resolve(const ConfigLayers& layers, int64_t data_image_size) {
  const TrainConfig said = without_defaults(layers);
  TrainConfig config;
  config.method = said.method;
  const int64_t size = said.image_size != 0 ? said.image_size : data_image_size;
  // Photographs stay photographs, perhaps few, at whatever --image-size they are seen.
  const std::string chosen = default_recipe(data_image_size == 0 ? 0 : std::max(size, data_image_size));
  apply_recipe(config, said.recipe.empty() ? chosen : said.recipe);
  const int64_t recipe_epochs = config.epochs;
  const Settings settings = apply_layers(config, layers);
  settings.check_used();
  scale_schedule(config, settings, recipe_epochs);
  if (config.recipe.empty()) config.recipe = chosen;
  // A recipe's patch is for its usual images; others get the default.
  const int64_t seen = config.image_size > 0 ? config.image_size : std::min(size, kLargestDefault);
  if (config.patch_size > 0 && seen % config.patch_size != 0 && !settings.said("patch-size")) config.patch_size = 0;
  if (const auto settle = method_entry(config.method).settle) settle(config);
  TrainConfig certain = config;
  if (said.recipe.empty() && size == 0) certain.image_size = 0;  // the recipe, and with it the size, is only a guess
  validate(certain);
  // On the command line only: a file from --print-config names every setting.
  for (const auto& flag : layers.flags)
    for (const auto& [name, users] : kOptimizerFlags)
      if (flag.first == name && users.find(config.optimizer) == std::string::npos)
        throw UsageError("--" + name + " is of --optimizer " + users + "; this run's is " + config.optimizer);
  return config;
}

TrainConfig resolve_unseen(const ConfigLayers& layers) {
  try {
    return resolve(layers, 0);
  } catch (const UsageError&) {
    if (!without_defaults(layers).recipe.empty()) throw;
    constexpr int64_t kSmall = 32;  // any side that has another recipe
    return resolve(layers, kSmall);
  }
}

TrainConfig resolve_for(const ConfigLayers& layers, const ImageSource& source) {
  try {
    return resolve(layers, natural_size(source));
  } catch (const UsageError& e) {
    throw Error(e.what() + std::string("; the data's images decided what the flags did not"));
  }
}

TrainConfig resolve_resume(const std::string& run, const ConfigLayers& layers) {
  const std::string file = run + "/config.toml";
  TrainConfig stored;
  settings_of(stored).apply_toml(read_file(file), file);
  TrainConfig config = stored;
  const Settings settings = apply_layers(config, layers);
  const std::string difference = first_difference(stored, config, true);
  if (!difference.empty()) throw UsageError("--resume cannot change " + difference + " (the first is " + file + "'s)");
  settings.check_used();
  validate(config);
  return config;
}

std::string first_difference(const TrainConfig& before, const TrainConfig& after, bool places) {
  TrainConfig a = before, b = after;
  const Settings left = settings_of(a), right = settings_of(b);
  for (const Settings::Setting& setting : left.all()) {
    if (setting.effect != Effect::Trajectory && !(setting.effect == Effect::Place && places)) continue;
    if (!left.in_use(setting) && !right.in_use(setting)) continue;
    const std::string was = left.value(setting.name), is = right.value(setting.name);
    if (was != is) return "--" + setting.name + " from " + was + " to " + is;
  }
  return "";
}

ImageSourcePtr open_training_data(const TrainConfig& config, std::vector<std::string>* notes) {
  ImageSourcePtr source = open_data(config.data, parse_split(config.split), config.data_options(), notes);
  TACIT_CHECK(source->size() > 0, "--data ", config.data[0], " has no images in its ", config.split, " split");
  return source;
}

ImageSourcePtr with_cache(const TrainConfig& config, ImageSourcePtr source, std::vector<std::string>* notes,
                          const ImageProgress& progress) {
  if (config.cache.empty()) return source;
  return cached(std::move(source), config.cache, parse_split(config.split), config.image_size, notes, progress);
}

int64_t natural_size(const ImageSource& source) {
  const std::pair<int64_t, int64_t> size = source.image_size();
  return std::min(size.first, size.second);
}

void take_size_from(TrainConfig& config, const ImageSource& source) {
  const int64_t natural = natural_size(source);
  if (config.image_size == 0) config.image_size = natural > 0 ? std::min(natural, kLargestDefault) : kLargestDefault;
  if (config.channels == 0) config.channels = source.channels();
  try {
    validate(config);
  } catch (const UsageError& e) {  // the flags alone were in order
    throw Error(e.what() + std::string("; the data's images decided what the flags did not"));
  }
}

void fit_batch(TrainConfig& config, const ConfigLayers& layers, int64_t images, std::vector<std::string>* notes) {
  if (config.batch_size <= images) return;
  TrainConfig layered;
  const Settings said = apply_layers(layered, layers);
  if (said.said("batch-size")) return;
  TrainConfig fitting = config;
  const auto fits = [&](int64_t batch) {
    fitting.batch_size = batch;
    try {
      validate(fitting);
    } catch (const UsageError&) {  // MoCo's queue, chunks, groups of batch norm
      return false;
    }
    return true;
  };
  int64_t batch = images / 8 * 8;
  while (batch > 0 && !fits(batch)) batch -= 8;
  if (batch == 0)
    for (batch = images; batch > 0 && !fits(batch);) --batch;
  if (batch == 0) return;
  const double ratio = static_cast<double>(batch) / static_cast<double>(config.batch_size);
  if (fitting.lr && !said.said("lr"))
    fitting.lr = to_three_digits(*fitting.lr * (fitting.optimizer == "adamw" ? std::sqrt(ratio) : ratio));
  if (notes)
    notes->push_back("the data has " + counted(images, "image") + ", fewer than a batch of recipe " + config.recipe +
                     ", " + std::to_string(config.batch_size) + ": --batch-size is " + std::to_string(batch) + ", lr " +
                     shortest(fitting.effective_lr()));
  config = fitting;
}

}  // namespace tacit::ssl
