// The orders that jigsaw puzzles are dealt in: permutations of a grid's cells that are far apart.
// The rule: the set is a function of the grid and the count alone, so that every run, resumed or not, means the same
// order by one label.
#pragma once

#include "tensor/tensor.h"

namespace tacit::ssl {

/// How many orders a grid x grid puzzle has: (grid²)!. grid 2 or 3.
int64_t permutation_limit(int64_t grid);

/// `count` different permutations of 0 … grid² - 1, (count, grid²) i64 on the default device, chosen greedily (Noroozi
/// & Favaro 2016, algorithm 1): each is the one with the largest average Hamming distance to those before it. The paper
/// starts anywhere; here the identity comes first, and of equal ones the one with the largest smallest distance is
/// taken (then the first in lexicographic order). All candidates are looked at, 362,880 for 3 x 3, in about a
/// millisecond a pick. grid 2 or 3; 2 <= count <= permutation_limit(grid).
Tensor jigsaw_permutations(int64_t grid, int64_t count);

/// Hamming distances (entries that differ) between all pairs of a set's permutations.
struct Separation {
  double mean = 0;
  int64_t least = 0;
};
/// Of a set (count, grid²).
Separation separation(const Tensor& permutations);

}  // namespace tacit::ssl
