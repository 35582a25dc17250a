#include "ssl/train/histogram.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace tacit::ssl {

namespace {

constexpr uint32_t kSign = 0x80000000u, kInfinity = 0x7f800000u;
constexpr int kShift = 20;                        // exponent and three bits of the mantissa are left
constexpr size_t kFinite = kInfinity >> kShift;   // buckets of one sign
constexpr size_t kOctaves = 10, kInAnOctave = 8;  // those kept apart below the largest value: a factor of 1024

/// Where bucket k of positive numbers begins; the last one ends at 2^128.
double bucket_begin(size_t k) {
  return k == kFinite ? std::ldexp(1.0, 128) : std::bit_cast<float>(static_cast<uint32_t>(k) << kShift);
}

class Counter {
 public:
  void add(const std::vector<float>& values) {
    for (const float value : values) {
      const auto bits = std::bit_cast<uint32_t>(value);
      const uint32_t magnitude = bits & ~kSign;
      if (magnitude >= kInfinity) continue;
      const bool negative = (bits & kSign) != 0 && magnitude > 0;
      // Buckets hold their lower end and not their upper one: of negative numbers that is the larger magnitude.
      ++counts_[negative][(magnitude - (negative ? 1 : 0)) >> kShift];
      const double v = value;
      result_.min = result_.count == 0 ? v : std::min(result_.min, v);
      result_.max = result_.count == 0 ? v : std::max(result_.max, v);
      result_.sum += v;
      result_.sum_squares += v * v;
      ++result_.count;
    }
  }

  Histogram histogram() const {
    Histogram h = result_;
    size_t largest = 0;
    for (size_t k = 0; k < kFinite; ++k)
      if (counts_[0][k] + counts_[1][k] > 0) largest = k;
    const size_t least = largest - std::min(largest, kOctaves * kInAnOctave) + 1;  // of those that are kept apart
    int64_t near_zero = 0;
    for (size_t k = 0; k < least; ++k) near_zero += counts_[0][k] + counts_[1][k];
    for (size_t k = largest + 1; k-- > least;) put(h, -bucket_begin(k), counts_[1][k]);
    put(h, bucket_begin(least), near_zero);
    for (size_t k = least; k <= largest; ++k) put(h, bucket_begin(k + 1), counts_[0][k]);
    while (!h.counts.empty() && h.counts.back() == 0) h.counts.pop_back(), h.limits.pop_back();
    return h;
  }

 private:
  /// Appends a bucket; an empty one only widens an empty one before it, and none comes first.
  static void put(Histogram& h, double limit, int64_t count) {
    if (count == 0 && h.counts.empty()) return;
    if (count == 0 && h.counts.back() == 0) {
      h.limits.back() = limit;
      return;
    }
    h.limits.push_back(limit);
    h.counts.push_back(static_cast<double>(count));
  }

  Histogram result_;
  std::array<std::array<int64_t, kFinite>, 2> counts_{};  // positive and 0, negative
};

}  // namespace

Histogram histogram_of(const std::vector<Tensor>& tensors) {
  Counter counter;
  for (const Tensor& tensor : tensors) counter.add(tensor.to(f32).to_vector<float>());
  return counter.histogram();
}

}  // namespace tacit::ssl
