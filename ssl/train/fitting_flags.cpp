#include "ssl/train/fitting_flags.h"

#include <algorithm>

#include "ssl/train/match_names.h"
#include "ssl/train/resize_positions.h"

namespace tacit::ssl {

namespace {

/// Null where there is none.
const Shape* first_weight(const TensorShapes& file) {
  for (const char* name : kFirstWeights)
    if (const auto found = file.find(name); found != file.end() && found->second.rank() == 4) return &found->second;
  return nullptr;
}

bool fits(nn::Encoder& encoder, const TensorShapes& file) {
  std::vector<std::string> names, in_file;
  for (const auto& [name, tensor] : nn::file_views(encoder)) {
    names.push_back(name);
    if (is_bookkeeping(name)) continue;
    const auto found = file.find(name);
    if (found == file.end() || found->second != tensor.shape()) return false;
  }
  for (const auto& entry : file) in_file.push_back(entry.first);
  return foreign_parts(match_names(in_file, names), names).empty();
}

/// `o` with what the shapes say besides the encoder's name and width.
nn::EncoderOptions as_shapes_say(nn::EncoderOptions o, const Shape& first, const TensorShapes& file) {
  o.channels = first[1];
  if (nn::is_resnet(o.name)) o.stem = first[2] == 3 ? "cifar" : "imagenet";
  if (!nn::is_vit(o.name)) return o;
  o.patch_size = first[2];
  if (const auto positions = file.find("pos_embed"); positions != file.end())
    o.image_size = position_grid(positions->second) * o.patch_size;
  if (file.count("fc_norm.weight"))
    o.pool = "mean";
  else if (o.pool == "mean")
    o.pool = "cls";
  return o;
}

std::string flags_between(const TrainConfig& config, const nn::EncoderOptions& from, const nn::EncoderOptions& to) {
  std::string flags;
  const auto add = [&](const char* flag, const auto& was, const auto& is, const std::string& text) {
    if (was != is) flags += (flags.empty() ? "--" : " --") + std::string(flag) + " " + text;
  };
  const bool vit = nn::is_vit(to.name);
  add("encoder", from.name, to.name, to.name);
  // 0 is the published width, which depends on the name.
  const auto width = [&](int64_t said) { return said > 0 ? said : nn::published_width(to.name); };
  add("encoder-width", width(from.width), to.width, std::to_string(to.width));
  if (nn::is_resnet(to.name))
    add("stem", from.stem == "auto" ? nn::default_stem(from.image_size) : from.stem, to.stem, to.stem);
  if (vit) {
    add("image-size", from.image_size, to.image_size, std::to_string(to.image_size));
    add("patch-size", from.patch_size > 0 ? from.patch_size : nn::default_patch_size(to.image_size), to.patch_size,
        std::to_string(to.patch_size));
    add("pool", from.pool, to.pool, to.pool);
  }
  // A method that shows its encoder lightness has no choice.
  if (from.channels == config.channels) add("channels", from.channels, to.channels, std::to_string(to.channels));
  return flags;
}

}  // namespace

std::string fitting_flags(const TrainConfig& config, const TensorShapes& file) {
  const Shape* const first = first_weight(file);
  if (!first) return "";
  const nn::EncoderOptions mine = config.encoder_options();
  // As published first: vit_tiny of vit_base's width is vit_base.
  std::vector<std::string> names = nn::encoder_names();
  std::stable_partition(names.begin(), names.end(),
                        [&](const std::string& name) { return nn::published_width(name) == (*first)[0]; });
  for (const std::string& name : names) {
    if (nn::is_vit(name) != (file.count("patch_embed.proj.weight") > 0)) continue;
    nn::EncoderOptions o = mine;
    o.name = name;
    o.width = (*first)[0];
    o = as_shapes_say(o, *first, file);
    try {
      nn::Encoder encoder = nn::make_encoder(o);
      if (fits(encoder, file)) return flags_between(config, mine, o);
    } catch (const Error&) {  // no such network
    }
  }
  return "";
}

}  // namespace tacit::ssl
