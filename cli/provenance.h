// How a run came about: RUN/commands.jsonl, an object for each tacit pretrain that worked on it, and the versions
// behind its numbers. It is no part of a checkpoint: two runs with the same numbers may have been asked for
// differently.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace tacit::cli {

/// A word as a POSIX shell takes it back; where it holds bytes that are no text, as $'…', which bash, zsh and ksh know.
std::string shell_quoted(const std::string& word);
/// Words with spaces between them, each quoted where it must be.
std::string shell_line(const std::vector<std::string>& words);

/// {"version" of tacit, "compiler", "instruction_set" chosen on this CPU, "blas", "blas_core"}.
nlohmann::ordered_json versions();

/// Appends {"step": the run's, "command": as typed, "device", …versions()} to RUN/commands.jsonl.
void record_command(const std::string& run, int64_t step, const std::vector<std::string>& words,
                    const std::string& device);
/// The objects of RUN/commands.jsonl, first to last; none where an older tacit made the run. Lines that are damaged are
/// left out.
nlohmann::json recorded_commands(const std::string& run);

}  // namespace tacit::cli
