// Progress of a training run on stderr: one refreshed line on a terminal, else a line per epoch or half a minute. Its
// loss is the mean of the epoch's steps so far, other figures are of the last step, speeds since the line before.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "ssl/train/pretrain.h"

namespace tacit::cli {

class Progress {
 public:
  /// quiet: shows nothing at all.
  explicit Progress(bool quiet);
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void begin(const ssl::RunPlan&);
  void step(const ssl::StepRecord&);
  /// Ends the refreshed line.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  void show(const ssl::StepRecord&);

  bool quiet_, terminal_, open_ = false;
  ssl::RunPlan plan_;
  Clock::time_point shown_, began_;
  // Since the line before.
  double seconds_ = 0, waited_ = 0;
  int64_t images_ = 0;
};

/// The same of work on a number of images: "cache 512/60000  850 images/s  left 1:10". Where stderr is no terminal, a
/// line per half a minute, and one at the end.
class ImagesProgress {
 public:
  ImagesProgress(std::string what, bool quiet);
  ~ImagesProgress() { finish(); }
  ImagesProgress(const ImagesProgress&) = delete;
  ImagesProgress& operator=(const ImagesProgress&) = delete;

  void show(int64_t done, int64_t images);
  /// show(), for what takes a function. This object must outlive it.
  ssl::ImageProgress callback() {
    return [this](int64_t done, int64_t images) { show(done, images); };
  }
  /// Ends the refreshed line.
  void finish();

 private:
  std::string what_;
  bool quiet_, terminal_, open_ = false;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now(), shown_ = began_;
};

/// One figure of the line, all ASCII. Where the line is too long, what has the lowest `keep` goes first.
struct LinePart {
  int keep;
  std::string text;
  std::string brief = text;  ///< for narrow terminals
};
/// The parts in order, at most so many columns: a longer line would wrap, and could not be refreshed. Where the texts
/// do not fit, the brief ones stand; where those do not, the least important go.
std::string fitted(std::vector<LinePart> parts, size_t columns);

/// "1:02:03" or "2:03".
std::string clock_text(double seconds);

}  // namespace tacit::cli
