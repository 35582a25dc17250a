#include "ssl/train/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "ssl/train/append.h"
#include "ssl/train/settings.h"
#include "tensor/atomic_file.h"
#include "tensor/directory.h"
#include "tensor/read_file.h"

namespace tacit::ssl {

namespace fs = std::filesystem;

namespace {

/// The bytes of the first lines of metrics.jsonl whose step is at most `last`; a damaged line ends it.
size_t kept_bytes(const std::string& text, int64_t last) {
  size_t keep = 0;
  while (keep < text.size()) {
    const size_t end = text.find('\n', keep);
    if (end == std::string::npos) break;
    const auto line = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(keep),
                                            text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer()) break;
    if (line["step"].get<int64_t>() > last) break;
    keep = end + 1;
  }
  return keep;
}

double images_per_second(const StepRecord& record) {
  return record.seconds > 0 ? static_cast<double>(record.images) / record.seconds : 0;
}

}  // namespace

void RunDirectory::check(const std::string& path, bool resume) {
  if (fs::exists(fs::symlink_status(path))) {
    TACIT_CHECK(fs::is_directory(path), "--out ", path, " is a file; a run needs a directory");
    if (!resume && !fs::is_empty(path))
      throw UsageError("--out " + path + " exists already; give another directory, or --resume to go on with it");
    // What a run cuts off at a resume must be its own; a run that was stopped at once has but its empty folders.
    const std::string half_made = std::string("config.toml") + AtomicFile::kTemporarySuffix;
    if (resume && !has_config(path))
      for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
        const std::string name = entry.path().filename().string();
        if (name != "checkpoints" && name != "images" && name != half_made)
          throw UsageError("--resume: " + path + " is no run (it has no config.toml) and holds other files, such as " +
                           name + "; give the run's own directory, or a new one");
      }
  }
  about_flag("out", [&] { check_directory(path); });
}

bool RunDirectory::has_config(const std::string& path) { return fs::exists(path + "/config.toml"); }

bool RunDirectory::owns(const std::string& path) {
  std::error_code ignored;
  const fs::path file = fs::weakly_canonical(path, ignored), directory = file.parent_path();
  if (directory.filename() == "checkpoints") return has_config(directory.parent_path().string());
  const std::string name = file.filename().string();
  return (name == "config.toml" || name == "metrics.jsonl" || name == "commands.jsonl" ||
          name.rfind("events.out.", 0) == 0) &&
         has_config(directory.string());
}

RunDirectory::RunDirectory(std::string path, bool fresh) : path_(std::move(path)) {
  about_flag("out", [&] { make_directories(path_); });
  lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  TACIT_CHECK(lock_ >= 0, "cannot open ", path_, ": ", std::strerror(errno));
  TACIT_CHECK(::flock(lock_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK, "another process is writing to ", path_);
  try {
    if (fresh) check(path_, false);  // again, now that nobody else can begin one here
  } catch (...) {
    ::close(lock_);
    throw;
  }
  make_directories(path_ + "/checkpoints");
  make_directories(images());
}

void RunDirectory::write_config(const std::string& toml) const { write_file_atomically(config(), toml); }

RunDirectory::~RunDirectory() {
  if (lock_ >= 0) ::close(lock_);
}

bool RunDirectory::has_checkpoint(const std::string& path) {
  return fs::exists(path + "/checkpoints/last.safetensors");
}

void RunDirectory::check_resumable(const std::string& path) {
  const std::string metrics = path + "/metrics.jsonl";
  TACIT_CHECK(
      has_checkpoint(path) || !fs::exists(metrics) || fs::is_empty(metrics), path,
      " has steps in metrics.jsonl but no checkpoints/last.safetensors to go on from; put the checkpoint back, or "
      "begin again in another --out");
}

void RunDirectory::cut_to(int64_t step) {
  if (fs::exists(metrics())) cut_file(metrics(), static_cast<int64_t>(kept_bytes(read_file(metrics()), step)));
  cut_events(path_, step);
  events_ = std::make_unique<EventFile>(path_);
}

void RunDirectory::log(const StepRecord& record) {
  append_to_file(metrics(), metrics_line(record) + "\n");
  std::vector<std::pair<std::string, double>> scalars = {{"loss", record.loss}, {"lr", record.lr}};
  for (const auto& metric : record.metrics) scalars.emplace_back(metric);
  scalars.emplace_back("images_per_second", images_per_second(record));
  events_->add(record.step, scalars);
}

void RunDirectory::log_picture(int64_t step, const std::string& name, const ContactSheet& sheet) {
  const EventImage image{.height = sheet.height(), .width = sheet.width(), .png = sheet.png()};
  write_file_atomically(images() + "/" + name + ".png", image.png);
  events_->add_image(step, name, image);
}

void RunDirectory::log_histograms(int64_t step, const std::vector<std::pair<std::string, Histogram>>& histograms) {
  events_->add_histograms(step, histograms);
}

void RunDirectory::sync() const {
  if (fs::exists(metrics())) sync_file(metrics());
  if (events_) sync_file(events_->path());
}

std::string metrics_line(const StepRecord& record) {
  nlohmann::ordered_json line = {
      {"step", record.step}, {"epoch", record.epoch}, {"loss", record.loss}, {"lr", record.lr}};
  line["images_per_second"] = images_per_second(record);
  for (const auto& metric : record.metrics) line[metric.first] = metric.second;
  line["loader_wait"] = record.seconds > 0 ? std::min(1., record.waited / record.seconds) : 0;
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace tacit::ssl
