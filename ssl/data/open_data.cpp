// open_data(): from SPECs to one source: kinds, splits, the hold-out where a kind has no test split, the limit.
#include <algorithm>
#include <filesystem>

#include "ssl/data/kinds.h"
#include "tensor/random.h"

namespace tacit::ssl {

namespace {

namespace fs = std::filesystem;

constexpr const char* kFashionMnist = "/usr/share/datasets/fashion-mnist";
constexpr const char* kKinds = "idx:DIR, cifar10:DIR, cifar100:DIR, folder:DIR, synthetic[:N], fashion-mnist";

void note(std::vector<std::string>* notes, const std::string& text) {
  if (notes != nullptr) notes->push_back(text);
}

int64_t parse_count(const std::string& spec, const std::string& text) {
  constexpr size_t kMostDigits = 9;
  const bool digits =
      !text.empty() && text.size() <= kMostDigits && text.find_first_not_of("0123456789") == std::string::npos;
  TACIT_CHECK(digits && std::stoll(text) > 0, "--data ", spec, ": '", text, "' is no number of images");
  return std::stoll(text);
}

/// The part before ':' where it names a kind, else "".
std::string kind_of(const std::string& spec) {
  const std::string kind = spec.substr(0, spec.find(':'));
  for (const char* known : {"idx", "cifar10", "cifar100", "stl10", "folder", "tar", "synthetic"})
    if (kind == known && (spec.size() > kind.size() || kind == "synthetic")) return kind;
  return "";
}

Splits recognise(const std::string& path, const DataOptions& options) {
  TACIT_CHECK(fs::exists(path), "--data ", path, ": there is no such file or directory, and it names no kind (", kKinds,
              ")");
  if (!fs::is_directory(path) && is_image_name(path)) return open_folder(path, options);
  if (fs::is_directory(path) && looks_like_idx(path)) return open_idx(path, options.max_pixels);
  if (const int classes = looks_like_cifar(path)) return open_cifar(path, classes);
  TACIT_CHECK(fs::is_directory(path), "--data ", path, ": this file is of no known kind (", kKinds, ")");
  return open_folder(path, options);
}

Splits open_spec(const std::string& spec, const DataOptions& options) {
  TACIT_CHECK(!spec.empty(), "--data must not be empty; known kinds: ", kKinds);
  if (spec == "fashion-mnist") {
    TACIT_CHECK(fs::exists(kFashionMnist), "--data fashion-mnist: ", kFashionMnist,
                " does not exist; install it (apt install dataset-fashion-mnist), or use idx:DIR");
    return open_idx(kFashionMnist, options.max_pixels);
  }
  const std::string kind = kind_of(spec);
  const std::string rest = spec.size() > kind.size() ? spec.substr(kind.size() + 1) : "";
  if (kind.empty()) return recognise(spec, options);
  if (kind == "synthetic") return open_synthetic(spec == kind ? 1000 : parse_count(spec, rest));
  TACIT_CHECK(kind != "stl10" && kind != "tar", "--data ", spec, ": kind '", kind,
              "' is not in this version; known kinds: ", kKinds);
  TACIT_CHECK(!rest.empty(), "--data ", spec, ": a path must follow '", kind, ":'");
  if (kind == "idx") return open_idx(rest, options.max_pixels);
  if (kind == "folder") return open_folder(rest, options);
  return open_cifar(rest, kind == "cifar10" ? 10 : 100);
}

/// A fixed tenth of the images (at least one) for testing, or the other nine; both in the source's order.
ImageSourcePtr held_out(const ImageSourcePtr& source, bool test, const std::string& spec,
                        std::vector<std::string>* notes) {
  const int64_t n = source->size(), held = std::max<int64_t>(1, (n + 5) / 10);
  TACIT_CHECK(n >= 2, "--data ", spec, " has no test split and only ", n,
              " image: none can be held out; use --split all for training, --test-data for testing");
  std::vector<int64_t> order = permutation(n, 0, random_stream("hold-out"));
  if (test)
    order.resize(static_cast<size_t>(held));
  else
    order.erase(order.begin(), order.begin() + held);
  std::sort(order.begin(), order.end());
  note(notes, spec + " has no test split: a fixed 10 % of it, " + std::to_string(held) + " of " + std::to_string(n) +
                  " images, is held out for testing");
  return subset(source, std::move(order));
}

ImageSourcePtr limited(ImageSourcePtr source, int64_t limit, std::vector<std::string>* notes) {
  const int64_t n = source->size();
  if (limit <= 0) return source;
  if (limit >= n) {
    if (limit > n)
      note(notes, "--limit " + std::to_string(limit) + ": there are only " + std::to_string(n) + " images");
    return source;
  }
  std::vector<int64_t> order = permutation(n, 0, random_stream("limit"));
  order.resize(static_cast<size_t>(limit));
  std::sort(order.begin(), order.end());
  return subset(std::move(source), std::move(order));
}

class Opening {
 public:
  Opening(const std::vector<std::string>& specs, const DataOptions& options, std::vector<std::string>* notes)
      : specs_(specs), options_(options), notes_(notes) {
    TACIT_CHECK(!specs.empty(), "--data is required");
    for (const std::string& spec : specs) splits_.push_back(open_spec(spec, options));
  }

  ImageSourcePtr train() const {
    std::vector<ImageSourcePtr> parts;
    for (size_t i = 0; i < specs_.size(); ++i) {
      const ImageSourcePtr all = splits_[i].train();
      const bool whole = splits_[i].test != nullptr || !options_.test_data.empty();
      parts.push_back(whole ? all : held_out(all, false, specs_[i], notes_));
    }
    return limited(concatenate(std::move(parts)), options_.limit, notes_);
  }

  ImageSourcePtr test() const {
    if (!options_.test_data.empty()) return test_data();
    std::vector<ImageSourcePtr> parts;
    for (size_t i = 0; i < specs_.size(); ++i)
      parts.push_back(splits_[i].test ? splits_[i].test() : held_out(splits_[i].train(), true, specs_[i], notes_));
    return concatenate(std::move(parts));
  }

  ImageSourcePtr unlabeled() const {
    std::vector<ImageSourcePtr> parts;
    for (size_t i = 0; i < specs_.size(); ++i) {
      TACIT_CHECK(splits_[i].unlabeled, "--data ", specs_[i], " has no unlabeled split; use --split train or all");
      parts.push_back(splits_[i].unlabeled());
    }
    if (options_.limit > 0) note(notes_, "--limit concerns the training split only: all unlabeled images are used");
    return concatenate(std::move(parts));
  }

  ImageSourcePtr all() const {
    std::vector<ImageSourcePtr> training, parts;
    for (const Splits& splits : splits_) training.push_back(splits.train());
    parts.push_back(limited(concatenate(std::move(training)), options_.limit, notes_));
    for (const Splits& splits : splits_) {
      if (splits.test) parts.push_back(splits.test());
      if (splits.unlabeled) parts.push_back(splits.unlabeled());
    }
    return concatenate(std::move(parts));
  }

 private:
  /// The test split of --test-data, or all of it where it has no splits.
  ImageSourcePtr test_data() const {
    const Splits splits = open_spec(options_.test_data, options_);
    return splits.test ? splits.test() : splits.train();
  }

  const std::vector<std::string>& specs_;
  const DataOptions& options_;
  std::vector<std::string>* notes_;
  std::vector<Splits> splits_;
};

}  // namespace

ImageSourcePtr open_data(const std::vector<std::string>& specs, Split split, const DataOptions& options,
                         std::vector<std::string>* notes) {
  try {
    const Opening opening(specs, options, notes);
    switch (split) {
      case Split::Train:
        return opening.train();
      case Split::Test:
        return opening.test();
      case Split::Unlabeled:
        return opening.unlabeled();
      case Split::All:
        return opening.all();
    }
  } catch (const fs::filesystem_error& error) {  // no permission, a name too long, …
    throw Error(std::string("[data] ") + error.what());
  }
  throw Error("[data] no such split");
}

}  // namespace tacit::ssl
