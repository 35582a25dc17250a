// What is taken for what, as the page draws it.
// The rule: its size does not grow with the number of classes; above kMostClasses it has the worst of them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace tacit::cli {

/// Of a matrix and of each list that stands for one: a thousand classes would make a million cells.
inline constexpr size_t kMostClasses = 40;

/// Of the labels and predictions of each test image, indices of `classes`. Up to kMostClasses {"classes", "counts": a
/// row a class}; above {"class_count", "pair_count": different pairs confused, "pairs": [{"is", "taken_for", "images",
/// "of"}], the most images first, "lowest": [{"class", "right", "of"}], the lowest accuracy first}; both lists
/// kMostClasses long at most.
nlohmann::json confusion(const std::vector<std::string>& classes, const std::vector<int64_t>& labels,
                         const std::vector<int64_t>& predictions);

}  // namespace tacit::cli
