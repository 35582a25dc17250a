// STL-10, binary version (Coates, Ng, Lee 2011): {train,test,unlabeled}_X.bin of 96 x 96 images, one plane a colour and
// each plane column after column; {train,test}_y.bin with labels from 1.
#include <filesystem>

#include "ssl/data/archive.h"
#include "ssl/data/input_file.h"
#include "ssl/data/sources.h"
#include "tensor/counted.h"
#include "tensor/error.h"

namespace fs = std::filesystem;

namespace tacit::ssl {

namespace {

constexpr int64_t kStl10Side = 96, kStl10Plane = kStl10Side * kStl10Side, kStl10Record = 3 * kStl10Plane,
                  kStl10Classes = 10;
constexpr int64_t kMostStl10Bytes = 200'000 * kStl10Record;  // twice the published set

/// Images left in their file, or in memory where that is an archive; either way as they are, turned when asked for.
class Stl10Source final : public ImageSource {
 public:
  Stl10Source(InputFile file, std::vector<int64_t> labels, std::vector<std::string> names)
      : file_(std::move(file)),
        size_(file_->size() / kStl10Record),
        labels_(std::move(labels)),
        names_(std::move(names)) {}
  Stl10Source(std::string bytes, std::vector<int64_t> labels, std::vector<std::string> names)
      : bytes_(std::move(bytes)),
        size_(static_cast<int64_t>(bytes_.size()) / kStl10Record),
        labels_(std::move(labels)),
        names_(std::move(names)) {}
  int64_t size() const override { return size_; }
  Image image(int64_t i) const override {
    std::vector<uint8_t> read;
    const auto* record = reinterpret_cast<const uint8_t*>(bytes_.data()) + (file_ ? 0 : i * kStl10Record);
    if (file_) {
      read.resize(static_cast<size_t>(kStl10Record));
      file_->read(i * kStl10Record, kStl10Record, read.data());
      record = read.data();
    }
    Image image{kStl10Side, kStl10Side, 3, std::vector<uint8_t>(static_cast<size_t>(kStl10Record))};
    uint8_t* to = image.pixels.data();
    for (int64_t y = 0; y < kStl10Side; ++y)
      for (int64_t x = 0; x < kStl10Side; ++x)
        for (int64_t c = 0; c < 3; ++c) *to++ = record[c * kStl10Plane + x * kStl10Side + y];
    return image;
  }
  std::optional<int64_t> label(int64_t i) const override {
    if (labels_.empty()) return std::nullopt;
    return labels_[static_cast<size_t>(i)];
  }
  int64_t channels() const override { return 3; }
  std::pair<int64_t, int64_t> image_size() const override { return {kStl10Side, kStl10Side}; }
  std::vector<std::string> class_names() const override { return names_; }

 private:
  std::optional<InputFile> file_;
  std::string bytes_;
  int64_t size_;
  std::vector<int64_t> labels_;
  std::vector<std::string> names_;
};

void check_size(int64_t bytes, const std::string& where) {
  TACIT_CHECK(bytes > 0 && bytes % kStl10Record == 0, "[stl10] ", where, " has ", bytes, " bytes, not a multiple of ",
              kStl10Record, " (an image of 96 x 96 pixels); it is truncated or not the binary version");
}

std::vector<int64_t> read_labels(const std::string& bytes, int64_t images, const std::string& where) {
  TACIT_CHECK(static_cast<int64_t>(bytes.size()) == images, "[stl10] ", where, " has ", counted(bytes.size(), "label"),
              " for ", counted(images, "image"));
  std::vector<int64_t> labels;
  for (const char byte : bytes) {
    const int64_t label = static_cast<uint8_t>(byte);
    TACIT_CHECK(label >= 1 && label <= kStl10Classes, "[stl10] ", where, " has label ", label, " of image ",
                labels.size(), "; labels are 1 to 10");
    labels.push_back(label - 1);
  }
  return labels;
}

std::vector<std::string> stl10_names(const Files& files) {
  std::vector<std::string> names = lines_of(files, "class_names.txt");
  if (static_cast<int64_t>(names.size()) == kStl10Classes) return names;
  return {"airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"};
}

std::string stl10_directory(const std::string& path) {
  return fs::is_directory(path + "/stl10_binary") ? path + "/stl10_binary" : path;
}

}  // namespace

bool has_stl10_files(const std::string& directory) {
  for (const char* part : {"/train_X.bin", "/test_X.bin", "/unlabeled_X.bin"})
    if (fs::exists(stl10_directory(directory) + part)) return true;
  return false;
}

Opened open_stl10(const std::string& path, Split split) {
  TACIT_CHECK(fs::exists(path), "[stl10] ", path, " does not exist");
  const bool packed = !fs::is_directory(path);
  const std::string directory = stl10_directory(path);
  std::vector<std::string> parts = {"train", "test", "unlabeled"};
  if (split == Split::Train) parts = {"train"};
  if (split == Split::Test) parts = {"test"};
  if (split == Split::Unlabeled) parts = {"unlabeled"};
  std::set<std::string> wanted = {"class_names.txt", "train_y.bin", "test_y.bin"};
  if (packed)
    for (const std::string& part : parts) wanted.insert(part + "_X.bin");
  Files files = packed ? read_members(path, wanted, kMostStl10Bytes) : read_directory(directory, wanted);
  const auto there = [&](const std::string& name) {
    return packed ? files.count(name) > 0 : fs::exists(directory + "/" + name);
  };
  // Without a label for every image a split counts as unlabelled: --split all of a set with its unlabeled part.
  const bool labelled = split != Split::Unlabeled && (split != Split::All || !there("unlabeled_X.bin"));
  Opened opened;
  std::vector<ImageSourcePtr> sources;
  for (const std::string& part : parts) {
    const std::string images = part + "_X.bin", where = (packed ? path + ": " : directory + "/");
    if (part == "unlabeled" && split == Split::All && !there(images)) continue;
    TACIT_CHECK(there(images), "[stl10] ", path, " has no ", images);
    std::optional<InputFile> file;
    if (!packed) file.emplace(directory + "/" + images);
    const int64_t bytes = packed ? static_cast<int64_t>(files[images].size()) : file->size();
    check_size(bytes, where + images);
    std::vector<int64_t> labels;
    if (part != "unlabeled") {
      TACIT_CHECK(there(part + "_y.bin"), "[stl10] ", path, " has ", images, ", but not its labels, ", part, "_y.bin");
      labels = read_labels(files[part + "_y.bin"], bytes / kStl10Record, where + part + "_y.bin");
    }
    std::vector<std::string> names = labelled ? stl10_names(files) : std::vector<std::string>{};
    if (packed)
      sources.push_back(std::make_shared<Stl10Source>(std::move(files[images]), std::move(labels), std::move(names)));
    else
      sources.push_back(std::make_shared<Stl10Source>(std::move(*file), std::move(labels), std::move(names)));
  }
  opened.source = concatenate_sources(sources);
  return opened;
}

}  // namespace tacit::ssl
