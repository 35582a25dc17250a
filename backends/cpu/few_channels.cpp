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

/// The padded rows that a band of one image sees, in memory that the next band fills again.
class PaddedRows {
 public:
  PaddedRows(const ConvGeometry& geometry, const float* images)
      : g(geometry),
        w(geometry.window),
        x(images),
        rows_a_band(std::clamp<int64_t>(kBandElements / (g.out_width * g.filters), 1, g.out_height)),
        line(padded_line(g)),
        memory(static_cast<size_t>(lines(rows_a_band) * line + kFewChannelsSlack) * sizeof(float)) {
    // Columns that no band writes stay as they are now.
    std::fill_n(memory.as<float>(), lines(rows_a_band) * line + kFewChannelsSlack, 0.0f);
  }

  int64_t bands() const { return ceil_div(g.out_height, rows_a_band); }
  int64_t first_row(int64_t band) const { return band * rows_a_band; }

  FewChannelsBand fill(int64_t image, int64_t band) {
    const int64_t first = first_row(band), rows = std::min(rows_a_band, g.out_height - first);
    const int64_t top = first * w.stride_h - w.padding_h;
    for (int64_t i = 0; i < lines(rows); ++i) {
      float* const to = memory.as<float>() + i * line + w.padding_w * g.channels;
      const int64_t h = top + i, count = std::min(g.width * g.channels, line - w.padding_w * g.channels);
      if (h < 0 || h >= g.height)
        std::fill_n(to, count, 0.0f);
      else
        std::copy_n(x + (image * g.height + h) * g.width * g.channels, count, to);
    }
    return {rows,
            g.out_width,
            w.kernel_h,
            w.kernel_w * g.channels,
            memory.as<float>(),
            line,
            w.stride_h * line,
            w.stride_w * g.channels};
  }

 private:
  int64_t lines(int64_t rows) const { return (rows - 1) * w.stride_h + w.kernel_h; }

  const ConvGeometry& g;
  const Window& w;
  const float* x;
  int64_t rows_a_band, line;
  Scratch memory;
};

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
  const int64_t bands = PaddedRows(g, x).bands(), tasks = std::min(kEnoughBlocks, g.images * bands);
  parallel_pieces(tasks, [&](int64_t task) {
    PaddedRows padded(g, x);
    for (int64_t b = g.images * bands * task / tasks; b < g.images * bands * (task + 1) / tasks; ++b) {
      const int64_t image = b / bands, row = image * g.out_height + padded.first_row(b % bands);
      few_channels_table().forward(padded.fill(image, b % bands), y + row * g.out_width * g.filters, turned.as<float>(),
                                   g.filters);
    }
  });
}

void few_channels_dw(const ConvGeometry& g, float* dw, const float* x, const float* dy) {
  const int64_t size = g.filter_size(), all = size * g.filters;
  const int64_t bands = PaddedRows(g, x).bands(), tasks = std::min(kEnoughBlocks, g.images * bands);
  const Scratch sums(static_cast<size_t>(tasks * all) * sizeof(float));
  parallel_pieces(tasks, [&](int64_t task) {
    PaddedRows padded(g, x);
    float* const sum = sums.as<float>() + task * all;
    std::fill_n(sum, all, 0.0f);
    for (int64_t b = g.images * bands * task / tasks; b < g.images * bands * (task + 1) / tasks; ++b) {
      const int64_t image = b / bands, row = image * g.out_height + padded.first_row(b % bands);
      few_channels_table().weights(padded.fill(image, b % bands), dy + row * g.out_width * g.filters, sum, g.filters);
    }
  });
  for (int64_t f = 0; f < g.filters; ++f)
    for (int64_t k = 0; k < size; ++k) {
      float total = 0;
      for (int64_t task = 0; task < tasks; ++task) total += sums.as<float>()[task * all + k * g.filters + f];
      dw[f * size + k] = total;
    }
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
