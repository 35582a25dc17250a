// Pictures for people: contact sheets of views, of nearest neighbours and of what a method predicts, as PNG.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ssl/data/loader.h"
#include "ssl/evaluate/features.h"
#include "ssl/methods/method.h"

namespace tacit::ssl {

/// rgb (height, width, 3), as the bytes of a PNG file. Throws Error above 2 GB of pixels.
std::string png_of(const std::vector<uint8_t>& rgb, int64_t width, int64_t height);
/// The same in a file. Throws Error when it cannot be written; atomic.
void write_png(const std::string& path, const std::vector<uint8_t>& rgb, int64_t width, int64_t height);

/// Tiles of one size in rows, RGB, with a white gap between them.
class ContactSheet {
 public:
  /// How many rows of that many tiles a PNG can hold: less than 2 GB of pixels.
  static int64_t most_rows(int64_t columns, int64_t tile);
  /// Tiles are `tile` pixels square, enlarged by a whole factor so that they are at least 56. Throws Error above
  /// most_rows().
  ContactSheet(int64_t rows, int64_t columns, int64_t tile);
  /// pixels (tile, tile, channels) in [0, 1], channels 1 or 3; values outside are clamped.
  void put(int64_t row, int64_t column, const float* pixels, int64_t channels);
  /// Throws Error when the file cannot be written; atomic.
  void write_png(const std::string& path) const;
  std::string png() const { return png_of(rgb_, width_, height_); }
  /// In pixels.
  int64_t width() const { return width_; }
  int64_t height() const { return height_; }

 private:
  int64_t rows_, columns_, tile_, scale_, width_, height_;
  std::vector<uint8_t> rgb_;
};

/// What a method's network is shown of views (B, S, S, C) in a step, in the same shape and scale; none: the views.
using ShownViews = std::function<Tensor(const Tensor& views, int64_t step)>;

/// A row an image: the plain one, then `views` views of it as the method's first batches would see them, each as if of
/// a step of its own.
ContactSheet views_sheet(ImageSourcePtr, LoaderOptions, const ShownViews& shown = {}, int64_t images = 10,
                         int64_t views = 8);

/// A row a query: the query, then the images of `bank` at its `neighbours` (nearest first), all at `size` pixels.
ContactSheet neighbours_sheet(const ImageSource& queries, const std::vector<int64_t>& rows, const ImageSource& bank,
                              const std::vector<std::vector<int64_t>>& neighbours, int64_t size);

/// What the method makes of all images of a source, in evaluation mode and without augmentation: see
/// Method::reconstruct(). Empty where it predicts no pixels.
std::vector<PictureColumn> reconstruction(Method&, const ImageSource&, const PlainViews& method_views, uint64_t seed);

/// A row an image, a column each of `columns`, whose pixels are put back to [0, 1] by the policy's mean and std.
ContactSheet columns_sheet(const std::vector<PictureColumn>& columns, const ViewPolicy&);

}  // namespace tacit::ssl
