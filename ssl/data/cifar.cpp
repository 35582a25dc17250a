// CIFAR-10 and CIFAR-100, binary version (Krizhevsky 2009): records of label bytes and 3072 bytes, one plane a colour.
#include <archive.h>
#include <archive_entry.h>

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <sstream>

#include "ssl/data/sources.h"
#include "tensor/error.h"
#include "tensor/read_file.h"

namespace fs = std::filesystem;

namespace tacit::ssl {

namespace {

constexpr int64_t kSide = 32, kPlane = kSide * kSide, kPixels = 3 * kPlane;
using Files = std::map<std::string, std::string>;  // file name without directories -> bytes

/// Calls f(name without directories, archive) for each file of an archive until it returns false.
template <class F>
void for_members(const std::string& path, F&& f) {
  const std::unique_ptr<archive, int (*)(archive*)> a(archive_read_new(), archive_read_free);
  archive_read_support_filter_gzip(a.get());
  archive_read_support_format_tar(a.get());
  const auto check = [&](int status) {
    TACIT_CHECK(status == ARCHIVE_OK || status == ARCHIVE_EOF || status == ARCHIVE_WARN, "[cifar] cannot read ", path,
                ": ", archive_error_string(a.get()) ? archive_error_string(a.get()) : "damaged archive");
    return status;
  };
  check(archive_read_open_filename(a.get(), path.c_str(), 1 << 16));
  archive_entry* entry = nullptr;
  while (check(archive_read_next_header(a.get(), &entry)) != ARCHIVE_EOF) {
    const char* const path_inside = archive_entry_pathname(entry);
    if (!path_inside) continue;  // a warning: not to be said in this locale, so none of ours
    if (!f(fs::path(path_inside).filename().string(), a.get())) return;
  }
}

std::string read_member(const std::string& path, const std::string& name, archive* a) {
  std::string bytes;
  char buffer[1 << 16];
  for (;;) {
    const la_ssize_t got = archive_read_data(a, buffer, sizeof buffer);
    TACIT_CHECK(got >= 0, "[cifar] cannot read ", path, ": ",
                archive_error_string(a) ? archive_error_string(a) : "damaged archive");
    if (got == 0) return bytes;
    bytes.append(buffer, static_cast<size_t>(got));
    TACIT_CHECK(bytes.size() < (size_t{1} << 30), "[cifar] ", path, ": ", name, " is larger than 1 GB");
  }
}

Files read_archive(const std::string& path, const std::set<std::string>& wanted) {
  Files files;
  for_members(path, [&](const std::string& name, archive* a) {
    if (wanted.count(name)) files[name] = read_member(path, name, a);
    return files.size() < wanted.size();
  });
  return files;
}

std::string directory_of(const std::string& path) {
  for (const char* inner : {"/cifar-10-batches-bin", "/cifar-100-binary"})
    if (fs::is_directory(path + inner)) return path + inner;
  return path;
}

Files read_directory(const std::string& path, const std::set<std::string>& wanted) {
  Files files;
  for (const std::string& name : wanted) {
    const std::string file = directory_of(path) + "/" + name;
    if (fs::is_regular_file(file)) files[name] = read_file(file);
  }
  return files;
}

std::string names_file(int64_t classes) { return classes == 10 ? "batches.meta.txt" : "fine_label_names.txt"; }

std::vector<std::string> class_names(const Files& files, int64_t classes) {
  const auto found = files.find(names_file(classes));
  std::vector<std::string> names;
  if (found != files.end()) {
    std::istringstream lines(found->second);
    for (std::string line; std::getline(lines, line);)
      if (!line.empty()) names.push_back(line);
  }
  if (static_cast<int64_t>(names.size()) == classes) return names;
  names.clear();
  for (int64_t i = 0; i < classes; ++i) names.push_back(std::to_string(i));
  return names;
}

}  // namespace

int64_t cifar_classes(const std::string& path) {
  if (fs::is_directory(path)) {
    const std::string directory = directory_of(path);
    if (fs::exists(directory + "/data_batch_1.bin")) return 10;
    return fs::exists(directory + "/train.bin") && fs::exists(directory + "/test.bin") ? 100 : 0;
  }
  if (!path.ends_with(".tar.gz") && !path.ends_with(".tgz") && !path.ends_with(".tar")) return 0;
  int64_t classes = 0;
  for_members(path, [&](const std::string& name, archive*) {
    classes = name == "data_batch_1.bin" ? 10 : name == "train.bin" ? 100 : 0;
    return classes == 0;
  });
  return classes;
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
  const Files files = fs::is_directory(path) ? read_directory(path, wanted) : read_archive(path, wanted);

  // CIFAR-100 has a coarse label before the fine one.
  const int64_t label_bytes = classes == 10 ? 1 : 2, record = label_bytes + kPixels;
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
      for (int64_t i = 0; i < kPlane; ++i)
        for (int64_t c = 0; c < 3; ++c) pixels.push_back(p[label_bytes + c * kPlane + i]);
    }
  }
  return {memory_source(std::move(pixels), std::move(labels), kSide, kSide, 3, class_names(files, classes))};
}

}  // namespace tacit::ssl
