// tacit completion and tacit man: what the shell completes and what `man tacit` shows, from the same settings as
// --help.
#include <functional>
#include <iostream>
#include <map>
#include <set>

#include "cli/command.h"
#include "nn/encoder.h"
#include "ssl/train/export.h"
#include "ssl/train/method_entry.h"
#include "tensor/device.h"

namespace tacit::cli {

namespace {

/// A command with its settings, as main.cpp binds them.
struct Described {
  std::unique_ptr<Command> command;
  Settings settings;
};

std::vector<Described> described_commands() {
  std::vector<Described> all;
  std::vector<std::unique_ptr<Command>> commands = all_commands();
  all.reserve(commands.size());
  for (auto& command : commands) {
    all.emplace_back().command = std::move(command);
    all.back().command->settings(all.back().settings);
  }
  return all;
}

/// Settings that are flags: the others are positional arguments.
std::vector<const Settings::Setting*> flags_of(const Described& d) {
  std::vector<const Settings::Setting*> flags;
  for (const Settings::Setting& setting : d.settings.all()) {
    bool positional = false;
    for (const Positional& p : d.command->arguments()) positional = positional || p.name == setting.name;
    if (!positional) flags.push_back(&setting);
  }
  return flags;
}

template <class Range, class TextOf = std::identity>
std::string words(const Range& range, const TextOf& text_of = {}) {
  std::string text;
  for (const auto& element : range) text += (text.empty() ? "" : " ") + std::string(std::invoke(text_of, element));
  return text;
}

bool takes_method(const Described& d) {
  for (const Positional& p : d.command->arguments())
    if (p.name == "method") return true;
  return false;
}

/// Of all methods, each name once.
std::vector<std::string> recipe_names() {
  std::set<std::string> names;
  for (const std::string& method : ssl::method_names())
    for (const ssl::Recipe& recipe : ssl::method_entry(method).recipes) names.insert(recipe.name);
  return {names.begin(), names.end()};
}

/// A line of a shell's case for each flag: what may follow it.
std::string values_of(const std::map<std::string, std::vector<std::string>>& flags) {
  std::string lines;
  for (const auto& [flag, values] : flags) lines += "    --" + flag + ") words=\"" + words(values) + "\" ;;\n";
  return lines;
}

std::string bash_completion() {
  const std::vector<Described> all = described_commands();
  std::string text =
      "# Bash completion of tacit. Use it with: source <(tacit completion)\n"
      "_tacit() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} flags= words=\n"
      "  if [ \"$COMP_CWORD\" = 1 ]; then\n"
      "    COMPREPLY=($(compgen -W \"" +
      words(all, [](const Described& d) { return d.command->name(); }) +
      " --help --version\" -- \"$word\"))\n"
      "    return\n"
      "  fi\n"
      "  case ${COMP_WORDS[1]} in\n";
  for (const Described& d : all) {
    text += "    " + std::string(d.command->name()) + ") flags=\"--help --" + kConfigFlag.name + " --" +
            kPrintConfigFlag.name;
    for (const Settings::Setting* flag : flags_of(d)) text += " --" + flag->name;
    text += "\"";
    if (takes_method(d)) text += "; [ \"$COMP_CWORD\" = 2 ] && words=\"" + words(ssl::method_names()) + "\"";
    text += " ;;\n";
  }
  return text +
         "  esac\n"
         "  case ${COMP_WORDS[COMP_CWORD - 1]} in\n" +
         values_of({{"device", device_names()},
                    {"encoder", nn::encoder_names()},
                    {"format", ssl::export_formats()},
                    {"precision", {"fp32", "tf32", "bf16"}},
                    {"recipe", recipe_names()},
                    {"split", {"train", "test", "unlabeled", "all"}}}) +
         "  esac\n"
         "  case $word in -*) words=$flags ;; esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "}\n"
         "complete -o default -o bashdefault -F _tacit tacit\n";
}

/// Text for roff: no character of it is a command.
std::string roff(const std::string& text) {
  std::string safe;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool begins = i == 0 || text[i - 1] == '\n';
    if (begins && (text[i] == '.' || text[i] == '\'')) safe += "\\&";
    if (text[i] == '\\')
      safe += "\\e";
    else if (text[i] == '-')
      safe += "\\-";
    else
      safe += text[i];
  }
  return safe;
}

std::string man_page() {
  std::string text =
      ".TH TACIT 1 \"\" \"tacit " TACIT_VERSION
      "\" \"User Commands\"\n"
      ".SH NAME\ntacit \\- self\\-supervised learning on images\n"
      ".SH SYNOPSIS\n.B tacit\n.I COMMAND\n\\&... [\\-\\-flags]\n"
      ".SH DESCRIPTION\nLearns representations from images without labels, and says how good they are.\n"
      "Exit status: 0 done; 1 data, disk, memory or hardware; 2 flags, before any work; 130 interrupted,\n"
      "after saving.\n"
      ".SH COMMANDS\n";
  for (const Described& d : described_commands()) {
    text += ".SS \"tacit " + roff(d.command->name());
    for (const Positional& p : d.command->arguments()) text += " " + roff(p.shown);
    text += "\"\n" + roff(d.command->summary()) + ".\n";
    for (const Positional& p : d.command->arguments()) text += ".TP\n.I " + roff(p.shown) + "\n" + roff(p.help) + "\n";
    for (const Settings::Setting* flag : flags_of(d)) {
      const std::string shown = default_text(d.settings, *flag);
      text += ".TP\n.B \\-\\-" + roff(flag->name) + "\n" + roff(flag->help) +
              (shown.empty() ? "" : " (default " + roff(shown) + ")") + "\n";
    }
    for (const PlainFlag& flag : {kConfigFlag, kPrintConfigFlag})
      text += ".TP\n.B \\-\\-" + roff(flag.name) + "\n" + roff(flag.help) + "\n";
    text += ".PP\nExample:\n.PP\n.nf\n" + roff(d.command->example()) + "\n.fi\n";
  }
  return text;
}

/// Prints a text that is made of the commands' definitions.
class Printed final : public Command {
 public:
  Printed(const char* name, const char* summary, const char* example, std::string (*text)())
      : name_(name), summary_(summary), example_(example), text_(text) {}
  const char* name() const override { return name_; }
  const char* summary() const override { return summary_; }
  const char* example() const override { return example_; }
  void settings(Settings&) override {}
  void check() const override {}
  int run() override {
    std::cout << text_();
    return 0;
  }

 private:
  const char *name_, *summary_, *example_;
  std::string (*text_)();
};

}  // namespace

std::unique_ptr<Command> make_completion() {
  return std::make_unique<Printed>("completion", "what bash needs to complete commands and flags",
                                   "  source <(tacit completion)", bash_completion);
}

std::unique_ptr<Command> make_man() {
  return std::make_unique<Printed>("man", "the manual page, for man", "  tacit man | man -l -", man_page);
}

}  // namespace tacit::cli
