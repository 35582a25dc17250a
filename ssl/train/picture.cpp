#include "ssl/train/picture.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "nn/eval_mode.h"
#include "tensor/atomic_file.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace tacit::ssl {

namespace {

constexpr int64_t kGap = 2, kSmallestTile = 56, kMostBytes = std::numeric_limits<int>::max();

int64_t scale_of(int64_t tile) { return std::max<int64_t>(1, (kSmallestTile + tile - 1) / tile); }
int64_t sheet_side(int64_t tiles, int64_t tile) { return tiles * (tile * scale_of(tile) + kGap) + kGap; }

/// x * std + mean: back from the network's input to pixels in [0, 1].
std::vector<float> unnormalised(const float* view, int64_t size, int64_t channels, const ViewPolicy& policy) {
  std::vector<float> pixels(view, view + size * size * channels);
  if (policy.mean.empty()) return pixels;
  for (size_t i = 0; i < pixels.size(); ++i) {
    const size_t c = i % static_cast<size_t>(channels);
    pixels[i] = pixels[i] * policy.std[c] + policy.mean[c];
  }
  return pixels;
}

void put_plain(ContactSheet& sheet, int64_t row, int64_t column, const Image& image, int64_t size, int64_t channels) {
  std::vector<float> pixels(static_cast<size_t>(size * size * channels));
  plain_view(image, ViewPolicy{}, size, channels, pixels.data());
  sheet.put(row, column, pixels.data(), channels);
}

/// Views (N, S, S, C) of that policy, one a row.
void put_column(ContactSheet& sheet, int64_t column, const Tensor& views, const ViewPolicy& policy) {
  const int64_t size = views.size(1), channels = views.size(3);
  const std::vector<float> view = views.to_vector<float>();
  for (int64_t i = 0; i < views.size(0); ++i)
    sheet.put(i, column, unnormalised(view.data() + i * size * size * channels, size, channels, policy).data(),
              channels);
}

void append_bytes(void* context, void* data, int size) {
  static_cast<std::string*>(context)->append(static_cast<const char*>(data), static_cast<size_t>(size));
}

}  // namespace

std::string png_of(const std::vector<uint8_t>& rgb, int64_t width, int64_t height) {
  TACIT_CHECK(static_cast<int64_t>(rgb.size()) == width * height * 3, "[picture] ", rgb.size(), " bytes are not ",
              width, " x ", height, " pixels");
  // stb counts (3 width + 1) height bytes in an int.
  TACIT_CHECK(width >= 1 && height >= 1 && height <= kMostBytes / (3 * width + 1), "[picture] ", width, " x ", height,
              " pixels are more than a PNG is written of, 2 GB");
  std::string bytes;
  const int ok = stbi_write_png_to_func(append_bytes, &bytes, static_cast<int>(width), static_cast<int>(height), 3,
                                        rgb.data(), static_cast<int>(width * 3));
  TACIT_CHECK(ok != 0, "[picture] no memory for a PNG of ", width, " x ", height, " pixels");
  return bytes;
}

void write_png(const std::string& path, const std::vector<uint8_t>& rgb, int64_t width, int64_t height) {
  write_file_atomically(path, png_of(rgb, width, height));
}

int64_t ContactSheet::most_rows(int64_t columns, int64_t tile) {
  return (kMostBytes / (3 * sheet_side(columns, tile) + 1) - kGap) / (tile * scale_of(tile) + kGap);
}

ContactSheet::ContactSheet(int64_t rows, int64_t columns, int64_t tile)
    : rows_(rows), columns_(columns), tile_(tile), scale_(scale_of(tile)) {
  TACIT_CHECK(rows <= most_rows(columns, tile), "[picture] ", rows, " rows of ", columns, " tiles of ", tile,
              " pixels are more than a PNG is written of, 2 GB; the most is ", most_rows(columns, tile));
  width_ = sheet_side(columns_, tile_);
  height_ = sheet_side(rows_, tile_);
  rgb_.assign(static_cast<size_t>(width_ * height_ * 3), 255);
}

void ContactSheet::put(int64_t row, int64_t column, const float* pixels, int64_t channels) {
  const int64_t side = tile_ * scale_, top = kGap + row * (side + kGap), left = kGap + column * (side + kGap);
  for (int64_t y = 0; y < side; ++y)
    for (int64_t x = 0; x < side; ++x)
      for (int64_t c = 0; c < 3; ++c) {
        const float value = pixels[((y / scale_) * tile_ + x / scale_) * channels + (channels == 1 ? 0 : c)];
        rgb_[static_cast<size_t>(((top + y) * width_ + left + x) * 3 + c)] =
            static_cast<uint8_t>(std::lround(std::clamp(value, 0.f, 1.f) * 255));
      }
}

void ContactSheet::write_png(const std::string& path) const { ssl::write_png(path, rgb_, width_, height_); }

ContactSheet views_sheet(ImageSourcePtr source, LoaderOptions options, const ShownViews& shown, int64_t images,
                         int64_t views) {
  images = std::min(images, source->size());
  const std::vector<ViewPolicy> policies = options.views;
  options.views.clear();
  for (int64_t v = 0; v < views; ++v) options.views.push_back(policies[static_cast<size_t>(v) % policies.size()]);
  options.batch_size = images;
  options.prefetch = 1;
  Loader loader(source, options);
  const Batch batch = loader.next();
  const int64_t size = options.image_size, channels = options.channels;
  ContactSheet sheet(images, views + 1, size);
  for (int64_t i = 0; i < images; ++i)
    put_plain(sheet, i, 0, source->image(batch.indices[static_cast<size_t>(i)]), size, channels);
  for (size_t v = 0; v < batch.views.size(); ++v)
    put_column(sheet, static_cast<int64_t>(v) + 1,
               shown ? shown(batch.views[v], static_cast<int64_t>(v)) : batch.views[v], options.views[v]);
  return sheet;
}

ContactSheet neighbours_sheet(const ImageSource& queries, const std::vector<int64_t>& rows, const ImageSource& bank,
                              const std::vector<std::vector<int64_t>>& neighbours, int64_t size) {
  size_t columns = 0;
  for (const auto& list : neighbours) columns = std::max(columns, list.size());
  ContactSheet sheet(static_cast<int64_t>(rows.size()), static_cast<int64_t>(columns) + 1, size);
  for (size_t q = 0; q < rows.size(); ++q) {
    put_plain(sheet, static_cast<int64_t>(q), 0, queries.image(rows[q]), size, 3);
    for (size_t k = 0; k < neighbours[q].size(); ++k)
      put_plain(sheet, static_cast<int64_t>(q), static_cast<int64_t>(k) + 1, bank.image(neighbours[q][k]), size, 3);
  }
  return sheet;
}

std::vector<PictureColumn> reconstruction(Method& method, const ImageSource& source, const PlainViews& views,
                                          uint64_t seed) {
  const nn::EvalMode mode(method);
  const NoGrad no_grad;
  std::vector<PictureColumn> columns;
  for_each_plain_batch(source, views.normalisation, views.image_size, views.channels, source.size(),
                       [&](const Tensor& images, int64_t) { columns = method.reconstruct(images, seed); });
  return columns;
}

ContactSheet columns_sheet(const std::vector<PictureColumn>& columns, const ViewPolicy& policy) {
  TACIT_CHECK(!columns.empty(), "[picture] there are no columns");
  ContactSheet sheet(columns[0].images.size(0), static_cast<int64_t>(columns.size()), columns[0].images.size(1));
  for (size_t c = 0; c < columns.size(); ++c) put_column(sheet, static_cast<int64_t>(c), columns[c].images, policy);
  return sheet;
}

}  // namespace tacit::ssl
