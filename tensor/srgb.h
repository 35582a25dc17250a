// sRGB (IEC 61966-2-1) and CIE 1976 L*a*b* under D65: the numbers that augmentation and ssl/methods share.
// The rule: exact constants (216 / 24389, 24389 / 27) rather than the rounded .008856 and 903.3, so that the two pieces
// of each curve meet; matrix and white as published by B. Lindbloom (brucelindbloom.com), whose rows sum to the white.
#pragma once

namespace tacit {

/// Linear RGB -> XYZ, Y of white 1.
inline constexpr double kXyzOfRgb[3][3] = {
    {0.4124564, 0.3575761, 0.1804375}, {0.2126729, 0.7151522, 0.0721750}, {0.0193339, 0.1191920, 0.9503041}};
inline constexpr double kWhite[3] = {0.95047, 1.0, 1.08883};

/// sRGB c -> linear: c / kSrgbSlope up to kSrgbKnee, then ((c + kSrgbOffset) / (1 + kSrgbOffset))^kSrgbGamma.
inline constexpr double kSrgbKnee = 0.04045, kSrgbSlope = 12.92, kSrgbOffset = 0.055, kSrgbGamma = 2.4;
/// Lab's f(t): (kLabSlope t + 16) / 116 up to kLabKnee, then the cube root of t. L = 116 f(Y) - 16.
inline constexpr double kLabKnee = 216.0 / 24389, kLabSlope = 24389.0 / 27;

/// What a network sees of a pixel's lightness L, 0 … 100: (L - kLightnessMean) / kLightnessScale.
inline constexpr double kLightnessMean = 50, kLightnessScale = 50;

}  // namespace tacit
