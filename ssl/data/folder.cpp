// Image files below a directory. Sub-directories with images are classes; files are taken in the order of their paths.
#include <algorithm>
#include <filesystem>

#include "ssl/data/decode.h"
#include "ssl/data/sources.h"
#include "tensor/error.h"

namespace fs = std::filesystem;

namespace tacit::ssl {

namespace {

class FolderSource final : public ImageSource {
 public:
  FolderSource(std::vector<std::string> files, std::vector<int64_t> labels, std::vector<std::string> names,
               int64_t max_pixels)
      : files_(std::move(files)), labels_(std::move(labels)), names_(std::move(names)), max_pixels_(max_pixels) {
    // Sizes are told apart by a sample: reading every header of a large folder takes minutes.
    constexpr size_t kSample = 32;
    for (size_t i = 0; i < std::min(kSample, files_.size()); ++i) {
      const auto size = image_file_size(files_[i * files_.size() / std::min(kSample, files_.size())]);
      if (size.first == 0) continue;
      if (size_.first == 0) size_ = size;
      if (size != size_) {
        size_ = {0, 0};
        break;
      }
    }
  }
  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  Image image(int64_t i) const override { return decode_file(file(i), max_pixels_); }
  std::optional<int64_t> label(int64_t i) const override {
    if (labels_.empty()) return std::nullopt;
    return labels_[static_cast<size_t>(i)];
  }
  std::string file(int64_t i) const override { return files_[static_cast<size_t>(i)]; }
  int64_t channels() const override { return 3; }
  std::pair<int64_t, int64_t> image_size() const override { return size_; }
  std::vector<std::string> class_names() const override { return names_; }

 private:
  std::vector<std::string> files_;
  std::vector<int64_t> labels_;
  std::vector<std::string> names_;
  int64_t max_pixels_;
  std::pair<int64_t, int64_t> size_{0, 0};
};

bool hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

// Links to directories are not followed, so that a loop cannot trap the search.
std::vector<std::string> images_below(const fs::path& directory) {
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator at(directory, fs::directory_options::skip_permission_denied, error), end;
  for (; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (hidden(at->path())) {
      at.disable_recursion_pending();
    } else if (at->is_regular_file(ignored) && is_image_file(at->path().string())) {
      files.push_back(at->path().string());
    }
  }
  TACIT_CHECK(!error, "[folder] cannot read ", directory.string(), ": ", error.message());
  std::sort(files.begin(), files.end());
  return files;
}

struct Tree {
  ImageSourcePtr source;
  std::string note;
};

Tree read_tree(const std::string& directory, const DataOptions& options) {
  std::vector<fs::path> classes;
  bool flat = options.no_labels;
  std::string stray;  // an image beside the sub-directories
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (hidden(entry.path())) continue;
    std::error_code broken;  // a link to nowhere or to itself is neither
    if (entry.is_directory(broken)) classes.push_back(entry.path());
    if (entry.is_regular_file(broken) && is_image_file(entry.path().string())) stray = entry.path().string();
  }
  flat = flat || !stray.empty();
  std::sort(classes.begin(), classes.end());
  std::vector<std::string> files, names;
  std::vector<int64_t> labels;
  std::string note;
  if (flat) {
    files = images_below(directory);
    if (!classes.empty() && !options.no_labels)
      note = directory + " has images beside its sub-directories (" + stray +
             "), so these are not read as classes; move such images away to use labels";
  } else {
    for (const fs::path& path : classes) {
      const std::vector<std::string> found = images_below(path);
      if (found.empty()) continue;
      labels.insert(labels.end(), found.size(), static_cast<int64_t>(names.size()));
      names.push_back(path.filename().string());
      files.insert(files.end(), found.begin(), found.end());
    }
  }
  TACIT_CHECK(!files.empty(), "[folder] ", directory, " has no .jpg, .jpeg, .png, .bmp, .pgm or .ppm files below it");
  return {std::make_shared<FolderSource>(std::move(files), std::move(labels), std::move(names), options.max_pixels),
          std::move(note)};
}

Opened opened(Tree tree, bool whole) { return {std::move(tree.source), whole, std::move(tree.note)}; }

std::string split_directory(const std::string& path, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (fs::is_directory(path + "/" + name)) return path + "/" + name;
  return "";
}

}  // namespace

bool is_image_file(const std::string& path) {
  std::string ending = fs::path(path).extension().string();
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* known : {".jpg", ".jpeg", ".png", ".bmp", ".pgm", ".ppm", ".pnm"})
    if (ending == known) return true;
  return false;
}

Opened open_folder(const std::string& path, Split split, const DataOptions& options) {
  TACIT_CHECK(fs::exists(path), "[folder] ", path, " does not exist");
  if (!fs::is_directory(path)) {
    TACIT_CHECK(is_image_file(path), "[folder] ", path, " is a file and not an image; a directory is needed");
    return {std::make_shared<FolderSource>(std::vector<std::string>{path}, std::vector<int64_t>{},
                                           std::vector<std::string>{}, options.max_pixels),
            true};
  }
  const std::string train = split_directory(path, {"train"}), test = split_directory(path, {"test", "val"});
  if (train.empty()) return opened(read_tree(path, options), true);
  TACIT_CHECK(split != Split::Unlabeled, "[folder] ", path, " has no unlabeled split; give its directory");
  if (test.empty()) return opened(read_tree(train, options), true);
  if (split == Split::Train) return opened(read_tree(train, options), false);
  Tree training = read_tree(train, options), testing = read_tree(test, options);
  testing.source = numbered_as(*training.source, testing.source);
  if (split == Split::Test) return opened(std::move(testing), false);
  training.source = concatenate_sources({training.source, testing.source});
  return opened(std::move(training), false);
}

}  // namespace tacit::ssl
