#include "ssl/methods/permutations.h"

#include <algorithm>
#include <limits>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace tacit::ssl {

namespace {

/// Candidates in lexicographic order, one plane a position: candidates[p][c] is the cell at position p.
std::vector<std::vector<uint8_t>> all_permutations(int64_t cells, int64_t count) {
  std::vector<uint8_t> order(static_cast<size_t>(cells));
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<uint8_t>(i);
  std::vector<std::vector<uint8_t>> planes(order.size(), std::vector<uint8_t>(static_cast<size_t>(count)));
  for (size_t c = 0; c < static_cast<size_t>(count); ++c) {
    for (size_t p = 0; p < order.size(); ++p) planes[p][c] = order[p];
    std::next_permutation(order.begin(), order.end());
  }
  return planes;
}

}  // namespace

int64_t permutation_limit(int64_t grid) {
  TACIT_CHECK(grid == 2 || grid == 3, "[jigsaw] the grid must be 2 (2 x 2) or 3 (3 x 3), got ", grid);
  return grid == 2 ? 24 : 362880;
}

static Tensor chosen_permutations(int64_t grid, int64_t count) {
  const int64_t limit = permutation_limit(grid), cells = grid * grid;
  TACIT_CHECK(count >= 2 && count <= limit, "[jigsaw] a ", grid, " x ", grid, " grid has 2 to ", limit,
              " permutations to choose from, got ", count);
  const std::vector<std::vector<uint8_t>> planes = all_permutations(cells, limit);
  const auto candidates = static_cast<size_t>(limit);
  constexpr int32_t kTaken =
      std::numeric_limits<int32_t>::min() / 2;  // below any sum of distances, however many follow
  std::vector<int32_t> total(candidates, 0);    // of distances to the chosen: their average
  std::vector<uint8_t> least(candidates, static_cast<uint8_t>(cells)), distance(candidates);
  std::vector<int64_t> chosen;
  // Plain pointers: through a vector of bytes, which may alias anything, the compiler vectorises nothing.
  uint8_t* const d = distance.data();
  uint8_t* const nearest = least.data();
  int32_t* const sum = total.data();
  size_t next = 0;
  while (static_cast<int64_t>(chosen.size()) < count * cells) {
    std::fill(distance.begin(), distance.end(), uint8_t{0});
    for (const std::vector<uint8_t>& plane : planes) {
      const uint8_t* const cells_here = plane.data();
      const uint8_t cell = plane[next];
      chosen.push_back(cell);
      for (size_t c = 0; c < candidates; ++c) d[c] = static_cast<uint8_t>(d[c] + (cells_here[c] != cell));
    }
    sum[next] = kTaken;
    for (size_t c = 0; c < candidates; ++c) sum[c] += d[c];
    for (size_t c = 0; c < candidates; ++c) nearest[c] = std::min(nearest[c], d[c]);
    const int32_t farthest = *std::max_element(total.begin(), total.end());
    int best = -1;
    for (size_t c = 0; c < candidates; ++c)
      if (sum[c] == farthest && nearest[c] > best) {
        best = nearest[c];
        next = c;
      }
  }
  return Tensor::from(chosen, {count, cells});
}

Tensor jigsaw_permutations(int64_t grid, int64_t count) {
  static std::mutex mutex;
  static std::map<std::pair<int64_t, int64_t>, Tensor> made;  // thousands take seconds, and a run asks several times
  const std::lock_guard lock(mutex);
  Tensor& known = made[{grid, count}];
  if (!known.defined()) known = chosen_permutations(grid, count);
  return known.clone();
}

Separation separation(const Tensor& permutations) {
  const std::vector<int64_t> v = permutations.to_vector<int64_t>();
  const int64_t n = permutations.size(0), cells = permutations.size(1);
  Separation result{0, cells};
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < i; ++j) {
      int64_t distance = 0;
      for (int64_t p = 0; p < cells; ++p)
        distance += v[static_cast<size_t>(i * cells + p)] != v[static_cast<size_t>(j * cells + p)];
      result.mean += static_cast<double>(distance);
      result.least = std::min(result.least, distance);
    }
  result.mean /= static_cast<double>(n) * static_cast<double>(n - 1) / 2;
  return result;
}

}  // namespace tacit::ssl
