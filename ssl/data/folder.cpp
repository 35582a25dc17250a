// Image files below a directory. Sub-directories with images are classes; files are taken in the order of their paths.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <sstream>

#include "ssl/data/damage.h"
#include "ssl/data/decode.h"
#include "ssl/data/sources.h"
#include "tensor/counted.h"
#include "tensor/error.h"
#include "tensor/join.h"
#include "tensor/random.h"
#include "tensor/read_file.h"

namespace fs = std::filesystem;

namespace tacit::ssl {

namespace {

constexpr const char* kAnnotations = "val_annotations.txt";

/// A link whose target is gone, or a link to itself.
bool leads_nowhere(const fs::path& path) {
  std::error_code error;
  return fs::is_symlink(path, error) && !fs::exists(path, error);
}

class FolderSource final : public ImageSource {
 public:
  FolderSource(std::vector<std::string> files, std::vector<int64_t> labels, std::vector<std::string> names,
               int64_t max_pixels)
      : files_(std::move(files)), labels_(std::move(labels)), names_(std::move(names)), max_pixels_(max_pixels) {
    size_ = common_size(size(), [&](int64_t i) { return image_file_size(file(i)); });
  }
  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  Image image(int64_t i) const override { return image_for(i, 0); }
  Image image_for(int64_t i, int64_t side) const override {
    try {
      return decode_file(file(i), max_pixels_, side);
    } catch (const Error&) {
      TACIT_CHECK(!leads_nowhere(file(i)), "[image] ", file(i), " is a link to nowhere");
      throw;
    }
  }
  std::optional<int64_t> label(int64_t i) const override {
    if (labels_.empty()) return std::nullopt;
    return labels_[static_cast<size_t>(i)];
  }
  std::string file(int64_t i) const override { return files_[static_cast<size_t>(i)]; }
  int64_t encoded_bytes(int64_t i) const override {
    std::error_code gone;
    const auto bytes = fs::file_size(file(i), gone);
    return gone ? 0 : static_cast<int64_t>(bytes);
  }
  int64_t channels() const override { return 3; }
  std::pair<int64_t, int64_t> image_size() const override { return size_; }
  std::vector<std::string> class_names() const override { return names_; }
  uint64_t identity() const override { return identity_of_files(files_, max_pixels_); }

 private:
  std::vector<std::string> files_;
  std::vector<int64_t> labels_;
  std::vector<std::string> names_;
  int64_t max_pixels_;
  std::pair<int64_t, int64_t> size_{0, 0};
};

/// A file's ending in lower case: ".jpg".
std::string ending_of(const std::string& path) {
  std::string ending = fs::path(path).extension().string();
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return ending;
}

/// An image to people, but in a format that is not read.
bool is_foreign_image(const std::string& path) {
  for (const char* known : {".heic", ".heif", ".webp", ".avif", ".gif", ".tif", ".tiff", ".jxl", ".jp2", ".dng"})
    if (ending_of(path) == known) return true;
  return false;
}

bool hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

bool unreadable(const fs::path& directory) {
  return ::faccessat(AT_FDCWD, directory.c_str(), R_OK | X_OK, AT_EACCESS) != 0 && errno == EACCES;
}

/// What a search could not look into.
struct LeftOut {
  std::vector<std::string> links;          ///< to nowhere
  std::vector<std::string> directories;    ///< without permission
  std::map<std::string, int64_t> foreign;  ///< images in formats that are not read: how many files of each ending

  /// "12 .heic, 3 .webp"
  std::string formats() const {
    return join(foreign, [](const auto& entry) { return std::to_string(entry.second) + " " + entry.first; });
  }
  void tell(const std::string& where, std::vector<std::string>& notes) {
    const auto add = [&](std::vector<std::string>& paths, const char* one, const char* more, const char* what) {
      if (paths.empty()) return;
      std::sort(paths.begin(), paths.end());
      notes.push_back("warning: " + counted(paths.size(), one, more) + " of " + where + what + ": " +
                      first_of(paths, 20));
    };
    add(links, "link", "links", " to nowhere left out");
    add(directories, "directory", "directories", " without permission to read left out");
    if (!foreign.empty())
      notes.push_back("warning: " + where + " has images in formats that are not read, left out: " + formats());
  }
};

/// Files in the order of their paths. An image that is a link to nowhere is among them, so that it counts as damaged;
/// other such links may have been directories. Links to directories are not followed, so that a loop cannot trap the
/// search.
std::vector<std::string> images_below(const fs::path& directory, LeftOut& left_out) {
  std::vector<std::string> files;
  if (unreadable(directory)) {
    left_out.directories.push_back(directory.string());
    return files;
  }
  std::error_code error;
  fs::recursive_directory_iterator at(directory, error), end;
  for (; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    const std::string path = at->path().string();
    if (hidden(at->path())) {
      at.disable_recursion_pending();
    } else if (at->is_directory(ignored) && unreadable(at->path())) {
      at.disable_recursion_pending();
      left_out.directories.push_back(path);
    } else if (is_image_file(path) && (at->is_regular_file(ignored) || leads_nowhere(at->path()))) {
      files.push_back(path);
    } else if (is_foreign_image(path)) {
      ++left_out.foreign[ending_of(path)];
    } else if (leads_nowhere(at->path())) {
      left_out.links.push_back(path);
    }
  }
  TACIT_CHECK(!error, "[folder] cannot read ", directory.string(), ": ", error.message());
  std::sort(files.begin(), files.end());
  return files;
}

struct Tree {
  ImageSourcePtr source;
  std::vector<std::string> notes;
};

Tree read_tree(const std::string& directory, const DataOptions& options) {
  std::vector<fs::path> classes;
  LeftOut left_out;
  std::string stray;  // an image beside the sub-directories
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (hidden(entry.path())) continue;
    std::error_code broken;  // a link to nowhere is neither
    if (entry.is_directory(broken)) classes.push_back(entry.path());
    if (entry.is_regular_file(broken) && is_image_file(entry.path().string())) stray = entry.path().string();
    if (leads_nowhere(entry.path())) left_out.links.push_back(entry.path().string());
  }
  const bool flat = options.no_labels || !stray.empty() || classes.empty();
  std::sort(classes.begin(), classes.end());
  std::vector<std::string> files, names, notes;
  std::vector<int64_t> labels;
  if (flat) {
    left_out = {};  // the search finds them again
    files = images_below(directory, left_out);
    if (!classes.empty() && !options.no_labels)
      notes.push_back(directory + " has images beside its sub-directories (" + stray +
                      "), so these are not read as classes; move such images away to use labels");
  } else {
    for (const fs::path& path : classes) {
      const std::vector<std::string> found = images_below(path, left_out);
      if (found.empty()) continue;
      labels.insert(labels.end(), found.size(), static_cast<int64_t>(names.size()));
      names.push_back(path.filename().string());
      files.insert(files.end(), found.begin(), found.end());
    }
  }
  left_out.tell(directory, notes);
  const auto& [links, closed, foreign] = left_out;
  TACIT_CHECK(!files.empty(), "[folder] ", directory, " has no ", kImageFiles, " files below it",
              foreign.empty() ? "" : ", but " + left_out.formats() + ": convert these",
              links.empty() ? "" : ", but links to nowhere: " + first_of(links, 5),
              closed.empty() ? "" : ", but directories without permission to read: " + first_of(closed, 5));
  return {std::make_shared<FolderSource>(std::move(files), std::move(labels), std::move(names), options.max_pixels),
          std::move(notes)};
}

/// Tiny-ImageNet's val/: images/ and, a line an image, its name, its class and more in val_annotations.txt.
Tree read_annotated(const std::string& directory, const DataOptions& options) {
  const std::string list = directory + "/" + kAnnotations;
  std::istringstream lines(read_file(list));
  std::vector<std::pair<std::string, std::string>> found;  // file, class
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string name, label;
    if (!(fields >> name)) continue;
    TACIT_CHECK(fields >> label, "[folder] ", list, ": '", line, "' has no class");
    found.emplace_back(directory + "/images/" + name, label);
    TACIT_CHECK(fs::exists(found.back().first), "[folder] ", list, " names ", name, ", which is not in ", directory,
                "/images");
  }
  TACIT_CHECK(!found.empty(), "[folder] ", list, " names no image");
  std::vector<std::string> files, names;
  for (const auto& entry : found) names.push_back(entry.second);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  if (options.no_labels) names.clear();
  std::vector<int64_t> labels;
  for (const auto& entry : found) {
    files.push_back(entry.first);
    if (!options.no_labels)
      labels.push_back(std::lower_bound(names.begin(), names.end(), entry.second) - names.begin());
  }
  return {std::make_shared<FolderSource>(std::move(files), std::move(labels), std::move(names), options.max_pixels),
          {}};
}

Opened opened(Tree tree, bool whole) { return {std::move(tree.source), whole, std::move(tree.notes)}; }

/// Only test/ and val/ are there, which would be read as two classes.
void check_training_part(const std::string& path) {
  std::string part;
  for (const auto& entry : fs::directory_iterator(path)) {
    std::error_code broken;  // a link to nowhere
    if (hidden(entry.path()) || !entry.is_directory(broken)) continue;
    const std::string name = entry.path().filename().string();
    if (name != "test" && name != "val") return;
    part = name;
  }
  TACIT_CHECK(part.empty(), "[folder] ", path, " has ", part, "/ and no train/; to use these images, give ", path, "/",
              part, ", or rename the directory if it is a class");
}

std::string split_directory(const std::string& path, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (fs::is_directory(path + "/" + name)) return path + "/" + name;
  return "";
}

}  // namespace

bool is_image_file(const std::string& path) {
  const std::string ending = ending_of(path);
  for (const char* known : {".jpg", ".jpeg", ".png", ".bmp", ".pgm", ".ppm", ".pnm"})
    if (ending == known) return true;
  return false;
}

uint64_t identity_of_files(const std::vector<std::string>& paths, int64_t max_pixels) {
  auto hash = static_cast<uint64_t>(max_pixels);
  for (const std::string& path : paths) {
    std::error_code error;  // a file that is gone has a size and a time too, strange ones
    const std::string whole = fs::absolute(path, error).lexically_normal().string();
    const uint64_t size = fs::file_size(path, error);
    const auto time = fs::last_write_time(path, error).time_since_epoch().count();
    hash = random_stream(whole, hash, size, static_cast<uint64_t>(time));
  }
  return hash;
}

std::pair<int64_t, int64_t> common_size(int64_t n, const std::function<std::pair<int64_t, int64_t>(int64_t)>& size_of) {
  // Sizes are told apart by a sample: reading every header of a large folder takes minutes.
  const int64_t sampled = std::min<int64_t>(32, n);
  std::pair<int64_t, int64_t> common{0, 0};
  for (int64_t i = 0; i < sampled; ++i) {
    const auto size = size_of(i * n / sampled);
    if (size.first == 0) continue;
    if (common.first == 0) common = size;
    if (size != common) return {0, 0};
  }
  return common;
}

Opened open_folder(const std::string& path, Split split, const DataOptions& options) {
  TACIT_CHECK(fs::exists(path), "[folder] ", path, " does not exist");
  if (!options.no_labels && fs::is_directory(path)) check_training_part(path);
  if (!fs::is_directory(path)) {
    TACIT_CHECK(is_image_file(path), "[folder] ", path, " is a file and not an image; a directory is needed");
    return {std::make_shared<FolderSource>(std::vector<std::string>{path}, std::vector<int64_t>{},
                                           std::vector<std::string>{}, options.max_pixels),
            true};
  }
  const std::string train = split_directory(path, {"train"}), val = split_directory(path, {"val"});
  const bool annotated = fs::exists(val + "/" + kAnnotations);  // then test/ has no labels
  const std::string test = annotated ? val : split_directory(path, {"test", "val"});
  // Held-out images would be in it, and be learned from unsaid.
  TACIT_CHECK(split != Split::Unlabeled, "[folder] ", path,
              " has no unlabeled split; use --split train, or give the directory of the unlabelled images");
  if (train.empty()) return opened(read_tree(path, options), true);
  if (test.empty()) return opened(read_tree(train, options), true);
  if (split == Split::Train) return opened(read_tree(train, options), false);
  Tree training = read_tree(train, options),
       testing = annotated ? read_annotated(test, options) : read_tree(test, options);
  testing.source = numbered_as(*training.source, testing.source);
  if (split == Split::Test) return opened(std::move(testing), false);
  training.source = concatenate_sources({training.source, testing.source});
  training.notes.insert(training.notes.end(), testing.notes.begin(), testing.notes.end());
  return opened(std::move(training), false);
}

}  // namespace tacit::ssl
