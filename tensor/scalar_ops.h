// Every element-wise function with its derivative, in one place. Compiled into the reference, CPU and CUDA backends.
//
// Adding one: write a struct (f, df, what df reads) and one line in TACIT_FOREACH_UNARY. The enum, the kernels of every
// backend, tanh(Tensor), tanh(Variable), the op table's row with its gradient check and the benchmark all follow.
// The rule: plain arithmetic that a compiler can vectorise; libm calls only for double, or where no training step goes.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/hd.h"

namespace tacit {

/// What a derivative reads besides dy, and so what autograd keeps: nothing, the input x, or the output y.
enum class Saves : uint8_t { Nothing, Input, Output };

// clang-format off
/// X(Functor, function name, low, high): the range is what the op table draws test inputs from.
#define TACIT_FOREACH_UNARY(X)         \
  X(Neg,        neg,        -2.0, 2.0) \
  X(Abs,        abs,         0.3, 2.0) \
  X(Exp,        exp,        -2.0, 2.0) \
  X(Log,        log,         0.2, 3.0) \
  X(Sqrt,       sqrt,        0.2, 3.0) \
  X(Rsqrt,      rsqrt,       0.2, 3.0) \
  X(Square,     square,     -2.0, 2.0) \
  X(Reciprocal, reciprocal,  0.5, 3.0) \
  X(Sin,        sin,        -2.0, 2.0) \
  X(Cos,        cos,        -2.0, 2.0) \
  X(Tanh,       tanh,       -2.0, 2.0) \
  X(Erf,        erf,        -2.0, 2.0) \
  X(Sigmoid,    sigmoid,    -3.0, 3.0) \
  X(Relu,       relu,        0.2, 2.0) \
  X(Gelu,       gelu,       -3.0, 3.0) \
  X(Silu,       silu,       -3.0, 3.0) \
  X(Softplus,   softplus,   -3.0, 3.0)

/// X(Functor, function name, result is u8): the last six compare, and have no gradient.
#define TACIT_FOREACH_BINARY(X)      \
  X(Add,          add,           false) \
  X(Sub,          sub,           false) \
  X(Mul,          mul,           false) \
  X(Div,          div,           false) \
  X(Maximum,      maximum,       false) \
  X(Minimum,      minimum,       false) \
  X(Pow,          pow,           false) \
  X(Equal,        equal,         true)  \
  X(NotEqual,     not_equal,     true)  \
  X(Less,         less,          true)  \
  X(LessEqual,    less_equal,    true)  \
  X(Greater,      greater,       true)  \
  X(GreaterEqual, greater_equal, true)
// clang-format on

#define TACIT_ENUM_UNARY(F, name, low, high) F,
enum class UnaryOp : uint8_t { TACIT_FOREACH_UNARY(TACIT_ENUM_UNARY) };
#undef TACIT_ENUM_UNARY
#define TACIT_ENUM_BINARY(F, name, compares) F,
enum class BinaryOp : uint8_t { TACIT_FOREACH_BINARY(TACIT_ENUM_BINARY) };
#undef TACIT_ENUM_BINARY

inline namespace TACIT_ISA {

// ---- elementary functions to float accuracy, free of branches and calls; double goes to libm

/// exp(r) for |r| <= ln2/2: the minimax coefficients of Cephes' expf (S. Moshier).
TACIT_HD inline float exp_near_zero(float r) {
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return (p * r) * r + r + 1.0f;
}

/// exp: 2^n * p(r), |r| <= ln2/2. Within 1.5 ulp; underflows to 0 below -87.3, overflows to inf above 88.72; NaN stays.
TACIT_HD inline float fast_exp(float x) {
  constexpr float kLog2e = 1.44269504088896341f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  const float c = x > -87.33654f ? (x < 88.72283f ? x : 88.72283f) : -87.33654f;  // NaN goes to the lower bound
  // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer in two additions.
  const float n = (c * kLog2e + 12582912.0f) - 12582912.0f;
  const float r = (c - n * kLn2High) - n * kLn2Low;
  const float p = exp_near_zero(r);
  // n can be 128, one more than a float's exponent holds: two factors of half the power each.
  const int32_t i = static_cast<int32_t>(n), half = i >> 1;
  const float s1 = __builtin_bit_cast(float, (half + 127) << 23),
              s2 = __builtin_bit_cast(float, (i - half + 127) << 23);
  const float y = p * s1 * s2;
  const float inf = __builtin_inff();
  const float bounded = x < -87.33654f ? 0.0f : (x > 88.72283f ? inf : y);
  return x != x ? x : bounded;
}
TACIT_HD inline double fast_exp(double x) { return ::exp(x); }

/// tanh from exp: odd polynomial near 0 where 1 - 2/(e^2x + 1) would cancel.
TACIT_HD inline float fast_tanh(float x) {
  const float a = x < 0 ? -x : x, x2 = x * x;
  float p = -5.70498872745e-3f;  // Cephes tanhf, |x| < 0.625
  p = p * x2 + 2.06390887954e-2f;
  p = p * x2 - 5.37397155531e-2f;
  p = p * x2 + 1.33314422036e-1f;
  p = p * x2 - 3.33332819422e-1f;
  const float small = p * x2 * x + x;
  const float big = 1.0f - 2.0f / (fast_exp(2.0f * a) + 1.0f);
  const float y = a < 0.625f ? small : (x < 0 ? -big : big);
  return x != x ? x : y;
}
TACIT_HD inline double fast_tanh(double x) { return ::tanh(x); }

/// erf: series-like odd polynomial below 1, Numerical Recipes' erfc form (Chebyshev fit, 1.2e-7) above.
TACIT_HD inline float fast_erf(float x) {
  const float a = x < 0 ? -x : x, x2 = x * x;
  float p = 7.853861353153693e-5f;  // Cephes erff, |x| < 1
  p = p * x2 - 8.010193625184903e-4f;
  p = p * x2 + 5.188327685732524e-3f;
  p = p * x2 - 2.685381193529856e-2f;
  p = p * x2 + 1.128358514861418e-1f;
  p = p * x2 - 3.761262582423300e-1f;
  p = p * x2 + 1.128379165726710e+0f;
  const float small = p * x;
  const float t = 2.0f / (2.0f + a);
  float q = 0.17087277f;
  q = q * t - 0.82215223f;
  q = q * t + 1.48851587f;
  q = q * t - 1.13520398f;
  q = q * t + 0.27886807f;
  q = q * t - 0.18628806f;
  q = q * t + 0.09678418f;
  q = q * t + 0.37409196f;
  q = q * t + 1.00002368f;
  q = q * t - 1.26551223f;
  const float big = 1.0f - t * fast_exp(q - x2);
  const float y = a < 1.0f ? small : (x < 0 ? -big : big);
  return x != x ? x : y;
}
TACIT_HD inline double fast_erf(double x) { return ::erf(x); }

/// fast_exp for x <= 0: with nothing above to guard against, one power of two goes straight into the exponent. 0 below
/// -86.9; NaN becomes 0.
TACIT_HD inline float exp_of_negative(float x) {
  constexpr float kLog2e = 1.44269504088896341f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  const float c = x > -86.9f ? x : -86.9f;
  const float shifted = c * kLog2e + 12582912.0f, n = shifted - 12582912.0f;  // the integer lies in shifted's low bits
  const float r = (c - n * kLn2High) - n * kLn2Low;
  const float p = exp_near_zero(r);
  const float y =
      __builtin_bit_cast(float, __builtin_bit_cast(uint32_t, p) + (__builtin_bit_cast(uint32_t, shifted) << 23));
  return x > -86.9f ? y : 0.0f;
}

/// The standard normal distribution at x: its density, and the part below x.
template <class T>
struct NormalDistribution {
  T density, below;
};
/// One exponential for both: the tail is exp(-x^2 / 2) t P(t) with t = 1 / (1 + |x| / sqrt(8)), P an own least-squares
/// fit of erfc(z) exp(z^2) / t (relative error 4e-8, 3e-7 in float arithmetic), so that small tails keep their digits.
TACIT_HD inline NormalDistribution<float> normal_distribution(float x) {
  const float a = x < 0 ? -x : x, e = exp_of_negative(-0.5f * x * x), t = 1.0f / (1.0f + 0.35355339f * a);
  float p = -0.05889183655381203f;
  p = p * t + 0.28370699286460876f;
  p = p * t - 0.485393762588501f;
  p = p * t + 0.2759891748428345f;
  p = p * t - 0.02518491819500923f;
  p = p * t + 0.20207272469997406f;
  p = p * t + 0.24326032400131226f;
  p = p * t + 0.28235357999801636f;
  p = p * t + 0.28208768367767334f;
  const float tail = 0.5f * e * (t * p);
  return {0.3989422804014327f * e, x < 0 ? tail : 1.0f - tail};
}
TACIT_HD inline NormalDistribution<double> normal_distribution(double x) {
  return {0.3989422804014327 * ::exp(-0.5 * x * x), 0.5 * ::erfc(-0.7071067811865476 * x)};
}

TACIT_HD inline float libm_log(float x) { return ::logf(x); }
TACIT_HD inline double libm_log(double x) { return ::log(x); }
TACIT_HD inline float libm_sqrt(float x) { return __builtin_sqrtf(x); }
TACIT_HD inline double libm_sqrt(double x) { return __builtin_sqrt(x); }
TACIT_HD inline float libm_sin(float x) { return ::sinf(x); }
TACIT_HD inline double libm_sin(double x) { return ::sin(x); }
TACIT_HD inline float libm_cos(float x) { return ::cosf(x); }
TACIT_HD inline double libm_cos(double x) { return ::cos(x); }
TACIT_HD inline float libm_pow(float x, float y) { return ::powf(x, y); }
TACIT_HD inline double libm_pow(double x, double y) { return ::pow(x, y); }
TACIT_HD inline float libm_log1p(float x) { return ::log1pf(x); }
TACIT_HD inline double libm_log1p(double x) { return ::log1p(x); }

// ---- unary: f(x), and df(x, y) = dy/dx given the input x and the output y (whichever `saves` names; the other is 0)

#define TACIT_UNARY(Name, what, forward, derivative)                   \
  struct Name {                                                        \
    static constexpr Saves saves = Saves::what;                        \
    template <class T>                                                 \
    TACIT_HD static T f(T x) {                                         \
      return forward;                                                  \
    }                                                                  \
    template <class T>                                                 \
    TACIT_HD static T df([[maybe_unused]] T x, [[maybe_unused]] T y) { \
      return derivative;                                               \
    }                                                                  \
  };

TACIT_UNARY(Neg, Nothing, -x, T(-1))
TACIT_UNARY(Abs, Input, x<T(0) ? -x : x, x> T(0) ? T(1) : (x < T(0) ? T(-1) : T(0)))
TACIT_UNARY(Exp, Output, fast_exp(x), y)
TACIT_UNARY(Log, Input, libm_log(x), T(1) / x)
TACIT_UNARY(Sqrt, Output, libm_sqrt(x), T(0.5) / y)
TACIT_UNARY(Rsqrt, Output, T(1) / libm_sqrt(x), T(-0.5) * y * y * y)
TACIT_UNARY(Square, Input, x* x, T(2) * x)
TACIT_UNARY(Reciprocal, Output, T(1) / x, -y* y)
TACIT_UNARY(Sin, Input, libm_sin(x), libm_cos(x))
TACIT_UNARY(Cos, Input, libm_cos(x), -libm_sin(x))
TACIT_UNARY(Tanh, Output, fast_tanh(x), T(1) - y * y)
TACIT_UNARY(Erf, Input, fast_erf(x), T(1.1283791670955126) * fast_exp(-x * x))
TACIT_UNARY(Sigmoid, Output, T(1) / (T(1) + fast_exp(-x)), y*(T(1) - y))
// A NaN passes through: x < 0 is false for it.
TACIT_UNARY(Relu, Output, x<T(0) ? T(0) : x, y> T(0) ? T(1) : T(0))
/// x * Phi(x), exact (erf) form of Hendrycks & Gimpel 2016.
TACIT_UNARY(Gelu, Input, x* normal_distribution(x).below,
            normal_distribution(x).below + x * normal_distribution(x).density)
TACIT_UNARY(Silu, Input, x / (T(1) + fast_exp(-x)),
            T(1) / (T(1) + fast_exp(-x)) * (T(1) + x * (T(1) - T(1) / (T(1) + fast_exp(-x)))))
TACIT_UNARY(Softplus, Input, (x > T(0) ? x : T(0)) + libm_log1p(fast_exp(x > T(0) ? -x : x)),
            T(1) / (T(1) + fast_exp(-x)))
#undef TACIT_UNARY

// ---- binary: gradients are composed in autograd/ops_math.cpp

// Integers wrap around; signed overflow would be undefined.
#define TACIT_WRAPPING(Name, op)                                        \
  struct Name {                                                         \
    template <class T>                                                  \
    TACIT_HD static T f(T a, T b) {                                     \
      constexpr bool kInteger = T(1) / T(2) == T(0);                    \
      if constexpr (kInteger)                                           \
        return T(static_cast<uint64_t>(a) op static_cast<uint64_t>(b)); \
      else                                                              \
        return T(a op b);                                               \
    }                                                                   \
  };
TACIT_WRAPPING(Add, +)
TACIT_WRAPPING(Sub, -)
TACIT_WRAPPING(Mul, *)
#undef TACIT_WRAPPING

#define TACIT_BINARY(Name, result)     \
  struct Name {                        \
    template <class T>                 \
    TACIT_HD static auto f(T a, T b) { \
      return result;                   \
    }                                  \
  };
TACIT_BINARY(Maximum, T(a != a || a > b ? a : b))  // a NaN on either side wins
TACIT_BINARY(Minimum, T(a != a || a < b ? a : b))
TACIT_BINARY(Equal, uint8_t(a == b))
TACIT_BINARY(NotEqual, uint8_t(a != b))
TACIT_BINARY(Less, uint8_t(a < b))
TACIT_BINARY(LessEqual, uint8_t(a <= b))
TACIT_BINARY(Greater, uint8_t(a > b))
TACIT_BINARY(GreaterEqual, uint8_t(a >= b))
#undef TACIT_BINARY

/// Integer division never traps: by zero it gives 0, and the smallest number by -1 wraps around to itself.
struct Div {
  TACIT_HD static float f(float a, float b) { return a / b; }
  TACIT_HD static double f(double a, double b) { return a / b; }
  template <class T>
  TACIT_HD static T f(T a, T b) {
    if (T(-1) < T(0) && b == T(-1)) return T(~static_cast<uint64_t>(a) + 1);
    return b == 0 ? T(0) : T(a / b);
  }
};
/// Of integers exact, wrapping around where it does not fit, as their products do.
struct Pow {
  TACIT_HD static float f(float a, float b) { return libm_pow(a, b); }
  TACIT_HD static double f(double a, double b) { return libm_pow(a, b); }
  template <class T>
  TACIT_HD static T f(T a, T b) {
    const bool negative = T(-1) < T(0) && b < T(0);
    if (negative && a != T(1) && a != T(-1)) return T(0);  // a fraction, rounded to 0
    uint64_t power = 1, square = static_cast<uint64_t>(a);
    // Of 1 and -1 only whether the exponent is odd matters, which its bits as an unsigned number tell too.
    for (uint64_t left = static_cast<uint64_t>(b); left > 0; left >>= 1, square *= square)
      if (left & 1) power *= square;
    return T(power);
  }
};

/// Calls f(Functor{}) for the op code: how a kernel family is instantiated for every function.
template <class F>
inline void visit(UnaryOp op, F&& f) {
  switch (op) {
#define TACIT_CASE(Functor, name, low, high) \
  case UnaryOp::Functor:                     \
    return f(Functor{});
    TACIT_FOREACH_UNARY(TACIT_CASE)
#undef TACIT_CASE
  }
}
template <class F>
inline void visit(BinaryOp op, F&& f) {
  switch (op) {
#define TACIT_CASE(Functor, name, compares) \
  case BinaryOp::Functor:                   \
    return f(Functor{});
    TACIT_FOREACH_BINARY(TACIT_CASE)
#undef TACIT_CASE
  }
}

}  // namespace TACIT_ISA

/// True for the ops whose result is u8.
constexpr bool compares(BinaryOp op) { return op >= BinaryOp::Equal; }

}  // namespace tacit
