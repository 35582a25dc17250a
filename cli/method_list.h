// What `pretrain METHOD` and `augment METHOD` share: the list of methods and their settings for --help.
#pragma once

#include "ssl/train/method_entry.h"

namespace tacit::cli {

/// One line a method.
inline std::string method_list(const std::string& indent = "") {
  std::string text;
  for (const ssl::MethodEntry& entry : ssl::method_entries())
    text += (text.empty() ? "" : "\n") + indent + entry.name + ": " + entry.summary;
  return text;
}

/// Every setting of every method; help says which defaults the recipe decides.
inline ssl::Settings method_settings(ssl::TrainConfig& config) {
  ssl::Settings settings = ssl::settings_of(config);
  for (const std::string& name : ssl::set_by_recipes()) settings.show_default(name, "the recipe's");
  return settings;
}

}  // namespace tacit::cli
