#include "ssl/train/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tensor/safetensors.h"

namespace tacit::ssl {

namespace {

using Metadata = std::map<std::string, std::string>;
constexpr const char *kModel = "model.", *kOptimizer = "optim.";

std::string numbers(const std::vector<float>& values) {
  nlohmann::json list = nlohmann::json::array();
  for (const float v : values) list.push_back(v);
  return list.dump();
}

Metadata to_metadata(const CheckpointInfo& info) {
  TrainConfig config = info.config;
  Metadata metadata = {{"tacit_checkpoint_format", std::to_string(kCheckpointFormat)},
                       {"method", config.method},
                       {"step", std::to_string(info.step)},
                       {"epoch", std::to_string(info.epoch())},
                       {"position", std::to_string(info.position())},
                       {"steps_per_epoch", std::to_string(info.steps_per_epoch)},
                       {"images", std::to_string(info.images)},
                       {"mean", numbers(info.mean)},
                       {"std", numbers(info.std)},
                       {"config", settings_of(config).toml(true)},
                       {kDataChecksum, ""}};  // the writer fills it in
  if (!info.fingerprint.empty()) metadata["data_fingerprint"] = info.fingerprint;
  if (!info.damaged.empty()) metadata["damaged"] = nlohmann::json(info.damaged).dump();
  return metadata;
}

const std::string& entry(const Metadata& metadata, const std::string& path, const std::string& key) {
  const auto found = metadata.find(key);
  TACIT_CHECK(found != metadata.end(), path, " is damaged: its metadata has no '", key, "'");
  return found->second;
}

int64_t integer(const Metadata& metadata, const std::string& path, const std::string& key, int64_t lowest) {
  const std::string& text = entry(metadata, path, key);
  const nlohmann::json value = nlohmann::json::parse(text, nullptr, false);
  TACIT_CHECK(value.is_number_integer() && value.get<int64_t>() >= lowest, path, " is damaged: '", key, "' is '", text,
              "'");
  return value.get<int64_t>();
}

std::vector<float> floats(const Metadata& metadata, const std::string& path, const std::string& key) {
  const std::string& text = entry(metadata, path, key);
  const nlohmann::json list = nlohmann::json::parse(text, nullptr, false);
  TACIT_CHECK(list.is_array(), path, " is damaged: '", key, "' is '", text, "'");
  std::vector<float> values;
  for (const nlohmann::json& v : list) {
    TACIT_CHECK(v.is_number(), path, " is damaged: '", key, "' is '", text, "'");
    values.push_back(v.get<float>());
  }
  return values;
}

std::vector<int64_t> indices(const Metadata& metadata, const std::string& path, const std::string& key, int64_t below) {
  const std::string& text = entry(metadata, path, key);
  const nlohmann::json list = nlohmann::json::parse(text, nullptr, false);
  const auto good = [&](const nlohmann::json& v) {
    return v.is_number_unsigned() && v.get<uint64_t>() < static_cast<uint64_t>(below);
  };
  TACIT_CHECK(list.is_array() && std::all_of(list.begin(), list.end(), good), path, " is damaged: '", key, "' is '",
              text, "'");
  return list.get<std::vector<int64_t>>();
}

CheckpointInfo from_metadata(const Metadata& metadata, const std::string& path) {
  TACIT_CHECK(metadata.count("tacit_checkpoint_format"), path,
              " is not a tacit checkpoint (its metadata has no tacit_checkpoint_format)");
  const int64_t format = integer(metadata, path, "tacit_checkpoint_format", 1);
  TACIT_CHECK(format <= kCheckpointFormat, path, " has checkpoint format ", format, ", this tacit reads up to format ",
              kCheckpointFormat, "; use a newer tacit");
  CheckpointInfo info;
  try {
    settings_of(info.config).apply_toml(entry(metadata, path, "config"), "config");
  } catch (const UsageError& e) {  // a damaged file, not a wrong flag
    TACIT_CHECK(false, path, " is damaged: ", e.what());
  }
  info.step = integer(metadata, path, "step", 0);
  info.steps_per_epoch = integer(metadata, path, "steps_per_epoch", 1);
  info.images = integer(metadata, path, "images", 0);
  if (metadata.count("data_fingerprint")) info.fingerprint = metadata.at("data_fingerprint");
  if (metadata.count("damaged")) info.damaged = indices(metadata, path, "damaged", info.images);
  info.mean = floats(metadata, path, "mean");
  info.std = floats(metadata, path, "std");
  return info;
}

/// The first tensor with a value that is not finite, with that value; "" where all are.
std::string not_finite(const nn::StateDict& tensors) {
  for (const auto& tensor : tensors) {
    if (tensor.second.dtype() != f32) continue;
    for (const float v : tensor.second.to_vector<float>())
      if (!std::isfinite(v)) return tensor.first + " (" + shortest(static_cast<double>(v)) + ")";
  }
  return "";
}

}  // namespace

void check_finite(const std::string& file, const nn::StateDict& tensors) {
  const std::string fault = not_finite(tensors);
  TACIT_CHECK(fault.empty(), file, " holds a weight that is not a finite number: ", fault,
              "; such a network gives no features");
}

void save_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  // A weight that is not finite must never replace a good checkpoint.
  const std::string fault = not_finite(checkpoint.model);
  TACIT_CHECK(fault.empty(), "not saving ", path, ": a weight is no longer a finite number: ", fault,
              "; the last checkpoint is kept. Begin another run with a smaller --lr");
  SafeTensors file;
  file.metadata = to_metadata(checkpoint.info);
  for (const auto& tensor : checkpoint.model) file.tensors[kModel + tensor.first] = tensor.second;
  for (const auto& tensor : checkpoint.optimizer) file.tensors[kOptimizer + tensor.first] = tensor.second;
  write_safetensors(path, file);
}

Checkpoint load_checkpoint(const std::string& path) {
  // The format first: a newer file may hold what this version's reader refuses.
  Checkpoint checkpoint{load_checkpoint_info(path), {}, {}};
  for (auto& tensor : read_safetensors(path).tensors) {
    const bool model = tensor.first.rfind(kModel, 0) == 0;
    TACIT_CHECK(model || tensor.first.rfind(kOptimizer, 0) == 0, path, " is damaged: unexpected tensor ", tensor.first);
    const size_t prefix = std::char_traits<char>::length(model ? kModel : kOptimizer);
    (model ? checkpoint.model : checkpoint.optimizer)[tensor.first.substr(prefix)] = tensor.second;
  }
  check_finite(path, checkpoint.model);
  return checkpoint;
}

CheckpointInfo load_checkpoint_info(const std::string& path) {
  Metadata metadata;
  list_safetensors(path, &metadata);
  return from_metadata(metadata, path);
}

std::string checkpoint_path(const std::string& run) {
  namespace fs = std::filesystem;
  TACIT_CHECK(fs::exists(run), "there is no run directory or checkpoint ", run);
  if (!fs::is_directory(run)) return run;
  std::string path = run + "/checkpoints/last.safetensors";
  TACIT_CHECK(fs::exists(path), run, " has no checkpoint (", path, ")");
  return path;
}

}  // namespace tacit::ssl
