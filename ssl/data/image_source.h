// ImageSource: a data set as tacit sees it: so many images, each 8-bit (H, W, C), some with a label.
// The rule: image(i) is a pure function of i and may be called from many threads at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tacit::ssl {

/// 8-bit pixels, row-major (H, W, C); C is 1 (gray), 3 (RGB) or 4 (RGBA).
struct Image {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;
};
/// Gray to RGB by repetition, RGB to gray by .299/.587/.114, alpha composed onto black.
Image to_channels(const Image&, int64_t channels);

class ImageSource {
 public:
  virtual ~ImageSource() = default;
  virtual int64_t size() const = 0;
  /// Throws Error when the image cannot be read (a damaged file).
  virtual Image image(int64_t i) const = 0;
  /// image(i), or a smaller version of it where that is quicker to decode: its shorter side is at least `side`, or the
  /// image's own where that is less.
  virtual Image image_for(int64_t i, int64_t side) const {
    (void)side;
    return image(i);
  }
  virtual std::optional<int64_t> label(int64_t i) const = 0;
  /// The file it came from, or "" where images are not files.
  virtual std::string file(int64_t) const { return ""; }
  /// The length of that file; 0 where images are not files.
  virtual int64_t encoded_bytes(int64_t) const { return 0; }
  /// Channels of the stored images: 1 or 3; folders with any colour say 3.
  virtual int64_t channels() const = 0;
  /// The size most images have {H, W}; {0, 0} when sizes vary.
  virtual std::pair<int64_t, int64_t> image_size() const { return {0, 0}; }
  /// Bytes of all images together where that is known without reading them; 0: unknown.
  virtual int64_t total_bytes() const { return size() * image_size().first * image_size().second * channels(); }
  /// Class names in the order of the labels; empty when some or all images have no label.
  virtual std::vector<std::string> class_names() const { return {}; }
  /// All indices in the order in which an epoch should see them: random, a pure function of (seed, epoch). A source for
  /// which reading neighbours together matters mixes them only as far as it reads well.
  virtual std::vector<int64_t> order(uint64_t seed, int64_t epoch) const;
  /// Whether order() is not just any permutation.
  virtual bool has_own_order() const { return false; }
  /// Changes when the files may have changed (paths, sizes, times of change). 0: not files, nothing that a cache speeds
  /// up.
  virtual uint64_t identity() const { return 0; }
  bool labelled() const { return !class_names().empty(); }
};
/// Sources are shared, and do not change.
using ImageSourcePtr = std::shared_ptr<const ImageSource>;

/// Fraction of a source that may be unreadable. One image always may.
constexpr double kMaxDamaged = 0.01;

/// The part of a data set to open.
enum class Split { Train, Test, Unlabeled, All };

/// How open_data() reads.
struct DataOptions {
  bool no_labels = false;           ///< take all images as unlabelled; a folder's class sub-directories mean nothing
  int64_t limit = 0;                ///< of every split but Test: the first n after a shuffle seeded by 0; 0 = all
  int64_t max_pixels = 64'000'000;  ///< larger images are refused before decoding
  std::string test_data;            ///< SPEC for the test split where the kind has none
};
/// What --data takes, for --help.
constexpr const char* kDataHelp =
    "SPEC: a path, kind:path (idx, cifar10, cifar100, stl10, folder, tar), fashion-mnist or synthetic[:N]; may be "
    "repeated";
/// Opens "kind:path" (kinds: idx, cifar10, cifar100, stl10, folder, tar), a path whose kind is recognised by its
/// content, or the bare words fashion-mnist, synthetic[:N]. Errors name the spec, the file and what is wrong with it.
/// `notes` receives what the user should be told (for instance that 10 % were held out). Several specs are concatenated
/// (class names must agree).
ImageSourcePtr open_data(const std::vector<std::string>& specs, Split, const DataOptions& = {},
                         std::vector<std::string>* notes = nullptr);
/// Throws Error for a SPEC that is wrong whatever files hold: an unknown kind, a kind without its path, a number of
/// images or a pattern of shards that is none.
void check_spec(const std::string& spec);
/// The images at these indices of another source.
ImageSourcePtr subset(ImageSourcePtr, std::vector<int64_t> indices);
/// A source of files without those that cannot be decoded: for evaluation, where each image counts once. Decodes every
/// file (in parallel); `notes` receives a warning that counts and names those left out. More than max_damaged of them
/// is an error.
ImageSourcePtr without_damaged(ImageSourcePtr, std::vector<std::string>* notes = nullptr,
                               double max_damaged = kMaxDamaged);
/// All labels, -1 where unknown.
std::vector<int64_t> labels_of(const ImageSource&);

}  // namespace tacit::ssl
