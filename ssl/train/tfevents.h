// TensorBoard event files (tensorboard/compat/proto/event.proto, summary.proto; records as in TFRecord): scalars only.
// The rule: every record is written at once, so that a killed run keeps its curve.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tacit::ssl {

/// CRC-32C (Castagnoli), as the record format masks it.
uint32_t masked_crc32c(const std::string& bytes);

class EventFile {
 public:
  /// Makes `directory`/events.out.tfevents.<time>.<host>.<pid>.0, or goes on with the newest one that is there.
  /// Throws Error when it cannot be written.
  explicit EventFile(const std::string& directory);
  /// One record with several scalars of one step. Throws Error when the disk is full.
  void add(int64_t step, const std::vector<std::pair<std::string, double>>& scalars);
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Removes every record after `step`, and whatever a killed process left half-written, from the directory's event
/// files.
void cut_events(const std::string& directory, int64_t step);

/// What an event file holds, in order; stops at the first damaged record.
struct EventScalar {
  int64_t step = 0;
  std::string tag;
  double value = 0;
};
std::vector<EventScalar> read_events(const std::string& path);

}  // namespace tacit::ssl
