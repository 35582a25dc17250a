// TensorBoard event files (tensorboard/compat/proto/event.proto, summary.proto; records as in TFRecord): scalars,
// pictures and histograms. The rule: every record is written at once, so that a killed run keeps its curve.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ssl/train/histogram.h"

namespace tacit::ssl {

/// CRC-32C (Castagnoli), as the record format masks it.
uint32_t masked_crc32c(const std::string& bytes);

/// A picture as it stands in a record.
struct EventImage {
  int64_t height = 0, width = 0;
  int64_t colorspace = 3;  ///< 1 gray, 3 RGB, 4 RGBA
  std::string png;         ///< the bytes of a PNG file
};

class EventFile {
 public:
  /// Makes `directory`/events.out.tfevents.<time>.<host>.<pid>.0, or goes on with the newest one that is there.
  /// Throws Error when it cannot be written.
  explicit EventFile(const std::string& directory);
  /// One record with several scalars of one step. Throws Error when the disk is full.
  void add(int64_t step, const std::vector<std::pair<std::string, double>>& scalars);
  /// The same with one picture, and with several histograms.
  void add_image(int64_t step, const std::string& tag, const EventImage&);
  void add_histograms(int64_t step, const std::vector<std::pair<std::string, Histogram>>& histograms);
  const std::string& path() const { return path_; }

 private:
  void add_summary(int64_t step, const std::string& summary);
  std::string path_;
};

/// Removes every record after `step`, and whatever a killed process left half-written, from the directory's event
/// files.
void cut_events(const std::string& directory, int64_t step);

/// What an event file holds, in order; stops at the first damaged record.
struct EventValue {
  int64_t step = 0;
  std::string tag;
  double value = 0;  ///< of a scalar: where there is neither of these
  std::optional<EventImage> image = {};
  std::optional<Histogram> histogram = {};
};
std::vector<EventValue> read_events(const std::string& path);

}  // namespace tacit::ssl
