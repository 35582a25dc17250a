#include "ssl/train/scatter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "ssl/evaluate/labels.h"
#include "ssl/train/picture.h"
#include "tensor/random.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_easy_font.h>
#pragma GCC diagnostic pop

namespace tacit::ssl {

namespace {

using Colour = std::array<uint8_t, 3>;

constexpr int64_t kPlot = 720, kMargin = 44, kLegend = 240, kTextScale = 2, kLineHeight = 24;
constexpr int64_t kMostPoints = 5000, kMostNames = 24, kLongestName = 15, kRadius = 3;
constexpr Colour kInk = {40, 40, 40}, kFrame = {200, 200, 200}, kUnknown = {150, 150, 150};

/// Ten colours that are told apart well, then evenly spaced hues.
Colour colour_of(int64_t label, int64_t classes) {
  constexpr std::array<Colour, 10> kTen = {{{31, 119, 180},
                                            {255, 127, 14},
                                            {44, 160, 44},
                                            {214, 39, 40},
                                            {148, 103, 189},
                                            {140, 86, 75},
                                            {227, 119, 194},
                                            {90, 90, 90},
                                            {188, 189, 34},
                                            {23, 190, 207}}};
  if (label < 0) return kUnknown;
  if (classes <= 10) return kTen[static_cast<size_t>(label % 10)];
  const double hue = 6 * static_cast<double>(label) / static_cast<double>(classes);
  const auto channel = [&](double at) {
    const double distance = std::abs(std::fmod(hue - at + 9, 6) - 3);  // 0 … 3 from that primary
    return static_cast<uint8_t>(std::lround(40 + 180 * std::clamp(2 - distance, 0.0, 1.0)));
  };
  return {channel(0), channel(2), channel(4)};
}

class Canvas {
 public:
  Canvas(int64_t width, int64_t height)
      : width_(width), height_(height), rgb_(static_cast<size_t>(width * height * 3), 255) {}

  /// Mixes the colour in by `weight` in [0, 1]; outside the picture nothing happens.
  void mix(int64_t x, int64_t y, const Colour& colour, double weight = 1) {
    if (x < 0 || y < 0 || x >= width_ || y >= height_) return;
    uint8_t* const pixel = rgb_.data() + (y * width_ + x) * 3;
    for (size_t c = 0; c < 3; ++c)
      pixel[c] = static_cast<uint8_t>(std::lround(pixel[c] + weight * (colour[c] - double{1} * pixel[c])));
  }
  void rectangle(int64_t left, int64_t top, int64_t width, int64_t height, const Colour& colour) {
    for (int64_t y = top; y < top + height; ++y)
      for (int64_t x = left; x < left + width; ++x) mix(x, y, colour);
  }
  void disc(int64_t x, int64_t y, const Colour& colour) {
    for (int64_t dy = -kRadius; dy <= kRadius; ++dy)
      for (int64_t dx = -kRadius; dx <= kRadius; ++dx)
        mix(x + dx, y + dy, colour,
            0.75 * std::clamp(kRadius + 0.5 - std::sqrt(static_cast<double>(dx * dx + dy * dy)), 0.0, 1.0));
  }
  /// stb_easy_font makes rectangles of the text, four corners {x, y, z, colour} of 16 bytes each.
  void text(int64_t left, int64_t top, const std::string& words) {
    std::string line = words;
    for (char& c : line)
      if (c < 32 || c > 126) c = '?';
    std::vector<char> corners(line.size() * 600 + 64);
    const int quads = stb_easy_font_print(0, 0, line.data(), nullptr, corners.data(), static_cast<int>(corners.size()));
    for (int q = 0; q < quads; ++q) {
      std::array<float, 2> low{}, high{};
      std::memcpy(low.data(), corners.data() + q * 64, sizeof low);
      std::memcpy(high.data(), corners.data() + q * 64 + 32, sizeof high);
      const auto at = [](float v) { return static_cast<int64_t>(std::lround(v)) * kTextScale; };
      rectangle(left + at(low[0]), top + at(low[1]), at(high[0]) - at(low[0]), at(high[1]) - at(low[1]), kInk);
    }
  }
  void write(const std::string& path) const { write_png(path, rgb_, width_, height_); }

 private:
  int64_t width_, height_;
  std::vector<uint8_t> rgb_;
};

/// Where a coordinate lies between the least and the largest finite one: a pixel from 0 on.
class Axis {
 public:
  Axis(const std::vector<double>& points, size_t which) {
    for (size_t i = which; i < points.size(); i += 2) {
      low_ = i == which ? points[i] : std::min(low_, points[i]);
      high_ = i == which ? points[i] : std::max(high_, points[i]);
    }
  }
  int64_t pixel(double value) const {
    const double part = high_ > low_ ? (value - low_) / (high_ - low_) : 0.5;
    return kRadius + std::lround(part * static_cast<double>(kPlot - 2 * kRadius - 1));
  }

 private:
  double low_ = 0, high_ = 0;
};

void draw_legend(Canvas& canvas, const ScatterPlot& plot, int64_t classes) {
  const int64_t left = kMargin + kPlot + 16;
  int64_t top = kMargin;
  for (int64_t c = 0; c < std::min(classes, kMostNames); ++c, top += kLineHeight) {
    const auto at = static_cast<size_t>(c);
    std::string name = at < plot.class_names.size() ? plot.class_names[at] : std::to_string(c);
    if (static_cast<int64_t>(name.size()) > kLongestName) name = name.substr(0, kLongestName - 2) + "..";
    canvas.rectangle(left, top + 2, 14, 14, colour_of(c, classes));
    canvas.text(left + 22, top, name);
  }
  if (classes > kMostNames) canvas.text(left + 22, top, "and " + std::to_string(classes - kMostNames) + " more");
}

}  // namespace

void write_scatter_png(const std::string& path, const ScatterPlot& plot) {
  TACIT_CHECK(plot.points.rank() == 2 && plot.points.size(1) == 2 &&
                  plot.points.size(0) == static_cast<int64_t>(plot.labels.size()) && !plot.labels.empty(),
              "[scatter] points of shape ", plot.points.shape(), " with ", plot.labels.size(),
              " labels; they must be (N, 2) and N");
  const std::vector<double> points = plot.points.to(f64).to_vector<double>();
  for (const double v : points) TACIT_CHECK(std::isfinite(v), "[scatter] the points hold NaN or infinite values");
  const int64_t classes = std::max(static_cast<int64_t>(plot.class_names.size()),
                                   1 + *std::max_element(plot.labels.begin(), plot.labels.end()));
  Canvas canvas(2 * kMargin + kPlot + kLegend, 2 * kMargin + kPlot);
  canvas.rectangle(kMargin - 1, kMargin - 1, kPlot + 2, kPlot + 2, kFrame);
  canvas.rectangle(kMargin, kMargin, kPlot, kPlot, {255, 255, 255});

  std::vector<int64_t> order;
  for (int64_t i = 0; i < plot.points.size(0); ++i) order.push_back(i);
  order = shuffled(order, 0, random_stream("scatter"));
  if (static_cast<int64_t>(order.size()) > kMostPoints) order.resize(kMostPoints);
  const Axis x(points, 0), y(points, 1);
  for (const int64_t i : order)
    canvas.disc(kMargin + x.pixel(points[static_cast<size_t>(2 * i)]),
                kMargin + kPlot - 1 - y.pixel(points[static_cast<size_t>(2 * i + 1)]),
                colour_of(plot.labels[static_cast<size_t>(i)], classes));

  canvas.text(kMargin, 12, plot.title);
  canvas.text(kMargin, kMargin + kPlot + 12, "right: " + plot.x_axis + "   up: " + plot.y_axis);
  draw_legend(canvas, plot, classes);
  canvas.write(path);
}

}  // namespace tacit::ssl
