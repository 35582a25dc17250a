// Image files in directories. Class sub-directories give labels in sorted order of their names; train, test (or val)
// and unlabeled directories are splits. Only regular files with an image's ending count; the order is by path.
#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>

#include "ssl/data/decode.h"
#include "ssl/data/kinds.h"

namespace tacit::ssl {

namespace {

namespace fs = std::filesystem;

bool is_hidden(const fs::path& path) { return path.filename().string().rfind('.', 0) == 0; }

struct Listing {
  std::vector<std::string> images, directories;
};

Listing list(const std::string& directory) {
  std::error_code error;
  fs::directory_iterator entries(directory, error);
  TACIT_CHECK(!error, "[folder] cannot read directory ", directory, ": ", error.message());
  Listing found;
  for (const fs::directory_entry& entry : entries) {
    std::error_code broken;  // a dangling link is neither file nor directory
    if (is_hidden(entry.path())) continue;
    if (entry.is_directory(broken))
      found.directories.push_back(entry.path().string());
    else if (entry.is_regular_file(broken) && is_image_name(entry.path().string()))
      found.images.push_back(entry.path().string());
  }
  std::sort(found.images.begin(), found.images.end());
  std::sort(found.directories.begin(), found.directories.end());
  return found;
}

/// All images below a directory; every directory is entered once, so links that lead back do no harm.
void collect(const std::string& directory, std::set<std::string>& entered, std::vector<std::string>& images) {
  std::error_code error;
  const std::string real = fs::canonical(directory, error).string();
  if (error || !entered.insert(real).second) return;
  const Listing found = list(directory);
  images.insert(images.end(), found.images.begin(), found.images.end());
  for (const std::string& below : found.directories) collect(below, entered, images);
}

class Folder final : public ImageSource {
 public:
  Folder(const std::string& path, const DataOptions& options) : max_pixels_(options.max_pixels) {
    if (fs::is_regular_file(path)) {
      files_ = {path};
      return;
    }
    std::set<std::string> entered;
    if (options.no_labels)
      collect(path, entered, files_);
    else
      collect_classes(path, entered);
    TACIT_CHECK(!files_.empty(), "[folder] ", path, " holds no images (.jpg, .jpeg, .png, .bmp, .ppm, .pgm, .pnm)");
  }

  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  Image image(int64_t i) const override { return decode_image(files_[static_cast<size_t>(i)], max_pixels_); }
  std::optional<int64_t> label(int64_t i) const override {
    if (labels_.empty()) return std::nullopt;
    return labels_[static_cast<size_t>(i)];
  }
  std::string file(int64_t i) const override { return files_[static_cast<size_t>(i)]; }
  int64_t channels() const override {
    look();
    return channels_;
  }
  std::pair<int64_t, int64_t> image_size() const override {
    look();
    return image_size_;
  }
  std::vector<std::string> class_names() const override { return class_names_; }

 private:
  void collect_classes(const std::string& path, std::set<std::string>& entered) {
    const Listing top = list(path);
    entered.insert(fs::canonical(path).string());
    for (const std::string& directory : top.directories) {
      const size_t before = files_.size();
      collect(directory, entered, files_);
      if (files_.size() == before) continue;  // a directory without images is no class
      labels_.resize(files_.size(), static_cast<int64_t>(class_names_.size()));
      class_names_.push_back(fs::path(directory).filename().string());
    }
    TACIT_CHECK(files_.empty() || top.images.empty(), "[folder] ", path, " holds both class directories and images (",
                top.images.empty() ? "" : fs::path(top.images[0]).filename().string(),
                "); move these, or use --no-labels to take all images without labels");
    if (files_.empty()) files_ = top.images;
  }

  /// Reads headers until a coloured image is met, and those of some images for the usual size; once.
  void look() const {
    std::call_once(looked_, [this] {
      const size_t step = std::max<size_t>(1, files_.size() / kLookedAt);
      std::map<std::pair<int64_t, int64_t>, size_t> sizes;
      size_t read = 0;
      const auto see = [&](const std::string& file, bool count) {
        try {
          const ImageHeader header = read_image_header(file);
          if (header.channels > 1) channels_ = 3;
          if (!count) return;
          ++sizes[{header.height, header.width}];
          ++read;
        } catch (const Error&) {  // the loader names it when it is needed
        }
      };
      for (size_t i = 0; i < files_.size(); i += step) see(files_[i], true);
      for (size_t i = 0; i < files_.size() && channels_ == 1; ++i) see(files_[i], false);
      for (const auto& entry : sizes)
        if (2 * entry.second > read) image_size_ = entry.first;
    });
  }

  static constexpr size_t kLookedAt = 64;
  int64_t max_pixels_;
  std::vector<std::string> files_, class_names_;
  std::vector<int64_t> labels_;
  mutable std::once_flag looked_;
  mutable int64_t channels_ = 1;
  mutable std::pair<int64_t, int64_t> image_size_{0, 0};
};

}  // namespace

bool is_image_name(const std::string& file) {
  static constexpr std::array<const char*, 8> kEndings = {".jpg", ".jpeg", ".jpe", ".png",
                                                          ".bmp", ".ppm",  ".pgm", ".pnm"};
  std::string ending = fs::path(file).extension().string();
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return std::any_of(kEndings.begin(), kEndings.end(), [&](const char* known) { return ending == known; });
}

Splits open_folder(const std::string& path, const DataOptions& options) {
  TACIT_CHECK(fs::exists(path), "[folder] ", path, " does not exist");
  TACIT_CHECK(fs::is_directory(path) || (fs::is_regular_file(path) && is_image_name(path)), "[folder] ", path,
              " is neither a directory nor an image file");
  const auto split = [&](std::initializer_list<const char*> names) -> std::function<ImageSourcePtr()> {
    for (const char* name : names) {
      const std::string directory = (fs::path(path) / name).string();
      if (fs::is_directory(directory)) return [=] { return std::make_shared<Folder>(directory, options); };
    }
    return nullptr;
  };
  Splits splits;
  splits.train = split({"train"});
  if (splits.train) {
    splits.test = split({"test", "val"});
    splits.unlabeled = split({"unlabeled"});
  } else {
    splits.train = [=] { return std::make_shared<Folder>(path, options); };
  }
  return splits;
}

}  // namespace tacit::ssl
