#include "ssl/evaluate/labels.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "tensor/counted.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace tacit::ssl {

int64_t check_labelled(const std::vector<int64_t>& labels, const std::string& what) {
  TACIT_CHECK(!labels.empty(), "[evaluate] ", what, " has no images");
  const auto unknown = std::count_if(labels.begin(), labels.end(), [](int64_t l) { return l < 0; });
  TACIT_CHECK(unknown == 0, "[evaluate] ", unknown, " of ", counted(labels.size(), "image"), " of ", what,
              unknown == 1 ? " has" : " have", " no label; accuracies need labelled data");
  return 1 + *std::max_element(labels.begin(), labels.end());
}

double accuracy(const std::vector<int64_t>& predictions, const std::vector<int64_t>& labels) {
  TACIT_CHECK(predictions.size() == labels.size() && !labels.empty(), "[accuracy] ", predictions.size(),
              " predictions for ", labels.size(), " labels");
  int64_t right = 0;
  for (size_t i = 0; i < labels.size(); ++i) right += predictions[i] == labels[i];
  return static_cast<double>(right) / static_cast<double>(labels.size());
}

std::vector<int64_t> take(const std::vector<int64_t>& values, const std::vector<int64_t>& rows) {
  std::vector<int64_t> taken;
  taken.reserve(rows.size());
  for (const int64_t row : rows) taken.push_back(values.at(static_cast<size_t>(row)));
  return taken;
}

std::vector<std::vector<int64_t>> rows_by_class(const std::vector<int64_t>& labels, int64_t classes) {
  std::vector<std::vector<int64_t>> rows(static_cast<size_t>(classes));
  for (size_t i = 0; i < labels.size(); ++i) {
    TACIT_CHECK(labels[i] >= 0 && labels[i] < classes, "[labels] label ", labels[i], " of image ", i, " is not in 0 … ",
                classes - 1);
    rows[static_cast<size_t>(labels[i])].push_back(static_cast<int64_t>(i));
  }
  return rows;
}

int64_t count_classes(const std::vector<int64_t>& labels) {
  return static_cast<int64_t>(std::set<int64_t>(labels.begin(), labels.end()).size());
}

std::pair<int64_t, int64_t> smallest_class(const std::vector<int64_t>& labels, int64_t classes) {
  std::pair<int64_t, int64_t> least{0, static_cast<int64_t>(labels.size())};
  const auto by_class = rows_by_class(labels, classes);
  for (size_t c = 0; c < by_class.size(); ++c)
    if (!by_class[c].empty() && static_cast<int64_t>(by_class[c].size()) < least.second)
      least = {static_cast<int64_t>(c), static_cast<int64_t>(by_class[c].size())};
  return least;
}

std::vector<int64_t> shuffled(std::vector<int64_t> values, uint64_t seed, uint64_t stream) {
  Random random(seed, stream);
  shuffle(values, random);
  return values;
}

HeldOut hold_out(const std::vector<int64_t>& labels, int64_t classes, double fraction, uint64_t seed) {
  TACIT_CHECK(fraction > 0 && fraction < 1, "[hold out] fraction ", fraction, " must be between 0 and 1");
  HeldOut parts;
  const auto by_class = rows_by_class(labels, classes);
  for (size_t c = 0; c < by_class.size(); ++c) {
    const auto n = static_cast<int64_t>(by_class[c].size());
    if (n == 0) continue;
    TACIT_CHECK(n >= 2, "[hold out] class ", c,
                " has a single training image, so none can be held out of it; "
                "at least 2 per class are needed");
    const auto order = shuffled(by_class[c], seed, random_stream("hold out", c));
    const int64_t held = std::clamp<int64_t>(std::llround(fraction * static_cast<double>(n)), 1, n - 1);
    parts.validation.insert(parts.validation.end(), order.begin(), order.begin() + held);
    parts.train.insert(parts.train.end(), order.begin() + held, order.end());
  }
  std::sort(parts.validation.begin(), parts.validation.end());
  std::sort(parts.train.begin(), parts.train.end());
  return parts;
}

LabelDraw draw_labels(const std::vector<int64_t>& labels, int64_t classes, int64_t labels_per_class, int64_t draw,
                      uint64_t seed, const std::vector<std::string>& class_names) {
  TACIT_CHECK(labels_per_class >= 1, "[labels] ", labels_per_class, " labels per class; at least 1 is needed");
  LabelDraw result{labels_per_class, draw, {}};
  const auto by_class = rows_by_class(labels, classes);
  for (size_t c = 0; c < by_class.size(); ++c) {
    if (by_class[c].empty()) continue;
    const std::string name = c < class_names.size() ? " (" + class_names[c] + ")" : "";
    TACIT_CHECK(static_cast<int64_t>(by_class[c].size()) >= labels_per_class, "[labels] class ", c, name, " has ",
                counted(by_class[c].size(), "training image"), ", fewer than the ", counted(labels_per_class, "label"),
                " per class asked for");
    const auto order =
        shuffled(by_class[c], seed,
                 random_stream("label draw", static_cast<uint64_t>(labels_per_class), static_cast<uint64_t>(draw), c));
    result.indices.insert(result.indices.end(), order.begin(), order.begin() + labels_per_class);
  }
  std::sort(result.indices.begin(), result.indices.end());
  return result;
}

}  // namespace tacit::ssl
