#include "cli/report/evaluation.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
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

}  // namespace

json read_evaluation(const std::string& run) {
  const std::string file = run + "/evaluation.json";
  if (!std::filesystem::exists(file)) return {};
  json evaluation = json::parse(read_file(file), nullptr, false);
  TACIT_CHECK(is_evaluation(evaluation), file, " is not what tacit evaluate wrote; run it again");
  return evaluation;
}

}  // namespace tacit::cli
