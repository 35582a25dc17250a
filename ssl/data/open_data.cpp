// From what the user writes after --data to an ImageSource.
#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "ssl/data/archive.h"
#include "ssl/data/some_indices.h"
#include "ssl/data/sources.h"
#include "tensor/counted.h"
#include "tensor/error.h"

namespace fs = std::filesystem;

namespace tacit::ssl {

namespace {

constexpr const char* kFashionMnist = "/usr/share/datasets/fashion-mnist";
constexpr const char* kKinds = "idx, cifar10, cifar100, stl10, folder, tar, synthetic";
constexpr double kHeldOut = 0.1;

int64_t synthetic_size(const std::string& spec, const std::string& count) {
  int64_t n = 1000;
  if (count.empty()) return n;
  const auto result = std::from_chars(count.data(), count.data() + count.size(), n);
  TACIT_CHECK(result.ec == std::errc() && result.ptr == count.data() + count.size() && n > 0 && n <= 100'000'000,
              "[data] ", spec, ": the number of images must be a whole number from 1 to 100,000,000");
  return n;
}

std::string home_expanded(const std::string& path) {
  const char* const home = std::getenv("HOME");
  return home && path.starts_with("~/") ? home + path.substr(1) : path;
}

/// A SPEC's parts: a kind and its path (synthetic: its number), or a path alone, perhaps with a colon in it.
struct Parts {
  std::string kind, path;
  bool synthetic() const { return kind == "synthetic"; }
};

Parts parts_of(const std::string& spec) {
  constexpr std::array kPaths = {"idx", "cifar10", "cifar100", "stl10", "folder", "tar"};
  const size_t colon = spec.find(':');
  const std::string before = spec.substr(0, colon), after = colon == std::string::npos ? "" : spec.substr(colon + 1);
  if (before == "synthetic") return {before, after};
  if (colon != std::string::npos && std::find(kPaths.begin(), kPaths.end(), before) != kPaths.end())
    return {before, home_expanded(after)};
  const std::string path = home_expanded(spec);
  return {path.ends_with(".tar") && path.find('{') != std::string::npos ? "tar" : "", path};
}

/// Whether "word:…" was meant to name a kind rather than a file.
bool is_word(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
}

Opened open_spec(const std::string& spec, Split split, const DataOptions& options) {
  check_spec(spec);
  if (spec == "fashion-mnist") {
    TACIT_CHECK(fs::exists(kFashionMnist),
                "[data] fashion-mnist is Debian's package dataset-fashion-mnist: install it");
    return open_idx(kFashionMnist, split);
  }
  const Parts parts = parts_of(spec);
  const std::string& path = parts.path;
  if (parts.synthetic()) return open_synthetic(synthetic_size(spec, path), split);
  TACIT_CHECK(!parts.kind.empty() || fs::exists(path), "[data] ", spec, " does not exist; kinds: ", kKinds);
  const std::string kind = parts.kind.empty() ? recognise(path) : parts.kind;
  if (kind == "idx") return open_idx(path, split);
  if (kind == "folder") return open_folder(path, split, options);
  if (kind == "stl10") return open_stl10(path, split);
  if (kind == "tar") return open_tar(path, split, options);
  return open_cifar(path, split, kind == "cifar10" ? 10 : 100);
}

// The part of unsplit data that a split means: a fixed tenth is for testing.
ImageSourcePtr hold_out(const ImageSourcePtr& whole, Split split, const std::string& spec,
                        std::vector<std::string>* notes) {
  if (split == Split::All) return whole;
  std::vector<int64_t> order = shuffled_indices(whole->size(), "held out");
  const auto held = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(whole->size()) * kHeldOut));
  TACIT_CHECK(whole->size() > held, "[data] ", spec, " has ", counted(whole->size(), "image"),
              ": too few to hold some out for testing; use --split all or --test-data");
  const auto middle = order.begin() + held;
  std::vector<int64_t> part =
      split == Split::Test ? std::vector<int64_t>(order.begin(), middle) : std::vector<int64_t>(middle, order.end());
  std::sort(part.begin(), part.end());
  if (notes)
    notes->push_back(spec + " has no test split: a fixed 10 % (" + std::to_string(held) + " of " +
                     counted(whole->size(), "image") + ") is held out for testing");
  return subset(whole, std::move(part));
}

/// As options want it, its notes told.
Opened open_told(const std::string& spec, Split split, const DataOptions& options, std::vector<std::string>* notes) {
  Opened opened = open_spec(spec, split, options);
  if (notes) notes->insert(notes->end(), opened.notes.begin(), opened.notes.end());
  if (options.no_labels && opened.source->labelled()) opened.source = without_labels(opened.source);
  return opened;
}

ImageSourcePtr open_one(const std::string& spec, Split split, const DataOptions& options,
                        std::vector<std::string>* notes) {
  const Opened opened = open_told(spec, split, options, notes);
  if (!opened.whole || !options.test_data.empty()) return opened.source;
  return hold_out(opened.source, split, spec, notes);
}

ImageSourcePtr open_all(const std::vector<std::string>& specs, Split split, const DataOptions& options,
                        std::vector<std::string>* notes) {
  std::vector<ImageSourcePtr> parts;
  for (const std::string& spec : specs) parts.push_back(open_one(spec, split, options, notes));
  return concatenate_sources(parts);
}

}  // namespace

void check_spec(const std::string& spec) {
  TACIT_CHECK(!spec.empty(), "[data] an empty SPEC; give a path, kind:path, fashion-mnist or synthetic[:N]");
  const Parts parts = parts_of(spec);
  if (parts.synthetic()) {
    synthetic_size(spec, parts.path);
    return;
  }
  TACIT_CHECK(!parts.path.empty(), "[data] ", spec, " names no path");
  if (parts.kind == "tar") tar_shards(parts.path);
  const std::string word = spec.substr(0, spec.find(':'));
  TACIT_CHECK(!parts.kind.empty() || word == spec || !is_word(word) || fs::exists(parts.path), "[data] ", spec,
              " does not exist, and '", word, "' is no kind of data; kinds: ", kKinds);
}

std::string recognise(const std::string& path) {
  if (fs::is_directory(path)) {
    if (has_idx_files(path)) return "idx";
    if (has_stl10_files(path)) return "stl10";
    const int64_t classes = cifar_classes(path);
    return classes > 0 ? "cifar" + std::to_string(classes) : "folder";
  }
  const std::string kind = is_archive_name(path) ? kind_of_archive(path) : "";
  if (!kind.empty()) return kind;
  TACIT_CHECK(is_image_file(path), "[data] ", path,
              " is not a directory, an image or an archive of a known data set; kinds: ", kKinds);
  return "folder";
}

ImageSourcePtr open_data(const std::vector<std::string>& specs, Split split, const DataOptions& options,
                         std::vector<std::string>* notes) {
  TACIT_CHECK(!specs.empty(), "[data] no data");
  if (split == Split::Test && !options.test_data.empty()) {
    DataOptions own = options;
    own.test_data.clear();
    const Opened opened = open_told(options.test_data, Split::Test, own, notes);
    return numbered_as(*open_all(specs, Split::Train, options, nullptr), opened.source);
  }
  const ImageSourcePtr source = open_all(specs, split, options, notes);
  if (split == Split::Test || options.limit <= 0) return source;
  if (options.limit >= source->size()) {
    if (notes && options.limit > source->size())
      notes->push_back("--limit " + std::to_string(options.limit) + " is more than the " +
                       counted(source->size(), split == Split::Train ? "training image" : "image") +
                       ": all of them are used");
    return source;
  }
  return subset(source, some_indices(source->size(), options.limit, "limit"));
}

}  // namespace tacit::ssl
