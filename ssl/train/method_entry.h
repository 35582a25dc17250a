// MethodEntry: a pre-training method as the command line knows it: its own settings, their checks, its recipes, and how
// it is made from a configuration.
// The rule: a method's file in entries/ is the only place that knows all of these; the list is in method_entry.cpp.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ssl/data/image_source.h"
#include "ssl/methods/method.h"
#include "ssl/train/config.h"
#include "ssl/train/picture.h"

namespace tacit::ssl {

/// A named set of defaults. Recipes of one name, for different methods, are for one kind of data.
struct Recipe {
  const char *name, *summary;
  void (*apply)(TrainConfig&);
};

struct MethodEntry {
  const char *name, *summary;
  /// Views of one image that loss() takes.
  int64_t views;
  /// Adds the settings that this method knows beyond those of every method (Settings::add_for).
  void (*add_settings)(Settings&, TrainConfig&);
  /// Refuses values out of range and contradictions among them, by UsageError. May be null.
  void (*check)(const TrainConfig&);
  /// image_size and channels are resolved.
  std::unique_ptr<Method> (*make)(const TrainConfig&);
  std::vector<Recipe> recipes;
  /// Flags of its own that suit a folder of photographs: an example under --help. "": none.
  const char* example = "";
  /// Its views are RGB in [0, 1], of which the encoder sees one channel, the lightness: (L - 50) / 50.
  bool lightness = false;
  /// How its network is shown views, for people. Null: as they are.
  ShownViews (*shown)(const TrainConfig&) = nullptr;
  /// Refuses images that it can learn nothing from, by Error. Null: none are.
  void (*check_images)(const TrainConfig&, const ImageSource&) = nullptr;
  /// Decides what nobody has said, from what was; so that a run's configuration holds it. May be null.
  void (*settle)(TrainConfig&) = nullptr;
  /// Its frozen features say little of what it learned; fine-tuning beside training from scratch does.
  bool judged_by_finetuning = false;
};

/// Throws UsageError listing the known ones.
const MethodEntry& method_entry(const std::string& name);
/// All of them, in the order of --help.
std::span<const MethodEntry> method_entries();
/// Their names.
std::vector<std::string> method_names();

/// The recipe of that name of config's method. Throws UsageError listing those there are.
const Recipe& recipe_of(const TrainConfig& config, const std::string& name);
/// Overwrites what the recipe sets.
void apply_recipe(TrainConfig&, const std::string& name);
/// The settings that recipes differ in, whose default thus depends on the recipe.
std::vector<std::string> set_by_recipes();
/// The recipe for images of this size (their shorter side, or the larger one that they are seen at; 0: sizes vary):
/// "small-images" up to 64 pixels, else "folder".
std::string default_recipe(int64_t image_size);

// The entries, one file each in entries/.
MethodEntry simclr_entry();
MethodEntry moco_entry();
MethodEntry byol_entry();
MethodEntry mae_entry();
MethodEntry rotation_entry();
MethodEntry jigsaw_entry();
MethodEntry colorization_entry();

}  // namespace tacit::ssl
