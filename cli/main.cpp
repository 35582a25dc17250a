// The command `tacit`: finds the sub-command, fills its settings, runs it, and turns whatever goes wrong into one line
// and an exit status: 0 done, 1 data, disk, memory or hardware, 2 flags, 130 interrupted.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <iostream>
#include <new>

#include "cli/command.h"
#include "ssl/data/printable.h"
#include "ssl/train/interrupt.h"
#include "tensor/join.h"
#include "tensor/read_file.h"

namespace tacit::cli {

std::vector<std::unique_ptr<Command>> all_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  for (const auto make : {make_pretrain, make_knn, make_linear, make_finetune, make_evaluate, make_embed,
                          make_neighbours, make_duplicates, make_report, make_reconstruct, make_augment, make_export,
                          make_info, make_bench, make_completion, make_man})
    commands.push_back(make());
  return commands;
}

namespace {

constexpr int kDone = 0, kFailed = 1, kUsage = 2;

/// A sub-command with what CLI11 found for it.
struct Bound {
  std::unique_ptr<Command> command;
  CLI::App* app = nullptr;
  Settings settings;
  Settings::Given given;
  std::string config_file;
  bool print_config = false;
};

bool is_switch(const Settings::Setting& setting) {
  return std::holds_alternative<bool*>(setting.target) || std::holds_alternative<std::optional<bool>*>(setting.target);
}

void bind(Bound& bound, CLI::App& parent) {
  Command& command = *bound.command;
  bound.app = parent.add_subcommand(command.name(), command.summary());
  for (const Positional& p : command.arguments())
    (p.targets ? bound.app->add_option(p.name, *p.targets, p.help) : bound.app->add_option(p.name, *p.target, p.help))
        ->required(p.required)
        ->option_text(p.shown);
  command.settings(bound.settings);
  for (const Settings::Setting& setting : bound.settings.all()) {
    if (bound.app->get_option_no_throw(setting.name)) continue;  // a positional argument
    const std::string name = setting.name, shown = default_text(bound.settings, setting);
    const std::string help = setting.help + (shown.empty() ? "" : " (default " + shown + ")");
    CLI::Option* option = nullptr;
    if (is_switch(setting)) {
      option = bound.app->add_flag_function(
          "--" + name,
          [&bound, name](int64_t count) {
            bound.given.push_back({name, {count > 0 ? "true" : "false"}});
          },
          help);
      option->check(CLI::Validator(
          [](std::string& text) {
            return text == "true" || text == "false" ? "" : "expects true or false, got '" + text + "'";
          },
          ""));
    } else {
      option = bound.app->add_option_function<std::vector<std::string>>(
          "--" + name,
          [&bound, name](const std::vector<std::string>& texts) {
            bound.given.push_back({name, texts});
          },
          help);
      option->expected(setting.many ? -1 : 1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->type_name("");
      option->allow_extra_args(setting.many);
    }
    option->group(setting.group);
  }
  bound.app->add_option(std::string("--") + kConfigFlag.name, bound.config_file, kConfigFlag.help)->group("General");
  bound.app->allow_extras();  // run() names what is left over
  bound.app->add_flag(std::string("--") + kPrintConfigFlag.name, bound.print_config, kPrintConfigFlag.help)
      ->group("General");
}

void prepare_help(Bound& bound) {
  const Help help = bound.command->help();
  bound.app->description(help.summary)->footer(help.below);
  for (const Settings::Setting& setting : bound.settings.all())
    if (CLI::Option* const option = bound.app->get_option_no_throw("--" + setting.name))
      if (!help.shows(setting)) option->group("");  // hides it
}

int execute(Bound& bound) {
  ssl::ConfigLayers layers;
  layers.flags = bound.given;
  if (!bound.config_file.empty()) {
    layers.toml = ssl::about_flag("config", [&] { return read_file(bound.config_file); });
    layers.toml_file = bound.config_file;
  }
  Command& command = *bound.command;
  command.resolve(bound.settings, layers);
  bound.settings.check_used();
  command.check();
  if (bound.print_config) {
    std::cout << command.print_config(bound.settings) << std::flush;
    return kDone;
  }
  return command.run();
}

void check_command(const std::string& word, const std::vector<Bound>& bound) {
  if (word.empty() || word[0] == '-') return;
  for (const Bound& candidate : bound)
    if (word == candidate.command->name()) return;
  throw UsageError("unknown command '" + word +
                   "'; there are: " + join(bound, [](const Bound& b) { return b.command->name(); }));
}

/// `--switch=`, as of an empty shell variable, which CLI11 takes for `--switch`.
void check_switches(const std::vector<std::string>& words, const std::vector<Bound>& bound) {
  for (const Bound& candidate : bound) {
    if (words[0] != candidate.command->name()) continue;
    for (const Settings::Setting& setting : candidate.settings.all())
      if (is_switch(setting) && std::find(words.begin(), words.end(), "--" + setting.name + "=") != words.end())
        throw UsageError("--" + setting.name + " expects true or false, got ''");
  }
}

void check_leftovers(const Bound& bound) {
  const std::vector<std::string> left = bound.app->remaining();
  if (left.empty()) return;
  const std::string what = left[0].rfind("-", 0) == 0 ? "unknown flag " + left[0] : "unexpected '" + left[0] + "'";
  throw UsageError(what + "; see tacit " + bound.command->name() + " --help");
}

int run(int argc, char** argv) {
  CLI::App app("tacit: self-supervised learning on images");
  app.require_subcommand(1);
  app.set_version_flag("--version", TACIT_VERSION);
  std::vector<Bound> bound;
  std::vector<std::unique_ptr<Command>> commands = all_commands();
  bound.reserve(commands.size());  // options hold references
  for (auto& command : commands) {
    bound.emplace_back().command = std::move(command);
    bind(bound.back(), app);
  }
  check_command(argc > 1 ? argv[1] : "", bound);
  if (argc > 1) check_switches({argv + 1, argv + argc}, bound);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& asked) {
    for (Bound& candidate : bound)
      if (candidate.app->parsed()) prepare_help(candidate);
    return app.exit(asked);
  } catch (const CLI::Success& asked) {  // --version
    return app.exit(asked);
  } catch (const CLI::ParseError& wrong) {
    throw UsageError(wrong.what() + std::string("; see tacit ") +
                     (argc > 1 && argv[1][0] != '-' ? std::string(argv[1]) + " " : "") + "--help");
  }
  for (Bound& candidate : bound)
    if (candidate.app->parsed()) {
      check_leftovers(candidate);
      candidate.command->typed({argv, argv + argc});
      return execute(candidate);
    }
  return kUsage;
}

int report(const char* message, int status) {
  std::string line = message;
  for (char& c : line)
    if (c == '\n') c = ' ';
  std::cout << std::flush;
  std::fprintf(stderr, "error: %s\n", ssl::printable_text(line).c_str());
  return status;
}

int guarded_main(int argc, char** argv) {
  ssl::install_signal_handlers();
  try {
    const int status = run(argc, argv);
    std::cout << std::flush;
    if (!std::cout) throw Error("cannot write to stdout");
    return status;
  } catch (const UsageError& e) {
    return report(e.what(), kUsage);
  } catch (const std::bad_alloc&) {
    return report("out of memory; use a smaller --batch-size or --limit", kFailed);
  } catch (const std::exception& e) {
    return report(e.what(), kFailed);
  }
}

}  // namespace

}  // namespace tacit::cli

int main(int argc, char** argv) { return tacit::cli::guarded_main(argc, argv); }
