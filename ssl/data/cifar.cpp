// CIFAR-10 and CIFAR-100, binary version (Krizhevsky 2009): records of label bytes and 3072 bytes, one plane a colour.
#include <filesystem>

#include "ssl/data/archive.h"
#include "ssl/data/sources.h"
#include "tensor/error.h"

namespace fs = std::filesystem;

namespace tacit::ssl {

namespace {

constexpr int64_t kCifarSide = 32, kCifarPlane = kCifarSide * kCifarSide, kCifarPixels = 3 * kCifarPlane;
constexpr int64_t kMostCifarBytes = int64_t{1} << 30;

std::string cifar_directory(const std::string& path) {
  for (const char* inner : {"/cifar-10-batches-bin", "/cifar-100-binary"})
    if (fs::is_directory(path + inner)) return path + inner;
  return path;
}

std::string names_file(int64_t classes) { return classes == 10 ? "batches.meta.txt" : "fine_label_names.txt"; }

std::vector<std::string> class_names(const Files& files, int64_t classes) {
  std::vector<std::string> names = lines_of(files, names_file(classes));
  if (static_cast<int64_t>(names.size()) == classes) return names;
  names.clear();
  for (int64_t i = 0; i < classes; ++i) names.push_back(std::to_string(i));
  return names;
}

}  // namespace

int64_t cifar_classes(const std::string& path) {
  const std::string directory = cifar_directory(path);
  if (fs::exists(directory + "/data_batch_1.bin")) return 10;
  return fs::exists(directory + "/train.bin") && fs::exists(directory + "/test.bin") ? 100 : 0;
}

Opened open_cifar(const std::string& path, Split split, int64_t classes) {
  TACIT_CHECK(fs::exists(path), "[cifar] ", path, " does not exist");
  TACIT_CHECK(split != Split::Unlabeled, "[cifar] ", path, " has no unlabeled split; there are train and test");
  std::vector<std::string> parts;
  if (split != Split::Test) {
    if (classes == 10)
      for (int i = 1; i <= 5; ++i) parts.push_back("data_batch_" + std::to_string(i) + ".bin");
    else
      parts.emplace_back("train.bin");
  }
  if (split != Split::Train) parts.emplace_back(classes == 10 ? "test_batch.bin" : "test.bin");
  std::set<std::string> wanted(parts.begin(), parts.end());
  wanted.insert(names_file(classes));
  const Files files = fs::is_directory(path) ? read_directory(cifar_directory(path), wanted)
                                             : read_members(path, wanted, kMostCifarBytes);

  // CIFAR-100 has a coarse label before the fine one.
  const int64_t label_bytes = classes == 10 ? 1 : 2, record = label_bytes + kCifarPixels;
  std::vector<uint8_t> pixels;
  std::vector<int64_t> labels;
  for (const std::string& part : parts) {
    const auto found = files.find(part);
    TACIT_CHECK(found != files.end(), "[cifar] ", path, " has no ", part);
    const std::string& bytes = found->second;
    const auto size = static_cast<int64_t>(bytes.size());
    TACIT_CHECK(size > 0 && size % record == 0, "[cifar] ", path, ": ", part, " has ", size,
                " bytes, not a multiple of ", record, "; it is truncated or not the binary version");
    for (int64_t at = 0; at < size; at += record) {
      const auto* const p = reinterpret_cast<const uint8_t*>(bytes.data()) + at;
      const int64_t label = p[label_bytes - 1];
      TACIT_CHECK(label < classes, "[cifar] ", path, ": ", part, " has label ", label, " in record ", at / record,
                  "; there are ", classes, " classes");
      labels.push_back(label);
      for (int64_t i = 0; i < kCifarPlane; ++i)
        for (int64_t c = 0; c < 3; ++c) pixels.push_back(p[label_bytes + c * kCifarPlane + i]);
    }
  }
  return {memory_source(std::move(pixels), std::move(labels), kCifarSide, kCifarSide, 3, class_names(files, classes))};
}

}  // namespace tacit::ssl
