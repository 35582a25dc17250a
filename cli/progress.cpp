#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace tacit::cli {

namespace {
double seconds_between(std::chrono::steady_clock::time_point from, std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

std::string text(const char* format, auto... values) {
  char buffer[80];
  std::snprintf(buffer, sizeof buffer, format, values...);
  return buffer;
}

/// Of the terminal on stderr; asked each time, since it may be resized.
size_t terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/// The refreshed line of a terminal, else a line of its own.
void print_line(const std::vector<LinePart>& parts, bool terminal) {
  if (terminal)
    std::fprintf(stderr, "\r\033[K%s", fitted(parts, terminal_columns() - 1).c_str());
  else
    std::fprintf(stderr, "%s\n", fitted(parts, SIZE_MAX).c_str());
  std::fflush(stderr);
}

}  // namespace

std::string fitted(std::vector<LinePart> parts, size_t columns) {
  bool brief = false;
  const auto line = [&] {
    std::string joined;
    for (const LinePart& part : parts)
      joined += (joined.empty() ? "" : part.text[0] == '(' || brief ? " " : "  ") + part.text;
    return joined;
  };
  if (line().size() > columns)
    for (LinePart& part : parts) part.text = part.brief, brief = true;
  while (parts.size() > 1 && line().size() > columns)
    parts.erase(std::min_element(parts.begin(), parts.end(),
                                 [](const LinePart& a, const LinePart& b) { return a.keep < b.keep; }));
  return line().substr(0, columns);
}

Progress::Progress(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::begin(const ssl::RunPlan& plan) {
  plan_ = plan;
  began_ = shown_ = Clock::now();
}

void Progress::step(const ssl::StepRecord& record) {
  if (quiet_) return;
  seconds_ += record.seconds;
  waited_ += record.waited;
  images_ += record.images;
  const double since = seconds_between(shown_, Clock::now());
  const bool due = terminal_ ? since >= 0.2 : since >= 30 || record.epoch_end;
  if (due || record.step == plan_.last || record.metrics.count("knn_top1")) show(record);
}

void Progress::show(const ssl::StepRecord& record) {
  const Clock::time_point now = Clock::now();
  const double made = static_cast<double>(record.step - plan_.done),
               left = static_cast<double>(plan_.last - record.step);
  const auto metric = [&](const char* name) {
    const auto found = record.metrics.find(name);
    return found == record.metrics.end() ? nullptr : &found->second;
  };
  std::vector<LinePart> parts;
  const auto add = [&](int keep, const char* format, auto... values) {
    parts.push_back({keep, text(format, values...)});
  };
  const auto brief = [&](const char* format, auto... values) { parts.back().brief = text(format, values...); };
  add(6, "epoch %lld/%lld", static_cast<long long>(record.epoch), static_cast<long long>(plan_.epochs));
  add(5, "step %lld/%lld", static_cast<long long>(record.step), static_cast<long long>(plan_.last));
  brief("%lld/%lld", static_cast<long long>(record.step), static_cast<long long>(plan_.last));
  add(8, "loss %.4f", record.mean_loss);  // of the epoch, as in --json
  brief("loss %.3f", record.mean_loss);
  add(3, "(chance %.2f)", plan_.chance.loss);
  brief("(%.2f)", plan_.chance.loss);
  if (const double* const top1 = metric("pretext_top1")) {
    add(4, "task %.1f %%", 100 * *top1);
    brief("task %.0f%%", 100 * *top1);
    add(1, "(chance %.2g %%)", 100 * plan_.chance.top1);
    brief("(%.2g)", 100 * plan_.chance.top1);
  }
  if (const double* const spread = metric("feature_std")) add(4, "std %.2f", *spread);
  if (const double* const spread = metric("projection_std")) add(4, "head's %.2f", *spread);
  add(2, "%.0f images/s", static_cast<double>(images_) / std::max(seconds_, 1e-9));
  brief("%.0f/s", static_cast<double>(images_) / std::max(seconds_, 1e-9));
  add(7, "left %s", clock_text(seconds_between(began_, now) / made * left).c_str());
  add(0, "loader %.0f %%", 100 * waited_ / std::max(seconds_, 1e-9));
  brief("wait %.0f%%", 100 * waited_ / std::max(seconds_, 1e-9));
  const double* const knn = metric("knn_top1");
  if (knn) add(9, "kNN %.1f %%", 100 * *knn);
  if (const double* const linear = metric("linear_top1")) add(9, "linear %.1f %%", 100 * *linear);
  print_line(parts, terminal_);
  open_ = terminal_;
  if (open_ && knn) finish();  // an evaluation stays to be read
  shown_ = now;
  seconds_ = waited_ = 0;
  images_ = 0;
}

void Progress::finish() {
  if (open_) std::fputs("\n", stderr);
  open_ = false;
}

ImagesProgress::ImagesProgress(std::string what, bool quiet)
    : what_(std::move(what)), quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1) {}

void ImagesProgress::show(int64_t done, int64_t images) {
  const auto now = std::chrono::steady_clock::now();
  if (quiet_ || (done < images && seconds_between(shown_, now) < (terminal_ ? 0.2 : 30))) return;
  shown_ = now;
  const double rate = static_cast<double>(done) / std::max(seconds_between(began_, shown_), 1e-9);
  print_line({{3, text("%s %lld/%lld", what_.c_str(), static_cast<long long>(done), static_cast<long long>(images))},
              {1, text("%.0f images/s", rate)},
              {2, text("left %s", clock_text(static_cast<double>(images - done) / rate).c_str())}},
             terminal_);
  open_ = terminal_;
}

void ImagesProgress::finish() {
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
