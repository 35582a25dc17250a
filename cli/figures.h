// Figures of evaluations as the JSON of --json: the names that scripts rely on, accuracies as fractions.
// Only here, so that no header of the library needs a JSON library.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "ssl/evaluate/evaluate.h"

namespace tacit::cli {

/// {"knn": {"pixels", "random", "run"}, "linear": {the same}, "label_efficiency": [{"labels_per_class", "method",
/// "mean", "std", "draws"}]}, and "clustering": {"k", "nmi", "accuracy": {"pixels", "random", "run"}}, "feature_std",
/// "rank_me".
nlohmann::json to_json(const ssl::EvaluationTable&);
/// {"top1", "k", "temperature", "train_images", "test_images"}.
nlohmann::json to_json(const ssl::KnnResult&);
/// {"top1", "best_lr", "sweep": [{"lr", "validation_top1"}]}.
nlohmann::json to_json(const ssl::LinearProbeResult&);
/// The index lists: [{"labels_per_class", "draw", "indices": […]}].
nlohmann::json to_json(const std::vector<ssl::LabelDraw>&);

}  // namespace tacit::cli
