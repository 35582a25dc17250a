// MNIST's idx format (yann.lecun.com/exdb/mnist): a big-endian magic number, the sizes, then bytes.
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>

#include "ssl/data/sources.h"
#include "tensor/counted.h"
#include "tensor/error.h"

namespace fs = std::filesystem;

namespace tacit::ssl {

namespace {

/// Reads a plain or gzip-compressed file from front to back. Not by gzread, which takes a file that ends before its
/// checksum for a whole one.
class Input {
 public:
  explicit Input(std::string path) : path_(std::move(path)), file_(path_, std::ios::binary) {
    TACIT_CHECK(file_, "[idx] cannot open ", path_);
    refill();
    compressed_ = stream_.avail_in >= 2 && buffer_[0] == 0x1f && buffer_[1] == 0x8b;
    constexpr int kGzip = 16;
    if (compressed_) inflateInit2(&stream_, kGzip + MAX_WBITS);
  }
  ~Input() {
    if (compressed_) inflateEnd(&stream_);
  }
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
  /// Whether there are bytes to be had from buffer_.
  bool refill() {
    if (stream_.avail_in > 0) return true;
    file_.read(reinterpret_cast<char*>(buffer_.data()), static_cast<std::streamsize>(buffer_.size()));
    TACIT_CHECK(!file_.bad() && (file_.gcount() > 0 || file_.eof()), "[idx] cannot read ", path_,
                ": not a readable file");
    stream_.next_in = buffer_.data();
    stream_.avail_in = static_cast<uInt>(file_.gcount());
    return stream_.avail_in > 0;
  }
  /// The next n bytes, or what there is of them.
  int64_t read(void* to, int64_t n) {
    stream_.next_out = static_cast<Bytef*>(to);
    stream_.avail_out = static_cast<uInt>(n);
    while (stream_.avail_out > 0) {
      if (!refill()) {
        TACIT_CHECK(!within_, "[idx] cannot read ", path_, ": unexpected end of file");
        break;
      }
      if (compressed_) {
        within_ = true;
        const int status = inflate(&stream_, Z_NO_FLUSH);
        TACIT_CHECK(status == Z_OK || status == Z_STREAM_END, "[idx] cannot read ", path_, ": ",
                    stream_.msg ? stream_.msg : "damaged compressed data");
        if (status != Z_STREAM_END) continue;
        inflateReset(&stream_);  // a file may hold several, one after the other
        within_ = false;
      } else {
        const uInt part = std::min(stream_.avail_in, stream_.avail_out);
        stream_.next_out = std::copy_n(stream_.next_in, part, stream_.next_out);
        stream_.next_in += part;
        stream_.avail_in -= part;
        stream_.avail_out -= part;
      }
    }
    return n - stream_.avail_out;
  }

  std::string path_;
  std::ifstream file_;
  std::vector<uint8_t> buffer_ = std::vector<uint8_t>(size_t{1} << 16);
  z_stream stream_ = {};
  bool compressed_ = false;
  bool within_ = false;  ///< a compressed stream that has not ended
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

/// A class number without an image is most likely a damaged label above it.
void note_gaps(const std::string& directory, const Part& part, std::vector<std::string>& notes) {
  const int64_t classes = part.classes();
  std::vector<bool> seen(static_cast<size_t>(classes));
  for (const uint8_t label : part.labels) seen[label] = true;
  const auto missing = std::count(seen.begin(), seen.end(), false);
  if (missing == 0) return;
  const auto first = std::find(seen.begin(), seen.end(), false) - seen.begin();
  notes.push_back("warning: " + directory + " has labels up to " + std::to_string(classes - 1) + ", but no image of " +
                  counted(static_cast<int64_t>(missing), "class", "classes") + " below, such as " +
                  std::to_string(first) + ": is a label damaged?");
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
    std::vector<std::string> notes;
    note_gaps(directory, part, notes);
    return {.source = source_of(std::move(part), names), .notes = notes};
  }
  Part train = read_part(directory, "train"), test = read_part(directory, "t10k");
  const auto names = names_of(directory, std::max(train.classes(), test.classes()));  // a split may lack the last class
  return {concatenate_sources({source_of(std::move(train), names), source_of(std::move(test), names)})};
}

}  // namespace tacit::ssl
