// Shapes and strides: up to six sizes, trivially copyable so that they travel inside kernel arguments.
// Strides count elements, never bytes; stride 0 is a broadcast dimension; negative strides do not exist.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>

#include "tensor/error.h"

namespace tacit {

inline constexpr int kMaxRank = 6;

/// A list of at most kMaxRank sizes. Rank 0 is a scalar with one element.
class Shape {
 public:
  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<int64_t> sizes)
      : Shape(std::span<const int64_t>(sizes.begin(), sizes.size())) {}
  constexpr explicit Shape(std::span<const int64_t> sizes) {
    TACIT_CHECK(sizes.size() <= static_cast<size_t>(kMaxRank), "[shape] at most ", kMaxRank,
                " dimensions are supported, got ", sizes.size());
    for (int64_t s : sizes) sizes_[rank_++] = s;
  }

  constexpr int rank() const { return rank_; }

  /// Size of dimension i; a negative i counts from the end (-1 is the last).
  constexpr int64_t operator[](int i) const { return sizes_[index(i)]; }
  constexpr int64_t& operator[](int i) { return sizes_[index(i)]; }

  /// Maps a possibly negative dimension to 0 … rank-1; throws if there is no such dimension.
  constexpr int index(int i) const {
    const int d = i < 0 ? i + rank_ : i;
    TACIT_CHECK(d >= 0 && d < rank_, "[shape] dimension ", i, " of a tensor of rank ", rank_);
    return d;
  }

  constexpr int64_t numel() const {
    for (int i = 0; i < rank_; ++i)
      if (sizes_[i] == 0) return 0;  // first: the product of the others may not be a number
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= sizes_[i];
    return n;
  }

  constexpr const int64_t* begin() const { return sizes_; }
  constexpr const int64_t* end() const { return sizes_ + rank_; }

  constexpr void push_back(int64_t size) {
    TACIT_CHECK(rank_ < kMaxRank, "[shape] more than ", kMaxRank, " dimensions");
    sizes_[rank_++] = size;
  }

  friend constexpr bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a.sizes_[i] != b.sizes_[i]) return false;
    return true;
  }

 private:
  int rank_ = 0;
  int64_t sizes_[kMaxRank] = {};
};

using Strides = Shape;

/// Strides of a dense row-major tensor.
Strides row_major(const Shape&);

/// True when the elements lie dense in row-major order (dimensions of size 1 are ignored).
bool is_row_major(const Shape&, const Strides&);

/// The first rank - n sizes (or strides): what is left when the last n dimensions are walked by hand.
inline Shape leading(const Shape& s, int n) {
  return Shape(std::span<const int64_t>(s.begin(), static_cast<size_t>(s.rank() - n)));
}

/// Strides of a list under a shape of `rank` dimensions whose first is the list's; it repeats along the others.
inline Strides along_first(const Strides& list, int rank) {
  Strides strides;
  for (int d = 0; d < rank; ++d) strides.push_back(d == 0 ? list[0] : 0);
  return strides;
}
/// The strides with that of one dimension set to 0: an index along it is then added by hand.
inline Strides without_stride(Strides strides, int dim) {
  strides[dim] = 0;
  return strides;
}

/// Rows of a dense tensor: everything before its last dimension, flattened.
struct Rows {
  explicit Rows(const Shape& s) : count(leading(s, 1).numel()), size(s[-1]) {}
  int64_t count, size;
};

/// The shape that two shapes broadcast to, by NumPy's rule; `op` names the op in the error.
Shape broadcast(const char* op, const Shape&, const Shape&);

/// "(2, 3, 4)".
std::ostream& operator<<(std::ostream&, const Shape&);

}  // namespace tacit
