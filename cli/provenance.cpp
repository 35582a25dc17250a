#include "cli/provenance.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "backends/cpu/backend.h"
#include "backends/cpu/kernels/dispatch.h"
#include "ssl/train/append.h"

namespace tacit::cli {

using nlohmann::json;

namespace {

std::string commands_file(const std::string& run) { return run + "/commands.jsonl"; }

bool is_text(const std::string& word) {
  if (std::any_of(word.begin(), word.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; })) return false;
  try {
    static_cast<void>(json(word).dump());
    return true;
  } catch (const json::exception&) {  // no UTF-8
    return false;
  }
}

bool is_plain(const std::string& word) {
  const char* const kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  return !word.empty() && word.find_first_not_of(kPlain) == std::string::npos;
}

}  // namespace

std::string shell_quoted(const std::string& word) {
  if (is_plain(word)) return word;
  if (is_text(word)) {
    std::string quoted = "'";
    for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
  }
  std::string quoted = "$'";
  for (const unsigned char c : word) {
    char escaped[8];
    std::snprintf(escaped, sizeof escaped,
                  c < 0x20 || c >= 0x7f    ? "\\x%02x"
                  : c == '\'' || c == '\\' ? "\\%c"
                                           : "%c",
                  c);
    quoted += escaped;
  }
  return quoted + "'";
}

std::string shell_line(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + shell_quoted(word);
  return line;
}

nlohmann::ordered_json versions() {
  const cpu::BlasReport blas = cpu::blas_report();
#ifdef __clang__
  const char* const compiler = "clang " __clang_version__;
#else
  const char* const compiler = "gcc " __VERSION__;
#endif
  return {{"version", TACIT_VERSION},
          {"compiler", compiler},
          {"instruction_set", cpu::isa_name(cpu::cpu_isa())},
          {"blas", blas.library},
          {"blas_core", blas.core}};
}

void record_command(const std::string& run, int64_t step, const std::vector<std::string>& words,
                    const std::string& device) {
  nlohmann::ordered_json record = {{"step", step}, {"command", shell_line(words)}, {"device", device}};
  record.update(versions());
  ssl::append_to_file(commands_file(run), record.dump() + "\n");
}

json recorded_commands(const std::string& run) {
  json commands = json::array();
  std::ifstream file(commands_file(run));
  for (std::string line; std::getline(file, line);)
    if (json command = json::parse(line, nullptr, false); command.is_object()) commands.push_back(std::move(command));
  return commands;
}

}  // namespace tacit::cli
