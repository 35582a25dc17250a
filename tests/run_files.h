// What a run directory holds, without what differs from run to run: for tests that two runs are the same.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "process.h"
#include "ssl/train/tfevents.h"

namespace tacit::testing {

/// metrics.jsonl without the fields that are timing.
inline std::string deterministic_metrics(const std::string& run) {
  std::istringstream lines(read_file(run + "/metrics.jsonl"));
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    nlohmann::ordered_json object = nlohmann::ordered_json::parse(line);
    object.erase("images_per_second");
    object.erase("loader_wait");
    text += object.dump() + "\n";
  }
  return text;
}

/// A run's only event file.
inline std::vector<ssl::EventValue> events_of(const std::string& run) {
  for (const auto& entry : std::filesystem::directory_iterator(run))
    if (entry.path().filename().string().starts_with("events.out.tfevents."))
      return ssl::read_events(entry.path().string());
  return {};
}

/// The events, a line each, pictures and histograms whole.
inline std::string deterministic_events(const std::string& run) {
  std::ostringstream text;
  text.precision(17);
  for (const ssl::EventValue& event : events_of(run)) {
    if (event.tag == "images_per_second") continue;
    text << event.step << " " << event.tag << " " << event.value;
    if (event.image) text << " " << event.image->png;
    if (event.histogram) {
      text << " " << event.histogram->sum;
      for (const double limit : event.histogram->limits) text << " " << limit;
      for (const double count : event.histogram->counts) text << " " << count;
    }
    text << "\n";
  }
  return text.str();
}

inline std::string checkpoint_bytes(const std::string& run) { return read_file(run + "/checkpoints/last.safetensors"); }

}  // namespace tacit::testing
