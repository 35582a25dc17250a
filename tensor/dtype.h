// Element types. Mixing two of them in one op is an error; conversion is always spelled `to(dtype)`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <limits>
#include <type_traits>

#include "tensor/error.h"
#include "tensor/hd.h"

namespace tacit {

/// The type of a tensor's values.
enum class DType : uint8_t { f32, f64, bf16, i64, i32, u8 };

inline constexpr DType f32 = DType::f32;
inline constexpr DType f64 = DType::f64;
inline constexpr DType bf16 = DType::bf16;
inline constexpr DType i64 = DType::i64;
inline constexpr DType i32 = DType::i32;
inline constexpr DType u8 = DType::u8;

/// Storage of a bfloat16 number: the upper half of an f32, rounded to nearest even.
struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  TACIT_HD explicit BFloat16(float value) {
    const uint32_t x = __builtin_bit_cast(uint32_t, value);
    // A NaN must stay one when its low mantissa bits are cut off.
    bits = value != value ? static_cast<uint16_t>((x >> 16) | 0x40)
                          : static_cast<uint16_t>((x + 0x7fff + ((x >> 16) & 1)) >> 16);
  }
  TACIT_HD explicit operator float() const { return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16); }
};

/// Bytes of one element.
constexpr size_t size_of(DType t) {
  switch (t) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::bf16:
      return 2;
    case DType::u8:
      return 1;
  }
  return 0;
}

/// "f32", "i64", …
constexpr const char* name_of(DType t) {
  constexpr const char* names[] = {"f32", "f64", "bf16", "i64", "i32", "u8"};
  return names[static_cast<int>(t)];
}

/// The type of what stands beside activations of type t and is never narrower than f32: parameters, their gradients,
/// statistics, losses.
constexpr DType wide_dtype(DType t) { return t == DType::bf16 ? DType::f32 : t; }

constexpr bool is_floating(DType t) { return t == DType::f32 || t == DType::f64 || t == DType::bf16; }

std::ostream& operator<<(std::ostream&, DType);

/// X(DType, C++ type): what arithmetic is done in, and bf16, which is a storage type.
#define TACIT_FOREACH_ARITHMETIC(X) X(f32, float) X(f64, double) X(i64, int64_t) X(i32, int32_t) X(u8, uint8_t)
#define TACIT_FOREACH_DTYPE(X) TACIT_FOREACH_ARITHMETIC(X) X(bf16, BFloat16)

/// The DType of a C++ element type.
template <class T>
struct DTypeOf;
#define TACIT_DTYPE_OF(type, T)                 \
  template <>                                   \
  struct DTypeOf<T> {                           \
    static constexpr DType value = DType::type; \
  };
TACIT_FOREACH_DTYPE(TACIT_DTYPE_OF)
#undef TACIT_DTYPE_OF
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

/// What is computed in with numbers that are stored as T.
template <class T>
using ArithmeticOf = std::conditional_t<std::is_same_v<T, BFloat16>, float, T>;

/// Calls f(T{}) with a zero of the element type; for code that handles every type.
template <class F>
decltype(auto) visit_dtype(DType t, F&& f) {
  switch (t) {
#define TACIT_CASE(type, T) \
  case DType::type:         \
    return f(T{});
    TACIT_FOREACH_DTYPE(TACIT_CASE)
  }
  detail::fail("[dtype] unknown element type: ", static_cast<int>(t));
}

/// As visit_dtype for the two types that arithmetic is done in; `op` names the op in the error.
template <class F>
decltype(auto) visit_floating(const char* op, DType t, F&& f) {
  if (t == DType::f32) return f(float{});
  if (t == DType::f64) return f(double{});
  detail::fail("[", op, "] needs f32 or f64, got ", name_of(t), "; convert with to(f32)");
}

/// As visit_floating, and for bf16, which is read and written but computed in ArithmeticOf it.
template <class F>
decltype(auto) visit_activations(const char* op, DType t, F&& f) {
  return t == bf16 ? f(BFloat16{}) : visit_floating(op, t, f);
}

/// As visit_dtype for everything but bf16, which is a storage type.
template <class F>
decltype(auto) visit_arithmetic(const char* op, DType t, F&& f) {
  switch (t) {
    TACIT_FOREACH_ARITHMETIC(TACIT_CASE)
    case DType::bf16:
      break;
  }
  detail::fail("[", op, "] does not compute in bf16; convert with to(f32)");
}
#undef TACIT_CASE

/// A number as an i64, towards zero. NaN becomes 0, what does not fit the nearest end of the range.
TACIT_HD inline int64_t truncate(double value) {
  if (value != value) return 0;
  if (value >= 0x1p63) return std::numeric_limits<int64_t>::max();
  if (value < -0x1p63) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(value);
}

/// A value of one element type in another; narrower integers keep the low bits.
template <class To, class From>
TACIT_HD To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<From, BFloat16>) {
    return convert<To>(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, BFloat16>) {
    return BFloat16(static_cast<float>(value));
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    return static_cast<To>(truncate(static_cast<double>(value)));
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace tacit
