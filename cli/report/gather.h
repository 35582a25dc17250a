// What a report shows of a run, as the JSON that the page (page.html) draws.
// The rule: text goes into it as it is; only html_safe() makes it fit to stand in a page.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/run_command.h"

namespace tacit::cli {

/// Takes what is to be told on stderr.
using Say = std::function<void(const std::string&)>;

/// From the files of a run directory, under this name: method, encoder, the curves (at most 400 points, each a mean),
/// evaluations while it trained, evaluation.json, the pictures below images/, config.toml, the commands that made the
/// run and the one for the same run. Throws Error for what is not a run directory or is damaged; the last line of
/// metrics.jsonl may be cut short, which is told.
nlohmann::json gather_run(const std::string& path, const std::string& name, ssl::Pretrained&, const Say&);

struct SampleOptions {
  int64_t images = 1000;  ///< test images on the map and in the confusion matrix
  int64_t bank = 5000;    ///< training images among which neighbours are looked for and that the probe learns from
  uint64_t seed = 0;
};
/// What takes images: the map of the features, nearest neighbours, reconstructions and, where all images have labels,
/// the linear probe's confusion matrix. Added to what gather_run() gave.
void gather_samples(nlohmann::json& run, ssl::Pretrained&, const ssl::ImageSourcePtr& train,
                    const ssl::ImageSourcePtr& test, const SampleOptions&);

/// JSON text that may stand inside <script>: no "<" in it.
std::string html_safe(const nlohmann::json&);

/// RFC 4648.
std::string base64(const std::string& bytes);

}  // namespace tacit::cli
