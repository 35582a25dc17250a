// What tacit evaluate left in a run, read for a report.
// The rule: a figure may be null, where the data did not allow it; whatever is missing otherwise is an Error.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "ssl/train/checkpoint.h"

namespace tacit::cli {

/// RUN/evaluation.json as it is; null where there is none. Throws Error where it lacks what the page draws.
nlohmann::json read_evaluation(const std::string& run);

/// What it is of, beside the run as it is now: {"at": "step 8 of 24, synthetic:200, seed 0", "stale": whether the step
/// is another than the run's, "warnings": [what to know before comparing]}. What an older tacit did not write is
/// "unknown".
nlohmann::json evaluated(const nlohmann::json& evaluation, const ssl::CheckpointInfo& run);

}  // namespace tacit::cli
