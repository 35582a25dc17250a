// The run directory: config.toml, metrics.jsonl, events.out.tfevents.*, checkpoints/last.safetensors, images/; and
// commands.jsonl, which the command line writes.
// The rule: an existing run is never overwritten; a resumed one is first cut back to its checkpoint's step.
#pragma once

#include <memory>
#include <string>

#include "ssl/train/picture.h"
#include "ssl/train/tfevents.h"
#include "ssl/train/trainer.h"

namespace tacit::ssl {

class RunDirectory {
 public:
  /// Checks, before any work, that `path` can become a new run (resume false) or may be one that goes on (resume true).
  /// Throws UsageError for an existing run without resume, Error for a file in the way or a place that cannot be
  /// written to. Makes nothing.
  static void check(const std::string& path, bool resume);
  /// Whether there is a run to resume: a config.toml.
  static bool has_config(const std::string& path);
  /// Whether the path is a file of some run that a resume or a command on the run needs.
  static bool owns(const std::string& path);
  /// Whether it has got as far as its first checkpoint.
  static bool has_checkpoint(const std::string& path);
  /// For a resume. A run saves before its first step; steps without a checkpoint mean that it was lost, and beginning
  /// again would overwrite them: Error.
  static void check_resumable(const std::string& path);

  /// Makes the directory (and its parents), or, for a resume, opens it; nobody else can then write to it. `fresh`: it
  /// must still be empty, as check() found it. Throws Error where it cannot be written or another process is writing to
  /// this run, UsageError where another one has begun a run there.
  explicit RunDirectory(std::string path, bool fresh = false);
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string config() const { return path_ + "/config.toml"; }
  std::string metrics() const { return path_ + "/metrics.jsonl"; }
  std::string checkpoint() const { return path_ + "/checkpoints/last.safetensors"; }
  std::string images() const { return path_ + "/images"; }

  /// Of a new run the first file, which makes it one; of a resumed run after its checkpoint was accepted.
  void write_config(const std::string& toml) const;
  /// Removes the lines and events after `step` and opens the event file; -1: all of them, also those of before the
  /// first step, for a run that begins. Call once, before log().
  void cut_to(int64_t step);
  /// One line of metrics.jsonl and one event.
  void log(const StepRecord&);
  /// images/NAME.png, which it replaces, and an event.
  void log_picture(int64_t step, const std::string& name, const ContactSheet&);
  /// An event.
  void log_histograms(int64_t step, const std::vector<std::pair<std::string, Histogram>>&);
  /// Forces the logs to the disk: a checkpoint must not be ahead of them.
  void sync() const;

 private:
  std::string path_;
  int lock_ = -1;
  std::unique_ptr<EventFile> events_;
};

/// The line of metrics.jsonl, without the line's end. Deterministic fields come in a fixed order.
std::string metrics_line(const StepRecord&);

}  // namespace tacit::ssl
