#include "cli/report/evaluation.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "tensor/error.h"
#include "tensor/join.h"
#include "tensor/read_file.h"

namespace tacit::cli {

using nlohmann::json;

namespace {

/// Whether all of these are figures: numbers, or null where the data did not allow one.
bool has_figures(const json& object, std::initializer_list<const char*> keys) {
  return object.is_object() && std::all_of(keys.begin(), keys.end(), [&](const char* key) {
           return object.contains(key) && (object[key].is_number() || object[key].is_null());
         });
}

/// Whether it has the figures that the page draws.
bool is_evaluation(const json& e) {
  if (!e.is_object() || !e.contains("label_efficiency") || !e["label_efficiency"].is_array()) return false;
  for (const char* key : {"knn", "linear"})
    if (!e.contains(key) || !has_figures(e[key], {"pixels", "random", "run"})) return false;
  for (const json& point : e["label_efficiency"])
    if (!has_figures(point, {"labels_per_class", "mean", "std"}) || !point["labels_per_class"].is_number() ||
        !point.contains("method") || !point["method"].is_string())
      return false;
  return true;
}

/// A value of this key; null where it is missing or of another type.
template <class T>
std::optional<T> value(const json& object, const char* key) {
  if (!object.contains(key)) return {};
  try {
    return object[key].get<T>();
  } catch (const json::exception&) {
    return {};
  }
}

/// Whether it is known to be of other training images. Known only where the run took the same part of its data, whole.
bool of_other_images(const json& evaluation, const ssl::CheckpointInfo& run) {
  const auto fingerprint = value<std::string>(evaluation, "fingerprint");
  return fingerprint && !run.fingerprint.empty() && *fingerprint != run.fingerprint && run.damaged.empty() &&
         run.config.split == "train" && value<int64_t>(evaluation, "limit") == run.config.limit;
}

/// What makes two untrained encoders the same network, in words.
std::string encoder_text(const ssl::TrainConfig& config) {
  const nn::EncoderOptions options = config.encoder_options();
  std::string text = options.name;
  if (options.width > 0) text += ", width " + std::to_string(options.width);
  if (options.patch_size > 0) text += ", patches of " + std::to_string(options.patch_size);
  if (options.stem != "auto") text += ", stem " + options.stem;
  if (options.pool != "cls") text += ", pool " + options.pool;
  return text + ", " + std::to_string(options.image_size) + " x " + std::to_string(options.image_size) + " x " +
         std::to_string(options.channels);
}

}  // namespace

json read_evaluation(const std::string& run) {
  const std::string file = run + "/evaluation.json";
  if (!std::filesystem::exists(file)) return {};
  json evaluation = json::parse(read_file(file), nullptr, false);
  TACIT_CHECK(is_evaluation(evaluation), file, " is not what tacit evaluate wrote; run it again");
  return evaluation;
}

json evaluated(const json& evaluation, const ssl::CheckpointInfo& run) {
  if (evaluation.is_null()) return {};
  const auto step = value<int64_t>(evaluation, "step"), seed = value<int64_t>(evaluation, "seed");
  const auto data = value<std::vector<std::string>>(evaluation, "data");
  const std::string now = std::to_string(run.step), then = step ? std::to_string(*step) : "unknown";
  std::string at = "step " + then + (step ? " of " + now : "");
  if (data) at += ", " + join(*data);
  if (const auto feature = value<std::string>(evaluation, "feature"); feature && *feature != "encoder")
    at += ", features of " + *feature;
  if (seed) at += ", seed " + std::to_string(*seed);
  const bool stale = step && *step != run.step;
  json warnings = json::array();
  if (stale)
    warnings.push_back("the evaluation is of step " + then + ", the run is at step " + now +
                       "; tacit evaluate makes it again");
  if (of_other_images(evaluation, run))
    warnings.push_back(
        "the evaluation is of other images than the run learned from; it says how far the features carry over");
  const auto train = value<std::string>(evaluation, "fingerprint"),
             test = value<std::string>(evaluation, "test_fingerprint");
  return {{"at", at},
          {"stale", stale},
          {"warnings", warnings},
          {"encoder", encoder_text(run.config)},
          {"images", train && test ? json(*train + "/" + *test) : json()}};
}

}  // namespace tacit::cli
