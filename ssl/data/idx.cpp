// The IDX format of MNIST and its successors: a big-endian header (magic, dimensions), then bytes.
#include <zlib.h>

#include <algorithm>
#include <filesystem>

#include "ssl/data/kinds.h"

namespace tacit::ssl {

namespace {

namespace fs = std::filesystem;

constexpr uint32_t kImagesMagic = 0x803, kLabelsMagic = 0x801;

/// Both spellings that are about: "train-images-idx3-ubyte" and "train-images.idx3-ubyte", plain or .gz; "" if none.
std::string find_file(const std::string& directory, const std::string& what, const std::string& format) {
  for (const char* separator : {"-", "."})
    for (const char* ending : {"", ".gz"}) {
      const fs::path path = fs::path(directory) / (what + separator + format + "-ubyte" + ending);
      std::error_code ignored;
      if (fs::exists(path, ignored)) return path.string();
    }
  return "";
}

/// Reads a plain or gzip file bit by bit, so that a header's false promise costs no memory.
class GzReader {
 public:
  explicit GzReader(const std::string& path) : path_(path), file_(gzopen(path.c_str(), "rb")) {
    std::error_code ignored;
    TACIT_CHECK(!fs::is_directory(path, ignored), "[idx] ", path, " is a directory, not a file");
    TACIT_CHECK(file_ != nullptr, "[idx] cannot open ", path);
  }
  ~GzReader() {
    if (file_ != nullptr) gzclose(file_);
  }
  GzReader(const GzReader&) = delete;
  GzReader& operator=(const GzReader&) = delete;

  uint32_t big_endian() {
    uint8_t b[4] = {};
    TACIT_CHECK(read(b, 4) == 4, "[idx] ", path_, " is truncated: it ends within the header");
    return uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | b[3];
  }

  /// The rest of the file, which must be exactly this many bytes.
  std::vector<uint8_t> rest(uint64_t bytes) {
    constexpr uint64_t kChunk = 1 << 20;
    std::vector<uint8_t> data;
    while (data.size() < bytes) {
      const uint64_t had = data.size(), want = std::min(bytes - had, kChunk);
      data.resize(had + want);
      const uint64_t got = read(data.data() + had, static_cast<unsigned>(want));
      TACIT_CHECK(got == want, "[idx] ", path_, " is truncated: its header promises ", bytes, " bytes of data, it has ",
                  had + got);
    }
    uint8_t more = 0;
    TACIT_CHECK(read(&more, 1) == 0, "[idx] ", path_, " is longer than its header says (", bytes, " bytes of data)");
    return data;
  }

 private:
  uint64_t read(uint8_t* to, unsigned bytes) {
    const int got = gzread(file_, to, bytes);
    int status = Z_OK;
    const char* message = gzerror(file_, &status);
    TACIT_CHECK(got >= 0 && status != Z_DATA_ERROR, "[idx] ", path_, " is corrupt: ", message);
    TACIT_CHECK(status != Z_BUF_ERROR, "[idx] ", path_, " is truncated: the compressed data end too early");
    return static_cast<uint64_t>(got);
  }

  std::string path_;
  gzFile file_;
};

void check_magic(uint32_t magic, uint32_t expected, const std::string& path, const char* what) {
  TACIT_CHECK(magic == expected, "[idx] ", path, " holds no ", what, ": its magic number is ", magic, ", expected ",
              expected);
}

ImagesInMemory read_images(const std::string& path, int64_t max_pixels) {
  GzReader file(path);
  check_magic(file.big_endian(), kImagesMagic, path, "images");
  ImagesInMemory data;
  data.channels = 1;
  const uint64_t n = file.big_endian(), height = file.big_endian(), width = file.big_endian();
  TACIT_CHECK(height > 0 && width > 0, "[idx] ", path, " says that its images are ", height, " x ", width, " pixels");
  TACIT_CHECK(height * width <= static_cast<uint64_t>(max_pixels), "[idx] ", path, ": images of ", height, " x ", width,
              " pixels are above --max-pixels ", max_pixels);
  TACIT_CHECK(n <= (uint64_t{1} << 62) / (height * width), "[idx] ", path, " says that it holds ", n, " images of ",
              height, " x ", width, " pixels; that is no real file");
  data.height = static_cast<int64_t>(height);
  data.width = static_cast<int64_t>(width);
  data.pixels = file.rest(n * height * width);
  data.labels.resize(n);
  return data;
}

std::vector<uint8_t> read_labels(const std::string& path) {
  GzReader file(path);
  check_magic(file.big_endian(), kLabelsMagic, path, "labels");
  const uint64_t n = file.big_endian();
  return file.rest(n);
}

std::vector<std::string> class_names(const std::string& directory, int64_t classes) {
  if (classes == 10 && fs::path(directory).lexically_normal().string().find("fashion") != std::string::npos)
    return {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"};
  return numbered_classes(classes);
}

ImageSourcePtr read_split(const std::string& directory, const std::string& prefix, int64_t max_pixels) {
  const std::string images = find_file(directory, prefix + "-images", "idx3"),
                    labels = find_file(directory, prefix + "-labels", "idx1");
  TACIT_CHECK(!images.empty(), "[idx] ", directory, " has no file ", prefix, "-images-idx3-ubyte[.gz]");
  TACIT_CHECK(!labels.empty(), "[idx] ", directory, " has no file ", prefix, "-labels-idx1-ubyte[.gz]");
  ImagesInMemory data = read_images(images, max_pixels);
  const std::vector<uint8_t> read = read_labels(labels);
  TACIT_CHECK(read.size() == data.labels.size(), "[idx] ", labels, " has ", read.size(), " labels, but ", images,
              " has ", data.labels.size(), " images");
  std::copy(read.begin(), read.end(), data.labels.begin());
  const int64_t largest = read.empty() ? 0 : *std::max_element(read.begin(), read.end());
  data.class_names = class_names(directory, std::max<int64_t>(10, largest + 1));
  return in_memory(std::move(data));
}

}  // namespace

bool looks_like_idx(const std::string& directory) {
  return !find_file(directory, "train-images", "idx3").empty() || !find_file(directory, "t10k-images", "idx3").empty();
}

Splits open_idx(const std::string& directory, int64_t max_pixels) {
  TACIT_CHECK(fs::is_directory(directory), "[idx] ", directory,
              fs::exists(directory) ? " is not a directory" : " does not exist",
              "; expected a directory with train-images-idx3-ubyte[.gz] and the like");
  Splits splits;
  splits.train = [=] { return read_split(directory, "train", max_pixels); };
  splits.test = [=] { return read_split(directory, "t10k", max_pixels); };
  return splits;
}

}  // namespace tacit::ssl
