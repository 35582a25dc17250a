#include "ssl/data/cache.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "ssl/data/input_file.h"
#include "ssl/data/resample.h"
#include "ssl/data/wrapped.h"
#include "tensor/atomic_file.h"
#include "tensor/counted.h"
#include "tensor/directory.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace fs = std::filesystem;

namespace tacit::ssl {

namespace {

// The file: header, the images' bytes one after another, an entry for each. Numbers in the machine's order: a cache
// does not travel.
constexpr std::array<char, 8> kCacheMagic{'t', 'a', 'c', 'i', 't', 'i', 'm', 'g'};
constexpr uint64_t kCacheVersion = 1;
struct Header {
  std::array<char, 8> magic;
  uint64_t version, key;
  int64_t count, side;
};
struct Entry {
  int64_t offset;
  uint32_t bytes, height, width, channels;  // channels 0: a damaged image, the bytes say why
};
static_assert(sizeof(Header) == 40 && sizeof(Entry) == 24);

/// Shorter side to `side`, unless it is less already.
Image shrunk(const Image& original, int64_t side) {
  const Image image = original.channels == 4 ? to_channels(original, 3) : original;
  const int64_t shorter = std::min(image.height, image.width);
  if (shorter <= side) return image;
  const auto scaled = [&](int64_t extent) {
    return std::max<int64_t>(side, std::llround(static_cast<double>(extent * side) / static_cast<double>(shorter)));
  };
  Image small{scaled(image.height), scaled(image.width), image.channels, {}};
  std::vector<float> values(static_cast<size_t>(small.height * small.width * small.channels));
  resample(image, {0, 0, static_cast<double>(image.height), static_cast<double>(image.width)}, small.height,
           small.width, false, true, Filter::Bilinear, values.data());
  small.pixels.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i)
    small.pixels[i] = static_cast<uint8_t>(std::lround(std::clamp(values[i], 0.0f, 1.0f) * 255));
  return small;
}

class Cached final : public Wrapped {
 public:
  Cached(ImageSourcePtr whole, InputFile file, std::vector<Entry> entries)
      : Wrapped(std::move(whole)), file_(std::move(file)), entries_(std::move(entries)) {}
  Image image(int64_t i) const override {
    const Entry& entry = entries_[static_cast<size_t>(i)];
    std::vector<uint8_t> bytes(entry.bytes);
    file_.read(entry.offset, entry.bytes, bytes.data());
    if (entry.channels == 0) throw Error(std::string(bytes.begin(), bytes.end()));
    return {entry.height, entry.width, entry.channels, std::move(bytes)};
  }
  Image image_for(int64_t i, int64_t) const override { return image(i); }
  int64_t total_bytes() const override {
    int64_t bytes = 0;
    for (const Entry& entry : entries_) bytes += entry.bytes;
    return bytes;
  }

 private:
  InputFile file_;
  std::vector<Entry> entries_;
};

/// Entries that lie within the file and agree with themselves; none where it is damaged.
std::vector<Entry> read_entries(const InputFile& file, int64_t count) {
  const int64_t end = file.size() - count * static_cast<int64_t>(sizeof(Entry));
  if (end < static_cast<int64_t>(sizeof(Header))) return {};
  std::vector<Entry> entries(static_cast<size_t>(count));
  file.read(end, file.size() - end, entries.data());
  for (const Entry& e : entries) {
    const bool inside = e.offset >= static_cast<int64_t>(sizeof(Header)) && e.offset <= end - int64_t{e.bytes};
    const bool whole = e.channels == 0 ||
                       ((e.channels == 1 || e.channels == 3) && e.height > 0 && e.width > 0 && e.height <= e.bytes &&
                        e.width <= e.bytes && uint64_t{e.height} * e.width * e.channels == e.bytes);
    if (!inside || !whole) return {};
  }
  return entries;
}

/// The source through an existing file; null and the reason where it cannot be used.
ImageSourcePtr opened(const ImageSourcePtr& source, const std::string& path, const Header& wanted, std::string& why) {
  if (!fs::exists(path)) return nullptr;
  InputFile file(path);
  Header header{};
  if (file.size() >= static_cast<int64_t>(sizeof header)) file.read(0, sizeof header, &header);
  TACIT_CHECK(header.magic == wanted.magic, "--cache: ", path, " is there and not a cache; it is not overwritten");
  why = header.version != wanted.version || header.side != wanted.side ? "it was of another version or image size"
                                                                       : "the data has changed since";
  if (std::memcmp(&header, &wanted, sizeof header) != 0) return nullptr;
  std::vector<Entry> entries = read_entries(file, header.count);
  why = "it was damaged";
  if (entries.empty()) return nullptr;
  return std::make_shared<Cached>(source, std::move(file), std::move(entries));
}

void write_cache(const ImageSource& source, const std::string& path, const Header& header,
                 const ImageProgress& progress) {
  constexpr int64_t kTogether = 256;  // images in memory at a time
  AtomicFile file(with_directory(path));
  file.write(&header, sizeof header);
  std::vector<Entry> entries;
  auto offset = static_cast<int64_t>(sizeof header);
  for (int64_t first = 0; first < source.size(); first += kTogether) {
    const int64_t count = std::min(kTogether, source.size() - first);
    std::vector<Image> images(static_cast<size_t>(count));
    std::vector<std::string> faults(static_cast<size_t>(count));
    tbb::parallel_for(int64_t{0}, count, [&](int64_t i) {
      const auto at = static_cast<size_t>(i);
      try {
        images[at] = shrunk(source.image_for(first + i, header.side), header.side);
      } catch (const Error& e) {
        faults[at] = e.what();
      }
    });
    for (size_t i = 0; i < images.size(); ++i) {
      const Image& image = images[i];
      const bool damaged = !faults[i].empty();
      const size_t bytes = damaged ? faults[i].size() : image.pixels.size();
      TACIT_CHECK(bytes <= UINT32_MAX, "--cache: ", source.file(first + static_cast<int64_t>(i)),
                  " is too long for it");
      file.write(damaged ? static_cast<const void*>(faults[i].data()) : image.pixels.data(), bytes);
      entries.push_back({offset, static_cast<uint32_t>(bytes), static_cast<uint32_t>(image.height),
                         static_cast<uint32_t>(image.width), damaged ? 0 : static_cast<uint32_t>(image.channels)});
      offset += static_cast<int64_t>(bytes);
    }
    if (progress) progress(first + count, source.size());
  }
  file.write(entries.data(), entries.size() * sizeof(Entry));
  file.commit();
}

}  // namespace

ImageSourcePtr cached(ImageSourcePtr source, const std::string& path, Split split, int64_t image_size,
                      std::vector<std::string>* notes, const ImageProgress& progress) {
  const auto note = [&](const std::string& text) {
    if (notes) notes->push_back(text);
  };
  const uint64_t identity = source->identity();
  if (identity == 0 || source->size() == 0) {
    note("--cache is not used: these images need no decoding");
    return source;
  }
  constexpr std::array kSuffix = {"", ".test", ".unlabeled", ".all"};
  const std::string file = (fs::is_directory(path) || path.ends_with('/') ? path + "/images.cache" : path) +
                           kSuffix[static_cast<size_t>(split)];
  const int64_t side = (image_size * 8 + 6) / 7;
  const auto count = static_cast<uint64_t>(source->size());
  const Header header{kCacheMagic, kCacheVersion, random_stream("cache", identity, count, static_cast<uint64_t>(side)),
                      source->size(), side};
  std::string why;
  if (ImageSourcePtr ready = opened(source, file, header, why)) return ready;
  write_cache(*source, file, header, progress);
  note("wrote " + file + ", " + counted(source->size(), "image") + " with a shorter side of " + std::to_string(side) +
       " pixels" + (why.empty() ? "" : ", anew: " + why));
  ImageSourcePtr ready = opened(source, file, header, why);
  TACIT_CHECK(ready, "--cache: ", file, " cannot be read back: ", why);
  return ready;
}

}  // namespace tacit::ssl
