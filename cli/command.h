// A sub-command: its name, its settings and what it does. One file each; main.cpp has the list.
// The rule: a command reads flags only through its Settings, so that --config and --print-config know every one.
// The parser of command lines is known to main.cpp alone.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "ssl/train/resolve.h"
#include "ssl/train/settings.h"

namespace tacit::cli {

using ssl::Settings;
using ssl::UsageError;

/// The flags that every command has.
struct Common {
  std::string device;  ///< empty: best_device()
  std::string json, memory_limit;
  int64_t threads = 0, seed = 0;
  bool quiet = false;
};

/// An argument without a flag.
struct Positional {
  std::string name;   // as in the settings, where it is one
  std::string shown;  // in the usage line: "RUN"
  std::string help;
  std::string* target = nullptr;
  bool required = true;
  std::vector<std::string>* targets = nullptr;  // in the place of target: one or more
};

/// Flags of every command that are no settings of it.
struct PlainFlag {
  const char *name, *help;
};
inline constexpr PlainFlag kConfigFlag{"config", "TOML file with any of these flags by its long name"},
    kPrintConfigFlag{"print-config", "print the resolved settings and stop"};

/// What --help shows.
struct Help {
  std::string summary;  ///< above the flags
  std::string below;
  std::function<bool(const Settings::Setting&)> shows = [](const Settings::Setting&) { return true; };
};

class Command {
 public:
  virtual ~Command() = default;
  virtual const char* name() const = 0;
  /// One line for the list of commands.
  virtual const char* summary() const = 0;
  /// Command lines that work, shown under --help.
  virtual const char* example() const = 0;
  /// May depend on the positional arguments, which have been read.
  virtual Help help() const { return {summary(), std::string("\nExample:\n") + example()}; }
  /// Positional arguments (METHOD, RUN).
  virtual std::vector<Positional> arguments() { return {}; }
  /// All flags; pointers must stay valid.
  virtual void settings(Settings& settings) { add_common(settings); }
  /// Fills the settings from what was said. The default: configuration file, then command line.
  virtual void resolve(Settings&, const ssl::ConfigLayers&);
  /// Flags out of range and the like: UsageError, before anything is opened or printed. Of every command --device,
  /// --threads and --memory-limit; a device that this build or machine lacks is an Error.
  virtual void check() const;
  /// What --print-config prints.
  virtual std::string print_config(const Settings& settings) { return settings.toml(); }
  /// Does the work; the exit status.
  virtual int run() = 0;

  /// The command line, the program first.
  void typed(std::vector<std::string> words) { words_ = std::move(words); }

 protected:
  std::vector<std::string> words_;  ///< as typed
  /// --device, --threads, --seed, --memory-limit, --quiet and --json.
  void add_common(Settings&);
  Common common_;
};

/// The common part of a training run's settings.
Common common_of(const ssl::TrainConfig&);

/// A line on stderr for people; with --quiet only warnings ("warning: …").
void say(const Common&, const std::string& line);
/// With a line's end; bytes that are no UTF-8 (paths may hold any) become U+FFFD. indent -1: on one line.
std::string json_text(const nlohmann::json&, int indent = 2);
/// Writes the figures to --json FILE, or to stdout for "-"; nothing without --json.
void write_json(const Common&, const nlohmann::json&);
/// A line of results on stdout, unless stdout is taken by --json -.
void print_result(const Common&, const std::string& line);
/// "88.8 %".
std::string percent(double fraction);
/// What every command does after check() and before any work: sets --memory-limit for tensors, refuses a --json that
/// cannot be written, makes the device the default one and sets the threads.
void start(const Common&);
/// Throws Error naming the flag where this file, or a directory for it, cannot be written. For outputs that come only
/// after long work; leaves nothing behind. They are then written to with_directory(path).
void check_writable(const char* flag, const std::string& path);
/// UsageError where a file's name says that it is another kind of file than the one `written`: its extension is one of
/// `others`, with their dots. `wanted` is the right one.
void check_extension(const char* flag, const std::string& path, const std::string& written, const char* wanted,
                     const std::vector<std::string>& others);
/// The same for pictures; and UsageError where there is no name.
void check_png(const char* flag, const std::string& path);

/// What --help shows as a setting's default: "" where it is nothing.
std::string default_text(const Settings&, const Settings::Setting&);

/// Every command, in the order of --help.
std::vector<std::unique_ptr<Command>> all_commands();
std::unique_ptr<Command> make_pretrain();
std::unique_ptr<Command> make_knn();
std::unique_ptr<Command> make_linear();
std::unique_ptr<Command> make_finetune();
std::unique_ptr<Command> make_evaluate();
std::unique_ptr<Command> make_embed();
std::unique_ptr<Command> make_augment();
std::unique_ptr<Command> make_export();
std::unique_ptr<Command> make_neighbours();
std::unique_ptr<Command> make_duplicates();
std::unique_ptr<Command> make_reconstruct();
std::unique_ptr<Command> make_report();
std::unique_ptr<Command> make_info();
std::unique_ptr<Command> make_bench();
std::unique_ptr<Command> make_completion();
std::unique_ptr<Command> make_man();

}  // namespace tacit::cli
