// What tacit evaluate left in a run, read for a report.
// The rule: a figure may be null, where the data did not allow it; whatever is missing otherwise is an Error.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace tacit::cli {

/// RUN/evaluation.json as it is; null where there is none. Throws Error where it lacks what the page draws.
nlohmann::json read_evaluation(const std::string& run);

}  // namespace tacit::cli
