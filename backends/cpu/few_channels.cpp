// An image is cut into bands of output rows; a band's input rows are copied between zeros, so that no tap is a special
// case. The copy is small beside the output: three channels beside sixty-four.
#include "backends/cpu/few_channels.h"

#include <algorithm>

#include "backends/cpu/gemm_blocks.h"
#include "backends/cpu/kernels/few_channels.h"
#include "backends/cpu/memory.h"
#include "backends/cpu/parallel.h"

namespace tacit::cpu {
namespace {

/// Elements of dy or y in a band: they stay in the first-level cache while every tap reads them.
constexpr int64_t kBandElements = 8192;

/// Elements of a padded row: to the left of the image lies the padding, to the right as much as the last pixel's taps
/// see.
int64_t padded_line(const ConvGeometry& g) {
  const Window& w = g.window;
  return std::max(g.width + w.padding_w, (g.out_width - 1) * w.stride_w + w.kernel_w) * g.channels;
}

/// Output rows in a band.
int64_t band_rows(const ConvGeometry& g) {
  return std::clamp<int64_t>(kBandElements / (g.out_width * g.filters), 1, g.out_height);
}

/// The padded rows that a band of one image sees, in memory that the next band fills again.
class PaddedRows {
 public:
  PaddedRows(const ConvGeometry& g, const float* images)
      : g_(g),
        images_(images),
        line_(padded_line(g)),
        memory_(static_cast<size_t>(lines(band_rows(g)) * line_ + kFewChannelsSlack) * sizeof(float)) {
    // Columns that no band writes stay as they are now.
    std::fill_n(memory_.as<float>(), lines(band_rows(g)) * line_ + kFewChannelsSlack, 0.0f);
  }

  /// `rows` output rows of an image from `first` on.
  FewChannelsBand fill(int64_t image, int64_t first, int64_t rows) {
    const Window& w = g_.window;
    const int64_t before = w.padding_w * g_.channels, count = g_.width * g_.channels;
    for (int64_t i = 0; i < lines(rows); ++i) {
      float* const to = memory_.as<float>() + i * line_ + before;
      const int64_t h = first * w.stride_h - w.padding_h + i;
      if (h < 0 || h >= g_.height)
        std::fill_n(to, count, 0.0f);
      else
        std::copy_n(images_ + (image * g_.height + h) * g_.width * g_.channels, count, to);
    }
    return {.rows = rows,
            .pixels = g_.out_width,
            .kernel_rows = w.kernel_h,
            .taps = w.kernel_w * g_.channels,
            .x = memory_.as<float>(),
            .line = line_,
            .row_step = w.stride_h * line_,
            .step = w.stride_w * g_.channels};
  }

 private:
  int64_t lines(int64_t rows) const { return (rows - 1) * g_.window.stride_h + g_.window.kernel_h; }

  const ConvGeometry& g_;
  const float* images_;
  int64_t line_;
  Scratch memory_;
};

/// Bands of all images in so many tasks, whatever the threads. Calls f(task, band, offset of the band's first output),
/// a task's bands in order.
template <class F>
int64_t for_bands(const ConvGeometry& g, const float* x, F&& f) {
  const int64_t rows = band_rows(g), of_image = ceil_div(g.out_height, rows), all = g.images * of_image;
  const int64_t tasks = std::min(kEnoughBlocks, all);
  parallel_pieces(tasks, [&](int64_t task) {
    PaddedRows padded(g, x);
    for (int64_t b = all * task / tasks; b < all * (task + 1) / tasks; ++b) {
      const int64_t image = b / of_image, first = b % of_image * rows;
      f(task, padded.fill(image, first, std::min(rows, g.out_height - first)),
        (image * g.out_height + first) * g.out_width * g.filters);
    }
  });
  return tasks;
}

}  // namespace

bool is_few_channels(const ConvGeometry& g) {
  const Window& w = g.window;
  const FewChannelsTable& table = few_channels_table();
  return g.groups == 1 && g.channels >= 1 && g.channels <= 4 && w.dilation_h == 1 && w.dilation_w == 1 &&
         g.filters % table.lanes == 0 && table.has_step(w.stride_w * g.channels);
}

void few_channels(const ConvGeometry& g, float* y, const float* x, const float* w) {
  const int64_t size = g.filter_size();
  const Scratch turned(static_cast<size_t>(size * g.filters) * sizeof(float));  // (taps * channels, filters)
  for (int64_t f = 0; f < g.filters; ++f)
    for (int64_t k = 0; k < size; ++k) turned.as<float>()[k * g.filters + f] = w[f * size + k];
  for_bands(g, x, [&](int64_t, const FewChannelsBand& band, int64_t at) {
    few_channels_table().forward(band, y + at, turned.as<float>(), g.filters);
  });
}

void few_channels_dw(const ConvGeometry& g, float* dw, const float* x, const float* dy) {
  const int64_t size = g.filter_size(), all = size * g.filters;
  const Scratch memory(static_cast<size_t>(kEnoughBlocks * all) * sizeof(float));  // (tasks, taps * channels, filters)
  float* const sums = memory.as<float>();
  std::fill_n(sums, kEnoughBlocks * all, 0.0f);
  const int64_t tasks = for_bands(g, x, [&](int64_t task, const FewChannelsBand& band, int64_t at) {
    few_channels_table().weights(band, dy + at, sums + task * all, g.filters);
  });
  for (int64_t task = 1; task < tasks; ++task)
    for (int64_t i = 0; i < all; ++i) sums[i] += sums[task * all + i];
  for (int64_t f = 0; f < g.filters; ++f)
    for (int64_t k = 0; k < size; ++k) dw[f * size + k] = sums[k * g.filters + f];
}

// dx: what every output pixel sends to its taps is a product, dy w; the shares are added where the taps look.
void few_channels_dx(const ConvGeometry& g, float* dx, const float* dy, const float* w) {
  const GemmTable<float>& gemm = gemm_table<float>();
  const Window& k = g.window;
  const int64_t size = g.filter_size(), panel_size = g.filters * gemm.nr, taps = k.kernel_w * g.channels;
  const Scratch packed(static_cast<size_t>(ceil_div(size, gemm.nr) * panel_size) * sizeof(float));
  std::fill_n(packed.as<float>(), ceil_div(size, gemm.nr) * panel_size, 0.0f);
  for (int64_t f = 0; f < g.filters; ++f)
    for (int64_t j = 0; j < size; ++j)
      packed.as<float>()[j / gemm.nr * panel_size + f * gemm.nr + j % gemm.nr] = w[f * size + j];

  const int64_t pixels = g.out_height * g.out_width, line = padded_line(g);
  const int64_t lines = std::max(g.height + k.padding_h, (g.out_height - 1) * k.stride_h + k.kernel_h);
  parallel_pieces(g.images, [&](int64_t image) {
    const Scratch padded(static_cast<size_t>(lines * line) * sizeof(float));
    const Scratch shares(static_cast<size_t>(kBlockRows * size) * sizeof(float));
    std::fill_n(padded.as<float>(), lines * line, 0.0f);
    GemmRun run{};
    const auto panels = make_panels<float>(packed.as<float>(), panel_size, 0, size, &run, 1);
    const float* from[kBlockRows];
    float* to[kBlockRows];
    for (int64_t i = 0; i < kBlockRows; ++i) to[i] = shares.as<float>() + i * size;
    for (int64_t first = 0; first < pixels; first += kBlockRows) {
      const int64_t count = std::min(kBlockRows, pixels - first);
      for (int64_t i = 0; i < count; ++i) from[i] = dy + (image * pixels + first + i) * g.filters;
      for (int64_t f = 0; f < g.filters; f += kGemmDepth) {
        const GemmPiece piece{f, std::min(kGemmDepth, g.filters - f)};
        run = {0, f, piece.length};
        gemm.by_rows({from, count, piece.length, &piece, 1, to, panels.data(), static_cast<int64_t>(panels.size()),
                      f > 0, nullptr});
      }
      for (int64_t i = 0; i < count; ++i) {
        const int64_t h = (first + i) / g.out_width * k.stride_h, v = (first + i) % g.out_width * k.stride_w;
        for (int64_t r = 0; r < k.kernel_h; ++r) {
          float* const at = padded.as<float>() + (h + r) * line + v * g.channels;
          for (int64_t t = 0; t < taps; ++t) at[t] += to[i][r * taps + t];
        }
      }
    }
    for (int64_t h = 0; h < g.height; ++h)
      std::copy_n(padded.as<float>() + (h + k.padding_h) * line + k.padding_w * g.channels, g.width * g.channels,
                  dx + (image * g.height + h) * g.width * g.channels);
  });
}

}  // namespace tacit::cpu
