#include "cli/command.h"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "backends/cpu/backend.h"
#include "ssl/train/memory.h"
#include "ssl/train/run_directory.h"
#include "tensor/atomic_file.h"
#include "tensor/device.h"
#include "tensor/directory.h"
#include "tensor/memory_limit.h"

namespace tacit::cli {

void Command::resolve(Settings& settings, const ssl::ConfigLayers& layers) {
  settings.apply_toml(layers.toml, layers.toml_file);
  settings.apply(layers.flags);
}

void Command::add_common(Settings& settings) {
  settings.group("General")
      .add("device", &common_.device, "cpu, cuda, cuda:1 or reference (default: cuda where a GPU works, else cpu)")
      .add("threads", &common_.threads, "CPU threads (0: all cores)")
      .add("seed", &common_.seed, "of every random choice")
      .add("memory-limit", &common_.memory_limit, "such as 6G; default: the cgroup's or 90 % of what is available")
      .add("quiet", &common_.quiet, "no progress")
      .add("json", &common_.json, "write the figures to this file (-: stdout)", ssl::Effect::Session);
}

std::string default_text(const Settings& settings, const Settings::Setting& setting) {
  if (!setting.shown_default.empty()) return setting.shown_default;
  const std::string value = settings.value(setting.name);
  const bool none = value == "not set" || value == "\"\"" || value == "''" || value == "[]";
  return none ? "" : value;
}

void say(const Common& common, const std::string& line) {
  std::fflush(stdout);  // where both go to one file, lines stay in order
  if (!common.quiet || line.rfind("warning: ", 0) == 0) std::fprintf(stderr, "%s\n", line.c_str());
}

std::string json_text(const nlohmann::json& figures, int indent) {
  return figures.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void write_json(const Common& common, const nlohmann::json& figures) {
  if (common.json == "-")
    std::cout << json_text(figures);
  else if (!common.json.empty())
    write_file_atomically(with_directory(common.json), json_text(figures));
}

void print_result(const Common& common, const std::string& line) {
  if (common.json != "-") std::cout << line << "\n";
}

std::string percent(double fraction) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f %%", fraction * 100);
  return text;
}

Common common_of(const ssl::TrainConfig& config) {
  return {.device = config.device,
          .json = config.json,
          .memory_limit = config.memory_limit,
          .threads = config.threads,
          .seed = config.seed,
          .quiet = config.quiet};
}

void check_writable(const char* flag, const std::string& path) {
  if (ssl::RunDirectory::owns(path))
    throw UsageError(std::string("--") + flag + " " + path + " is a run's own file, which is never overwritten");
  ssl::about_flag(flag, [&] {
    const std::string directory = std::filesystem::path(path).parent_path().string();
    if (directory.empty() || std::filesystem::is_directory(directory))
      AtomicFile probe(path);  // without commit() it leaves nothing
    else
      check_directory(directory);
  });
}

void check_extension(const char* flag, const std::string& path, const std::string& written, const char* wanted,
                     const std::vector<std::string>& others) {
  std::string extension = std::filesystem::path(path).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (std::find(others.begin(), others.end(), extension) != others.end())
    throw UsageError(std::string("--") + flag + " " + path + ": what is written is " + written + "; name it FILE" +
                     wanted);
}

void check_png(const char* flag, const std::string& path) {
  if (path.empty()) throw UsageError(std::string("--") + flag + " is required: the PNG to write");
  check_extension(flag, path, "a PNG", ".png",
                  {".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".svg", ".pdf", ".html"});
}

static std::string kind_of(const std::string& device) { return device.substr(0, device.find(':')); }

/// Error where no GPU works, in this build or on this machine; UsageError for a number beyond those that it has.
static void check_cuda(const std::string& device) {
  if (!is_device_name("cuda")) throw Error("--device " + device + ": this build has no CUDA; use --device cpu");
  try {
    Device{device};
  } catch (const NoSuchDevice& error) {
    throw UsageError("--device " + device + ": " + error.what());
  } catch (const Error& error) {
    throw Error("--device " + device + ": " + error.what());
  }
}

void Command::check() const {
  const std::string device = common_.device.empty() ? "cpu" : common_.device;  // "": whatever starts
  const std::string kind = kind_of(device), index = kind == device ? "0" : device.substr(kind.size() + 1);
  if (index.empty() || index.size() > 4 || index.find_first_not_of("0123456789") != std::string::npos)
    throw UsageError("--device " + device + ": '" + index + "' is no device number");
  if (kind != "cpu" && kind != "reference" && kind != "cuda")
    throw UsageError("--device: unknown value '" + device + "'; known: cpu, cuda, cuda:1, reference");
  if (kind == "cuda")
    check_cuda(device);
  else if (std::stoi(index) != 0)
    throw UsageError("--device " + device + ": there is one '" + kind + "' device, number 0");
  if (common_.threads < 0 || common_.threads > 4096)
    throw UsageError("--threads must lie between 0 (all cores) and 4096");
  if (!common_.memory_limit.empty()) ssl::parse_bytes(common_.memory_limit);
}

void start(const Common& common) {
  set_default_device(Device(common.device.empty() ? best_device() : common.device));
  if (common.device.empty() && !why_no_cuda().empty() && std::filesystem::exists("/dev/nvidiactl"))
    say(common, "warning: there is a GPU, but it cannot be used: " + why_no_cuda());
  ssl::apply_memory_limit(common.memory_limit);
  if (!common.json.empty() && common.json != "-") check_writable("json", common.json);
  if (common.threads > 0) cpu::set_threads(static_cast<int>(common.threads));
}

}  // namespace tacit::cli
