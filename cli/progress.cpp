#include "cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace tacit::cli {

namespace {
double seconds_between(std::chrono::steady_clock::time_point from, std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}
}  // namespace

Progress::Progress(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::begin(const ssl::RunPlan& plan) {
  plan_ = plan;
  began_ = shown_ = Clock::now();
}

void Progress::step(const ssl::StepRecord& record) {
  if (quiet_) return;
  loss_ += record.loss;
  seconds_ += record.seconds;
  waited_ += record.waited;
  images_ += record.images;
  ++steps_;
  const double since = seconds_between(shown_, Clock::now());
  const bool due = terminal_ ? since >= 0.2 : since >= 30 || record.epoch_end;
  if (due || record.step == plan_.last || record.metrics.count("knn_top1")) show(record);
}

void Progress::show(const ssl::StepRecord& record) {
  const Clock::time_point now = Clock::now();
  const double made = static_cast<double>(record.step - plan_.done),
               left = static_cast<double>(plan_.last - record.step);
  char line[256];
  size_t used = 0;
  const auto add = [&](const char* format, auto... values) {
    const int written = std::snprintf(line + used, sizeof line - used, format, values...);
    used = std::min(sizeof line - 1, used + static_cast<size_t>(std::max(written, 0)));
  };
  add("epoch %lld/%lld  step %lld/%lld  loss %.4f (chance %.2f)", static_cast<long long>(record.epoch),
      static_cast<long long>(plan_.epochs), static_cast<long long>(record.step), static_cast<long long>(plan_.last),
      loss_ / static_cast<double>(steps_), plan_.chance.loss);
  const auto top1 = record.metrics.find("pretext_top1"), spread = record.metrics.find("feature_std"),
             knn = record.metrics.find("knn_top1");
  if (top1 != record.metrics.end()) add("  task %.1f %% (chance %.2g %%)", 100 * top1->second, 100 * plan_.chance.top1);
  if (spread != record.metrics.end()) add("  std %.2f", spread->second);
  add("  %.0f images/s  left %s  loader %.0f %%", static_cast<double>(images_) / std::max(seconds_, 1e-9),
      clock_text(seconds_between(began_, now) / made * left).c_str(), 100 * waited_ / std::max(seconds_, 1e-9));
  if (knn != record.metrics.end()) add("  kNN %.1f %%", 100 * knn->second);
  if (terminal_)
    std::fprintf(stderr, "\r\033[K%s", line);
  else
    std::fprintf(stderr, "%s\n", line);
  std::fflush(stderr);
  open_ = terminal_;
  if (open_ && knn != record.metrics.end()) finish();  // an evaluation stays to be read
  shown_ = now;
  loss_ = seconds_ = waited_ = 0;
  steps_ = images_ = 0;
}

void Progress::finish() {
  if (open_) std::fputs("\n", stderr);
  open_ = false;
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<long long>(std::llround(seconds));
  char text[40];
  if (whole >= 3600)
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  else
    std::snprintf(text, sizeof text, "%lld:%02lld", whole / 60, whole % 60);
  return text;
}

}  // namespace tacit::cli
