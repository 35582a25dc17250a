#include "cli/report/confusion.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

namespace tacit::cli {

using nlohmann::json;

namespace {

struct Count {
  int64_t label = 0, prediction = 0, images = 0;
};

json worst(const std::vector<std::string>& classes, std::vector<Count> counts) {
  std::vector<int64_t> of(classes.size()), right(classes.size());
  for (const Count& c : counts) {
    of[static_cast<size_t>(c.label)] += c.images;
    if (c.label == c.prediction) right[static_cast<size_t>(c.label)] = c.images;
  }
  std::erase_if(counts, [](const Count& c) { return c.label == c.prediction; });
  std::stable_sort(counts.begin(), counts.end(), [](const Count& a, const Count& b) { return a.images > b.images; });
  std::vector<size_t> tested;
  for (size_t c = 0; c < classes.size(); ++c)
    if (of[c] > 0) tested.push_back(c);
  std::stable_sort(tested.begin(), tested.end(),
                   [&](size_t a, size_t b) { return right[a] * of[b] < right[b] * of[a]; });
  json pairs = json::array(), lowest = json::array();
  for (size_t i = 0; i < std::min(kMostClasses, counts.size()); ++i) {
    const auto is = static_cast<size_t>(counts[i].label), taken_for = static_cast<size_t>(counts[i].prediction);
    pairs.push_back(
        {{"is", classes[is]}, {"taken_for", classes[taken_for]}, {"images", counts[i].images}, {"of", of[is]}});
  }
  for (size_t i = 0; i < std::min(kMostClasses, tested.size()); ++i)
    lowest.push_back({{"class", classes[tested[i]]}, {"right", right[tested[i]]}, {"of", of[tested[i]]}});
  return {{"class_count", tested.size()}, {"pair_count", counts.size()}, {"pairs", pairs}, {"lowest", lowest}};
}

}  // namespace

json confusion(const std::vector<std::string>& classes, const std::vector<int64_t>& labels,
               const std::vector<int64_t>& predictions) {
  std::map<std::pair<int64_t, int64_t>, int64_t> found;
  for (size_t i = 0; i < labels.size(); ++i) ++found[{labels[i], predictions[i]}];
  std::vector<Count> counts;
  for (const auto& [pair, images] : found) counts.push_back({pair.first, pair.second, images});
  if (classes.size() > kMostClasses) return worst(classes, std::move(counts));
  std::vector<std::vector<int64_t>> rows(classes.size(), std::vector<int64_t>(classes.size()));
  for (const Count& c : counts) rows[static_cast<size_t>(c.label)][static_cast<size_t>(c.prediction)] = c.images;
  return {{"classes", classes}, {"counts", rows}};
}

}  // namespace tacit::cli
