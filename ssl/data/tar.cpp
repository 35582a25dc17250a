// Images in tar shards (github.com/webdataset/webdataset). The index of all shards is held, 16 bytes an image: a
// million images are 16 MB, little beside one batch, and every image, label and count is at hand at any time; what is
// mixed within groups of shards is only the order of reading.
#include <tbb/parallel_for.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <charconv>
#include <filesystem>

#include "ssl/data/decode.h"
#include "ssl/data/input_file.h"
#include "ssl/data/sources.h"
#include "ssl/data/tar_reader.h"
#include "tensor/counted.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace fs = std::filesystem;

namespace tacit::ssl {

namespace {

constexpr int64_t kShardsTogether = 16, kMostShards = 1'000'000, kMostClasses = 1'000'000;

/// Shards kept open, of all the sources in the process together: what it may open is often 1024 files.
class Descriptors {
 public:
  /// Whether n more may stay open; they are given back at the end.
  bool take(size_t n) {
    constexpr size_t kMost = 512;
    if (open_.fetch_add(n) + n <= kMost) {
      taken_ = n;
      return true;
    }
    open_.fetch_sub(n);
    return false;
  }
  Descriptors() = default;
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  ~Descriptors() { open_.fetch_sub(taken_); }

 private:
  inline static std::atomic<size_t> open_{0};
  size_t taken_ = 0;
};

/// Where a sample's image lies: positions in a tar are multiples of 512.
struct Sample {
  uint32_t header, data;  // in blocks
  uint32_t length;
  int32_t label;  // -1: none
};

/// The parts of WebDataset's name of a file: what its sample is called, and its field.
struct SampleName {
  std::string key, field;
  explicit SampleName(const std::string& name) {
    const size_t base = name.rfind('/') + 1;  // npos + 1 is 0
    const size_t dot = name.find('.', base);
    if (dot == std::string::npos || dot == base) return;  // no field, or hidden
    key = name.substr(0, dot);
    field = name.substr(dot + 1);
    std::transform(field.begin(), field.end(), field.begin(), [](unsigned char c) { return std::tolower(c); });
  }
};

int32_t read_label(const InputFile& file, const TarEntry& entry) {
  std::array<char, 32> text{};
  file.read(entry.data, std::min<int64_t>(entry.length, text.size()), text.data());
  const char *first = text.data(), *last = text.data() + std::min<int64_t>(entry.length, text.size());
  while (last > first && (std::isspace(static_cast<unsigned char>(last[-1])) || last[-1] == 0)) --last;
  while (first < last && std::isspace(static_cast<unsigned char>(*first))) ++first;
  int32_t label = -1;
  const auto result = std::from_chars(first, last, label);
  TACIT_CHECK(result.ec == std::errc() && result.ptr == last && label >= 0 && label < kMostClasses, "[tar] ",
              file.path(), ": ", entry.name, " holds '", std::string(first, last),
              "', not a class number from 0 to 999999");
  return label;
}

std::vector<Sample> index_of(const InputFile& file) {
  TACIT_CHECK(file.size() / kTarBlock <= UINT32_MAX, "[tar] ", file.path(),
              " is larger than 2 TB; split it into shards");
  std::vector<Sample> samples;
  std::string key;
  Sample sample{0, 0, 0, -1};  // length 0: no image yet
  const auto finish = [&] {
    if (sample.length > 0) samples.push_back(sample);
    sample = {0, 0, 0, -1};
  };
  TarReader reader(file);
  for (TarEntry entry; reader.next(entry);) {
    const SampleName name(entry.name);
    if (name.key.empty()) continue;
    if (name.key != key) finish();
    key = name.key;
    if (name.field == "cls") sample.label = read_label(file, entry);
    if (sample.length > 0 || entry.length == 0 || !is_image_file("x." + name.field)) continue;
    TACIT_CHECK(entry.length <= INT32_MAX, "[tar] ", file.path(), ": ", entry.name, " is larger than 2 GB");
    sample.header = static_cast<uint32_t>(entry.header / kTarBlock);
    sample.data = static_cast<uint32_t>(entry.data / kTarBlock);
    sample.length = static_cast<uint32_t>(entry.length);
  }
  finish();
  return samples;
}

class TarSource final : public ImageSource {
 public:
  TarSource(std::vector<std::string> shards, int64_t max_pixels) : paths_(std::move(shards)), max_pixels_(max_pixels) {
    std::vector<std::vector<Sample>> parts(paths_.size());
    tbb::parallel_for(size_t{0}, paths_.size(), [&](size_t s) { parts[s] = index_of(InputFile(paths_[s])); });
    for (std::vector<Sample>& part : parts) {
      starts_.push_back(static_cast<int64_t>(samples_.size()));
      samples_.insert(samples_.end(), part.begin(), part.end());
      part = {};
    }
    starts_.push_back(static_cast<int64_t>(samples_.size()));
    samples_.shrink_to_fit();
    if (descriptors_.take(paths_.size()))
      for (const std::string& path : paths_) open_.emplace_back(path);
    name_classes();
    size_ = common_size(size(), [&](int64_t i) {
      constexpr int64_t kHead = 1 << 16;
      std::string head(static_cast<size_t>(std::min<int64_t>(samples_[static_cast<size_t>(i)].length, kHead)), '\0');
      with_shard(i,
                 [&](const InputFile& file) { file.read(data_of(i), static_cast<int64_t>(head.size()), head.data()); });
      return image_size_of(head);
    });
  }
  int64_t size() const override { return static_cast<int64_t>(samples_.size()); }
  Image image(int64_t i) const override { return image_for(i, 0); }
  Image image_for(int64_t i, int64_t side) const override {
    std::string bytes(samples_[static_cast<size_t>(i)].length, '\0');
    with_shard(i,
               [&](const InputFile& file) { file.read(data_of(i), static_cast<int64_t>(bytes.size()), bytes.data()); });
    return decode_image(bytes, file(i), max_pixels_, side);
  }
  std::optional<int64_t> label(int64_t i) const override {
    const int32_t label = samples_[static_cast<size_t>(i)].label;
    return label < 0 ? std::nullopt : std::optional<int64_t>(label);
  }
  /// "shard.tar/path inside".
  std::string file(int64_t i) const override {
    TarEntry entry;
    with_shard(i, [&](const InputFile& file) {
      TarReader(file, samples_[static_cast<size_t>(i)].header * kTarBlock).next(entry);
      entry.name = file.path() + "/" + entry.name;
    });
    return entry.name;
  }
  int64_t encoded_bytes(int64_t i) const override { return samples_[static_cast<size_t>(i)].length; }
  int64_t channels() const override { return 3; }
  std::pair<int64_t, int64_t> image_size() const override { return size_; }
  std::vector<std::string> class_names() const override { return names_; }
  int64_t unlabelled() const {
    return std::count_if(samples_.begin(), samples_.end(), [](const Sample& s) { return s.label < 0; });
  }

  /// Shards in random order; the images of each kShardsTogether of them mixed, so that reads stay within those.
  std::vector<int64_t> order(uint64_t seed, int64_t epoch) const override {
    const auto e = static_cast<uint64_t>(epoch);
    std::vector<size_t> shards(paths_.size());
    for (size_t s = 0; s < shards.size(); ++s) shards[s] = s;
    Random random(seed, random_stream("shards", e));
    shuffle(shards, random);
    std::vector<int64_t> order, group;
    order.reserve(samples_.size());
    for (size_t at = 0; at < shards.size(); at += kShardsTogether) {
      group.clear();
      for (size_t s = at; s < std::min(shards.size(), at + kShardsTogether); ++s)
        for (int64_t i = starts_[shards[s]]; i < starts_[shards[s] + 1]; ++i) group.push_back(i);
      Random within(seed, random_stream("shard group", e, at));
      shuffle(group, within);
      order.insert(order.end(), group.begin(), group.end());
    }
    return order;
  }
  bool has_own_order() const override { return true; }
  uint64_t identity() const override { return identity_of_files(paths_, max_pixels_); }

 private:
  int64_t data_of(int64_t i) const { return samples_[static_cast<size_t>(i)].data * kTarBlock; }
  template <class F>
  void with_shard(int64_t i, F&& f) const {
    const auto shard = static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), i) - starts_.begin() - 1);
    if (open_.empty())
      f(InputFile(paths_[shard]));
    else
      f(open_[shard]);
  }
  /// Classes are numbers; they count where every image has one.
  void name_classes() {
    int32_t most = -1;
    for (const Sample& sample : samples_) {
      if (sample.label < 0) return;
      most = std::max(most, sample.label);
    }
    for (int32_t i = 0; i <= most; ++i) names_.push_back(std::to_string(i));
  }

  std::vector<std::string> paths_;
  Descriptors descriptors_;
  std::vector<InputFile> open_;
  std::vector<int64_t> starts_;  // of each shard's samples, and their end
  std::vector<Sample> samples_;
  std::vector<std::string> names_;
  int64_t max_pixels_;
  std::pair<int64_t, int64_t> size_{0, 0};
};

/// The texts between braces: {a,b} is a list, {000..012} a range whose numbers are as wide as its first.
std::vector<std::string> alternatives(const std::string& inside, const std::string& pattern) {
  std::vector<std::string> texts;
  const size_t dots = inside.find("..");
  if (dots == std::string::npos) {
    for (size_t at = 0; at <= inside.size();) {
      const size_t comma = std::min(inside.find(',', at), inside.size());
      texts.push_back(inside.substr(at, comma - at));
      at = comma + 1;
    }
    return texts;
  }
  int64_t first = -1, last = -1;
  const char *const begin = inside.data(), *const end = begin + inside.size();
  const bool whole = std::from_chars(begin, begin + dots, first).ptr == begin + dots &&
                     std::from_chars(begin + dots + 2, end, last).ptr == end;
  TACIT_CHECK(whole && first >= 0 && last >= first && last - first < kMostShards, "[tar] ", pattern, ": {", inside,
              "} is not a range such as {000000..000012}");
  for (int64_t i = first; i <= last; ++i) {
    const std::string digits = std::to_string(i);
    texts.push_back(std::string(dots > digits.size() ? dots - digits.size() : 0, '0') + digits);
  }
  return texts;
}

}  // namespace

std::vector<std::string> tar_shards(const std::string& pattern) {
  const size_t open = pattern.find('{'), close = pattern.find('}', open);
  if (open == std::string::npos) return {pattern};
  TACIT_CHECK(close != std::string::npos, "[tar] ", pattern, " has a { without its }");
  std::vector<std::string> paths;
  for (const std::string& text : alternatives(pattern.substr(open + 1, close - open - 1), pattern))
    for (const std::string& rest : tar_shards(pattern.substr(close + 1))) {
      paths.push_back(pattern.substr(0, open) + text + rest);
      TACIT_CHECK(static_cast<int64_t>(paths.size()) <= kMostShards, "[tar] ", pattern, " names more than ",
                  kMostShards, " shards");
    }
  return paths;
}

Opened open_tar(const std::string& pattern, Split split, const DataOptions& options) {
  TACIT_CHECK(split != Split::Unlabeled, "[tar] ", pattern, " has no unlabeled split; use --split all");
  std::vector<std::string> shards = tar_shards(pattern);
  for (const std::string& shard : shards)
    TACIT_CHECK(
        fs::is_regular_file(shard), "[tar] ", shard, fs::exists(shard) ? " is not a file" : " does not exist",
        shards.size() > 1 ? "; it is one of the " + std::to_string(shards.size()) + " shards of " + pattern : "");
  const auto source = std::make_shared<TarSource>(std::move(shards), options.max_pixels);
  TACIT_CHECK(source->size() > 0, "[tar] ", pattern, " has no ", kImageFiles, " files in it");
  const int64_t unlabelled = source->unlabelled();
  std::vector<std::string> notes;
  if (unlabelled > 0 && unlabelled < source->size())
    notes.push_back(pattern + ": " + std::to_string(unlabelled) + " of " + counted(source->size(), "image") +
                    (unlabelled == 1 ? " has" : " have") + " no .cls, so the data counts as unlabelled");
  return {source, true, notes};
}

}  // namespace tacit::ssl
