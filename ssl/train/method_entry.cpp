#include "ssl/train/method_entry.h"

#include <algorithm>
#include <map>

#include "ssl/train/check.h"

namespace tacit::ssl {

namespace {

// The only list of methods.
const std::vector<MethodEntry>& entries() {
  static const std::vector<MethodEntry> all = {simclr_entry(),   moco_entry(),   byol_entry(),        mae_entry(),
                                               rotation_entry(), jigsaw_entry(), colorization_entry()};
  return all;
}

void add_once(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

}  // namespace

std::span<const MethodEntry> method_entries() { return entries(); }

const MethodEntry& method_entry(const std::string& name) {
  for (const MethodEntry& entry : entries())
    if (name == entry.name) return entry;
  throw UsageError("unknown method '" + name + "'; there are: " + join(method_names()));
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const MethodEntry& entry : entries()) names.emplace_back(entry.name);
  return names;
}

const Recipe& recipe_of(const TrainConfig& config, const std::string& name) {
  const MethodEntry& entry = method_entry(config.method);
  std::vector<std::string> known;
  for (const Recipe& recipe : entry.recipes) {
    if (name == recipe.name) return recipe;
    known.emplace_back(recipe.name);
  }
  throw UsageError("--recipe: '" + name + "' is no recipe of " + config.method + "; there are: " + join(known));
}

void apply_recipe(TrainConfig& config, const std::string& name) {
  recipe_of(config, name).apply(config);
  config.recipe = name;
}

std::vector<std::string> set_by_recipes() {
  std::vector<std::string> names;
  TrainConfig config;
  const Settings settings = settings_of(config);
  std::map<std::string, std::string> first;
  for (const MethodEntry& entry : entries())
    for (const Recipe& recipe : entry.recipes) {
      config = TrainConfig();
      recipe.apply(config);
      for (const Settings::Setting& setting : settings.all()) {
        const std::string value = settings.value(setting.name);
        if (first.emplace(setting.name, value).first->second != value) add_once(names, setting.name);
      }
    }
  return names;
}

std::string default_recipe(int64_t image_size) {
  return image_size > 0 && image_size <= 64 ? "small-images" : "folder";
}

}  // namespace tacit::ssl
