// MNIST's idx format (yann.lecun.com/exdb/mnist): a big-endian magic number, the sizes, then bytes.
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "ssl/data/sources.h"
#include "tensor/counted.h"
#include "tensor/error.h"

namespace fs = std::filesystem;

namespace tacit::ssl {

namespace {

/// Reads a plain or gzip-compressed file from front to back.
class Input {
 public:
  explicit Input(std::string path) : path_(std::move(path)), file_(gzopen(path_.c_str(), "rb")) {
    TACIT_CHECK(file_, "[idx] cannot open ", path_);
  }
  ~Input() { gzclose(file_); }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  int64_t number() {
    uint8_t b[4];
    TACIT_CHECK(read(b, 4) == 4, "[idx] ", path_, " is truncated: it ends inside the header");
    return (int64_t{b[0]} << 24) | (b[1] << 16) | (b[2] << 8) | b[3];
  }
  /// Exactly n bytes and then the end. Memory grows with what is there, not with what a header claims.
  std::vector<uint8_t> rest(int64_t n) {
    constexpr int64_t kChunk = int64_t{1} << 20;
    std::vector<uint8_t> bytes;
    while (static_cast<int64_t>(bytes.size()) < n) {
      const auto have = static_cast<int64_t>(bytes.size()), want = std::min(kChunk, n - have);
      bytes.resize(static_cast<size_t>(have + want));
      const int64_t got = read(bytes.data() + have, want);
      TACIT_CHECK(got == want, "[idx] ", path_, " is truncated: the header promises ", n, " bytes, there are ",
                  have + got);
    }
    uint8_t more;
    TACIT_CHECK(read(&more, 1) == 0, "[idx] ", path_, " has more bytes than the ", n, " its header promises");
    return bytes;
  }

 private:
  int64_t read(void* to, int64_t n) {
    const int got = gzread(file_, to, static_cast<unsigned>(n));
    int status = Z_OK;
    std::string message = gzerror(file_, &status);
    if (message.starts_with(path_ + ": ")) message.erase(0, path_.size() + 2);  // zlib begins with it
    TACIT_CHECK(got >= 0 && (status == Z_OK || status == Z_STREAM_END), "[idx] cannot read ", path_, ": ",
                status == Z_ERRNO ? std::string("not a readable file") : message);
    return got;
  }
  std::string path_;
  gzFile file_;
};

std::string find(const std::string& directory, const std::string& name) {
  for (const char* ending : {"", ".gz"}) {
    const std::string path = directory + "/" + name + ending;
    if (fs::exists(path)) return path;
  }
  throw Error("[idx] " + directory + " has no " + name + " or " + name + ".gz");
}

/// One pair of files in memory.
struct Part {
  std::vector<uint8_t> pixels, labels;
  int64_t height = 0, width = 0;
  int64_t classes() const { return *std::max_element(labels.begin(), labels.end()) + 1; }
};

Part read_part(const std::string& directory, const std::string& part) {
  const std::string image_path = find(directory, part + "-images-idx3-ubyte");
  const std::string label_path = find(directory, part + "-labels-idx1-ubyte");
  Input images(image_path);
  const int64_t magic = images.number();
  TACIT_CHECK(magic == 0x803, "[idx] ", image_path, " has magic number ", magic, ", images have 2051",
              magic == 0x801 ? " (these are labels)" : "");
  const int64_t n = images.number(), h = images.number(), w = images.number();
  TACIT_CHECK(n > 0 && h > 0 && w > 0 && h <= 16384 && w <= 16384, "[idx] ", image_path, " says ", counted(n, "image"),
              " of ", h, " x ", w, " pixels");
  Input labels(label_path);
  const int64_t label_magic = labels.number(), label_count = labels.number();
  TACIT_CHECK(label_magic == 0x801, "[idx] ", label_path, " has magic number ", label_magic, ", labels have 2049");
  TACIT_CHECK(label_count == n, "[idx] ", image_path, " has ", counted(n, "image"), ", ", label_path, " has ",
              counted(label_count, "label"));
  std::vector<uint8_t> bytes = labels.rest(n);
  return {images.rest(n * h * w), std::move(bytes), h, w};
}

std::vector<std::string> names_of(const std::string& directory, int64_t classes) {
  static const std::vector<std::string> kFashion = {"T-shirt", "trouser", "pullover", "dress", "coat",
                                                    "sandal",  "shirt",   "sneaker",  "bag",   "boot"};
  std::vector<std::string> names;
  if (directory.find("fashion") != std::string::npos && classes == 10) names = kFashion;
  while (static_cast<int64_t>(names.size()) < classes) names.push_back(std::to_string(names.size()));
  return names;
}

ImageSourcePtr source_of(Part part, const std::vector<std::string>& names) {
  const std::vector<int64_t> labels(part.labels.begin(), part.labels.end());
  return memory_source(std::move(part.pixels), labels, part.height, part.width, 1, names);
}

}  // namespace

bool has_idx_files(const std::string& directory) {
  for (const char* name : {"/train-images-idx3-ubyte", "/t10k-images-idx3-ubyte"})
    if (fs::exists(directory + name) || fs::exists(directory + name + ".gz")) return true;
  return false;
}

Opened open_idx(const std::string& directory, Split split) {
  TACIT_CHECK(fs::exists(directory), "[idx] ", directory, " does not exist");
  TACIT_CHECK(fs::is_directory(directory), "[idx] ", directory, " is a file; give the directory of the idx files");
  TACIT_CHECK(split != Split::Unlabeled, "[idx] ", directory, " has no unlabeled split; there are train and test");
  if (split != Split::All) {
    Part part = read_part(directory, split == Split::Train ? "train" : "t10k");
    const auto names = names_of(directory, part.classes());
    return {source_of(std::move(part), names)};
  }
  Part train = read_part(directory, "train"), test = read_part(directory, "t10k");
  const auto names = names_of(directory, std::max(train.classes(), test.classes()));  // a split may lack the last class
  return {concatenate_sources({source_of(std::move(train), names), source_of(std::move(test), names)})};
}

}  // namespace tacit::ssl
