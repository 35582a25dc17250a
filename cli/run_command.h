// What the commands on a trained run share: RUN, the data flags, and opening both.
#pragma once

#include <set>

#include "cli/command.h"
#include "ssl/train/build.h"

namespace tacit::cli {

struct TrainAndTest {
  ssl::ImageSourcePtr train, test;
};

/// --data and what goes with it.
struct DataArguments {
  std::vector<std::string> data;
  std::string test_data;
  int64_t limit = 0, max_pixels = 64'000'000;
  double max_damaged = ssl::kMaxDamaged;
  std::string cache;
  int64_t image_size = 0;  ///< of the views, which --cache depends on; set when the run has been read
  bool no_labels = false;

  void add(Settings&);
  /// Opens a split without its damaged files; notes go to stderr. Throws Error for an empty split.
  ssl::ImageSourcePtr open(ssl::Split, const Common&) const;
  /// The same; Error naming the flag where an image of it has no label.
  ssl::ImageSourcePtr open_labelled(ssl::Split, const Common&) const;
  /// Both splits, labelled; a warning where test images are training images.
  TrainAndTest open_train_and_test(const Common&) const;

 private:
  mutable std::set<std::string> told_;  // two splits of one data set may have the same note
};

/// A command whose first argument is RUN, a run directory or a checkpoint file.
class RunCommand : public Command {
 public:
  std::vector<Positional> arguments() override {
    return {{"run", "RUN", "a run directory or a checkpoint file", &run_path_}};
  }
  void settings(Settings& settings) override {
    settings_ = &settings;
    if (needs_data()) data_.add(settings);
    own_settings(settings);
    add_common(settings);
  }
  void check() const final;
  int run() override;

 protected:
  /// The command's flags beyond the data's and the common ones.
  virtual void own_settings(Settings&) {}
  /// The part of check() that is the command's own.
  virtual void check_own() const {}
  /// The work, with the model loaded.
  virtual int run_on(ssl::Pretrained&) = 0;
  /// Whether it has --data and what goes with it.
  virtual bool needs_data() const { return true; }

  /// Refuses where the run's encoder on a batch of images, and this many f32 values with working copies of them, would
  /// exceed the memory limit.
  void check_memory(const ssl::Pretrained&, int64_t values) const;
  /// --k as it is, where there are so many training images; all of them where k is only the default (with a note), else
  /// an Error.
  int64_t possible_k(int64_t k, int64_t train_images) const;
  /// A file in the run directory (or beside the checkpoint, if RUN is a file).
  std::string beside_run(const std::string& file) const;

  /// Whether the user gave this flag, here or in --config.
  bool said(const char* flag) const { return settings_ && settings_->said(flag); }
  /// Whether it stood on the command line. Only there is a flag without effect a mistake: a file may name every
  /// setting.
  bool flagged(const char* flag) const { return settings_ && settings_->flagged(flag); }

  std::string run_path_;
  DataArguments data_;

 private:
  const Settings* settings_ = nullptr;  // main.cpp's, which outlives the command's run
};

/// `count` images of a split, or all if there are fewer, that differ in class where there are classes: the first of
/// each class, then the second, …
ssl::ImageSourcePtr varied(const ssl::ImageSourcePtr&, int64_t count);

/// Throws UsageError unless low <= value <= high.
void check_flag(const char* flag, double value, double low, double high);

}  // namespace tacit::cli
