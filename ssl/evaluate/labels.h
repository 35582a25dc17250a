// What evaluations do with labels: check them, count by class, and cut class-balanced parts out of a data set.
// The rule: every choice is a pure function of labels and seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tacit::ssl {

/// The largest label + 1: the size of what class numbers index. Throws Error when an image has no label (-1), saying
/// how many; `what` names the set in the message ("the training split").
int64_t check_labelled(const std::vector<int64_t>& labels, const std::string& what);

/// Fraction of equal entries.
double accuracy(const std::vector<int64_t>& predictions, const std::vector<int64_t>& labels);

/// values at rows.
std::vector<int64_t> take(const std::vector<int64_t>& values, const std::vector<int64_t>& rows);

/// The rows of each class, ascending. Labels must be in 0 … classes - 1.
std::vector<std::vector<int64_t>> rows_by_class(const std::vector<int64_t>& labels, int64_t classes);

/// How many different labels there are: a number that no image has is no class.
int64_t count_classes(const std::vector<int64_t>& labels);

/// The class with the fewest rows, of those that have any: its number and how many.
std::pair<int64_t, int64_t> smallest_class(const std::vector<int64_t>& labels, int64_t classes);

/// A permutation of the values (Fisher and Yates), drawn from (seed, stream).
std::vector<int64_t> shuffled(std::vector<int64_t> values, uint64_t seed, uint64_t stream);

/// Two parts of a data set, both ascending.
struct HeldOut {
  std::vector<int64_t> train, validation;
};
/// Holds out round(fraction * n) of the n rows of every class, at least 1 and at most n - 1. Classes without any row
/// are left alone; throws Error for a class with a single one and for fractions outside 0 … 1.
HeldOut hold_out(const std::vector<int64_t>& labels, int64_t classes, double fraction, uint64_t seed);

/// One class-balanced subset of the training split.
struct LabelDraw {
  int64_t labels_per_class = 0, draw = 0;
  std::vector<int64_t> indices;  ///< ascending, into the training split
};
/// The draw-th subset: a function of (seed, labels_per_class, draw). Throws Error, naming the class, where it has fewer
/// than labels_per_class rows. `class_names` may be empty.
LabelDraw draw_labels(const std::vector<int64_t>& labels, int64_t classes, int64_t labels_per_class, int64_t draw,
                      uint64_t seed, const std::vector<std::string>& class_names = {});

}  // namespace tacit::ssl
