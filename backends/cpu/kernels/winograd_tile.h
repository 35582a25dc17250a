// Winograd's minimal filtering in one direction (Lavin and Gray 2016, arXiv:1509.09308; Winograd 1980): `out` outputs
// of a filter with three taps by `in` = out + 2 multiplications. In two directions each step is applied to rows, then
// to columns. For a tile d of the input, a filter g and its outputs y:
//
//   y  = A^T [(G g G^T) * (B^T d B)] A          * multiplies element by element
//   dg = G^T [(B^T d B) * (A dy A^T)] G         the same identity read the other way
//
// Interpolation points: F(2) 0, ±1, ∞; F(4) 0, ±3/4, ±3/2, ∞. Those of F(4) are nearer to each other in size than the
// usual 0, ±1, ±2, ∞, which halves the rounding error.
#pragma once

namespace tacit::cpu::TACIT_ISA {

/// Four outputs. Every function reads x[0], x[s], … and writes y[0], y[t], …; V is a vector of floats.
struct F4 {
  static constexpr int kOut = 4, kIn = 6;
  // The points are 0, ±p, ±q, ∞; kN…: the products of a point's distances to the other finite points.
  static constexpr float p = 0.75f, q = 1.5f, kP = p * p, kQ = q * q;
  static constexpr float kN0 = 1 / (kP * kQ), kNp = 1 / (2 * kP * (kP - kQ)), kNq = 1 / (2 * kQ * (kQ - kP));

  /// The values at p, -p, q and -q of a polynomial, from its even and its odd part at p and at q.
  template <class V>
  static inline void at_points(const V& even_p, const V& odd_p, const V& even_q, const V& odd_q, V* y, int t) {
    y[t] = even_p + odd_p;
    y[2 * t] = even_p - odd_p;
    y[3 * t] = even_q + odd_q;
    y[4 * t] = even_q - odd_q;
  }
  /// B^T x: 6 to 6.
  template <class V>
  static inline void input(const V* x, int s, V* y, int t) {
    const V x1 = x[s], x2 = x[2 * s], x3 = x[3 * s], x4 = x[4 * s];
    const V even_p = x4 - kQ * x2, odd_p = p * (x3 - kQ * x1);
    const V even_q = x4 - kP * x2, odd_q = q * (x3 - kP * x1);
    y[0] = kP * kQ * x[0] + (x4 - (kP + kQ) * x2);
    at_points(even_p, odd_p, even_q, odd_q, y, t);
    y[5 * t] = kP * kQ * x1 + (x[5 * s] - (kP + kQ) * x3);
  }
  /// A^T x: 6 to 4.
  template <class V>
  static inline void output(const V* x, int s, V* y, int t) {
    const V even_p = x[s] + x[2 * s], odd_p = x[s] - x[2 * s];
    const V even_q = x[3 * s] + x[4 * s], odd_q = x[3 * s] - x[4 * s];
    y[0] = x[0] + even_p + even_q;
    y[t] = p * odd_p + q * odd_q;
    y[2 * t] = kP * even_p + kQ * even_q;
    y[3 * t] = p * kP * odd_p + q * kQ * odd_q + x[5 * s];
  }
  /// A x: 4 to 6.
  template <class V>
  static inline void output_gradient(const V* x, int s, V* y, int t) {
    const V x0 = x[0], x1 = x[s], x2 = x[2 * s], x3 = x[3 * s];
    const V even_p = x0 + kP * x2, odd_p = p * x1 + p * kP * x3;
    const V even_q = x0 + kQ * x2, odd_q = q * x1 + q * kQ * x3;
    y[0] = x0;
    at_points(even_p, odd_p, even_q, odd_q, y, t);
    y[5 * t] = x3;
  }
  /// G x: 3 to 6.
  template <class V>
  static inline void weights(const V* x, int s, V* y, int t) {
    const V x0 = x[0], x1 = x[s], x2 = x[2 * s];
    const V even_p = kNp * x0 + kNp * kP * x2, odd_p = kNp * p * x1;
    const V even_q = kNq * x0 + kNq * kQ * x2, odd_q = kNq * q * x1;
    y[0] = kN0 * x0;
    at_points(even_p, odd_p, even_q, odd_q, y, t);
    y[5 * t] = x2;
  }
  /// G^T x: 6 to 3.
  template <class V>
  static inline void weights_gradient(const V* x, int s, V* y, int t) {
    const V even_p = kNp * (x[s] + x[2 * s]), odd_p = kNp * (x[s] - x[2 * s]);
    const V even_q = kNq * (x[3 * s] + x[4 * s]), odd_q = kNq * (x[3 * s] - x[4 * s]);
    y[0] = kN0 * x[0] + even_p + even_q;
    y[t] = p * odd_p + q * odd_q;
    y[2 * t] = kP * even_p + kQ * even_q + x[5 * s];
  }
};

/// Two outputs: half as fast as F(4), as exact as plain loops.
struct F2 {
  static constexpr int kOut = 2, kIn = 4;

  template <class V>
  static inline void input(const V* x, int s, V* y, int t) {
    const V x1 = x[s], x2 = x[2 * s];
    y[0] = x[0] - x2;
    y[t] = x1 + x2;
    y[2 * t] = x2 - x1;
    y[3 * t] = x1 - x[3 * s];
  }
  template <class V>
  static inline void output(const V* x, int s, V* y, int t) {
    y[0] = x[0] + (x[s] + x[2 * s]);
    y[t] = (x[s] - x[2 * s]) - x[3 * s];
  }
  template <class V>
  static inline void output_gradient(const V* x, int s, V* y, int t) {
    const V x0 = x[0], x1 = x[s];
    y[0] = x0;
    y[t] = x0 + x1;
    y[2 * t] = x0 - x1;
    y[3 * t] = -x1;
  }
  template <class V>
  static inline void weights(const V* x, int s, V* y, int t) {
    const V even = 0.5f * (x[0] + x[2 * s]), odd = 0.5f * x[s];
    y[0] = x[0];
    y[t] = even + odd;
    y[2 * t] = even - odd;
    y[3 * t] = x[2 * s];
  }
  template <class V>
  static inline void weights_gradient(const V* x, int s, V* y, int t) {
    const V even = 0.5f * (x[s] + x[2 * s]);
    y[0] = x[0] + even;
    y[t] = 0.5f * (x[s] - x[2 * s]);
    y[2 * t] = even + x[3 * s];
  }
};

}  // namespace tacit::cpu::TACIT_ISA
