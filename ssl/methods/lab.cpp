#include "ssl/methods/lab.h"

#include <array>
#include <vector>

#include "tensor/ops.h"
#include "tensor/srgb.h"

namespace tacit::ssl {

namespace {

using Matrix = std::array<std::array<double, 3>, 3>;
constexpr double kTiny = 1e-6;  // below every knee: what a power is never taken of

Tensor number(double value, const Tensor& like) { return Tensor::scalar(value, like.dtype(), like.device()); }

/// x^exponent for x > 0; exp and log are vectorised where pow is not.
Tensor power(const Tensor& x, double exponent) { return exp(log(maximum(x, number(kTiny, x))) * exponent); }

/// Rows (…, 3) times the transpose of `rows` of a matrix, as one product of all pixels.
Tensor transformed(const Tensor& x, const Matrix& m, size_t first_row, size_t rows) {
  std::vector<double> values;  // (3, rows)
  for (size_t j = 0; j < 3; ++j)
    for (size_t i = 0; i < rows; ++i) values.push_back(m[first_row + i][j]);
  const auto n = static_cast<int64_t>(rows);
  const Tensor weight = Tensor::from(values, {3, n}, x.device()).to(x.dtype());
  Shape shape = x.shape();
  shape[-1] = n;
  return matmul(x.reshape({-1, 3}), weight).reshape(shape);
}

/// Linear RGB -> XYZ relative to the white.
Matrix xyz_of_rgb() {
  Matrix m{};
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j) m[i][j] = kXyzOfRgb[i][j] / kWhite[i];
  return m;
}

Matrix inverse(const Matrix& m) {
  Matrix adjugate{};
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j) {
      const size_t a = (j + 1) % 3, b = (j + 2) % 3, c = (i + 1) % 3, d = (i + 2) % 3;
      adjugate[i][j] = m[a][c] * m[b][d] - m[a][d] * m[b][c];
    }
  const double determinant = m[0][0] * adjugate[0][0] + m[0][1] * adjugate[1][0] + m[0][2] * adjugate[2][0];
  for (auto& row : adjugate)
    for (double& x : row) x /= determinant;
  return adjugate;
}

Tensor linear_of(const Tensor& rgb) {
  TACIT_CHECK(rgb.rank() > 0 && rgb.size(-1) == 3, "[lab] RGB stands in a last dimension of 3, got shape ",
              rgb.shape());
  const Tensor curve = power((rgb + kSrgbOffset) / (1 + kSrgbOffset), kSrgbGamma);
  return where(less_equal(rgb, number(kSrgbKnee, rgb)), rgb / kSrgbSlope, curve);
}

Tensor f_of(const Tensor& t) {
  return where(less_equal(t, number(kLabKnee, t)), (t * kLabSlope + 16.0) / 116, power(t, 1.0 / 3));
}

}  // namespace

Tensor rgb_to_lab(const Tensor& rgb) {
  const Tensor f = f_of(transformed(linear_of(rgb), xyz_of_rgb(), 0, 3));
  const int last = rgb.rank() - 1;
  const Tensor x = f.slice(last, 0, 1), y = f.slice(last, 1, 2), z = f.slice(last, 2, 3);
  return concatenate(std::vector<Tensor>{y * 116.0 - 16.0, (x - y) * 500.0, (y - z) * 200.0}, last);
}

Tensor rgb_to_lightness(const Tensor& rgb) {
  return f_of(transformed(linear_of(rgb), xyz_of_rgb(), 1, 1)) * 116.0 - 16.0;
}

Tensor lab_to_rgb(const Tensor& lab) {
  TACIT_CHECK(lab.rank() > 0 && lab.size(-1) == 3, "[lab] Lab stands in a last dimension of 3, got shape ",
              lab.shape());
  const int last = lab.rank() - 1;
  const Tensor y = (lab.slice(last, 0, 1) + 16.0) / 116;
  const Tensor f =
      concatenate(std::vector<Tensor>{lab.slice(last, 1, 2) / 500 + y, y, y - lab.slice(last, 2, 3) / 200}, last);
  const Tensor cube = f * f * f;
  const Tensor xyz = where(less_equal(cube, number(kLabKnee, f)), (f * 116.0 - 16.0) / kLabSlope, cube);
  const Tensor linear = transformed(xyz, inverse(xyz_of_rgb()), 0, 3);
  const Tensor rgb = where(less_equal(linear, number(kSrgbKnee / kSrgbSlope, linear)), linear * kSrgbSlope,
                           power(linear, 1 / kSrgbGamma) * (1 + kSrgbOffset) - kSrgbOffset);
  return minimum(maximum(rgb, number(0, rgb)), number(1, rgb));
}

Tensor lightness_as_gray(const Tensor& rgb) {
  const Tensor lightness = rgb_to_lightness(rgb), none = lightness * 0.0;
  return lab_to_rgb(concatenate(std::vector<Tensor>{lightness, none, none}, rgb.rank() - 1));
}

}  // namespace tacit::ssl
