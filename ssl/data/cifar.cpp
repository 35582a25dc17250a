// CIFAR-10 and CIFAR-100, binary version (cs.toronto.edu/~kriz/cifar.html): records of one (or a coarse and a fine)
// label byte and 3072 bytes of pixels, planes red, green, blue. From a directory or straight from the .tar.gz.
#include <archive.h>
#include <archive_entry.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "ssl/data/kinds.h"

namespace tacit::ssl {

namespace {

namespace fs = std::filesystem;

constexpr int64_t kSide = 32, kPlane = kSide * kSide, kPixels = 3 * kPlane;
/// The largest real file has 153 MB; anything above is not CIFAR.
constexpr size_t kLargestFile = size_t{1} << 30;

struct Layout {
  const char *directory, *archive, *names;
  std::vector<std::string> train, test;
  int64_t label_bytes;
};

Layout layout(int classes) {
  if (classes == 10)
    return {"cifar-10-batches-bin",
            "cifar-10-binary.tar.gz",
            "batches.meta.txt",
            {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
            {"test_batch.bin"},
            1};
  return {"cifar-100-binary", "cifar-100-binary.tar.gz", "fine_label_names.txt", {"train.bin"}, {"test.bin"}, 2};
}

/// Calls f(base name, archive) for every regular file of a tar archive (compressed or not) until it returns false.
template <class F>
void for_each_entry(const std::string& path, F&& f) {
  const std::unique_ptr<archive, int (*)(archive*)> a(archive_read_new(), archive_read_free);
  archive_read_support_filter_all(a.get());
  archive_read_support_format_tar(a.get());
  TACIT_CHECK(archive_read_open_filename(a.get(), path.c_str(), 1 << 16) == ARCHIVE_OK, "[cifar] cannot read ", path,
              ": ", archive_error_string(a.get()));
  archive_entry* entry = nullptr;
  int status = ARCHIVE_OK;
  while ((status = archive_read_next_header(a.get(), &entry)) == ARCHIVE_OK) {
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr || archive_entry_filetype(entry) != AE_IFREG) continue;
    if (!f(fs::path(name).filename().string(), a.get())) return;
  }
  TACIT_CHECK(status == ARCHIVE_EOF, "[cifar] ", path, " is truncated or corrupt: ", archive_error_string(a.get()));
}

std::string read_entry(archive* a, const std::string& path) {
  std::string bytes;
  char buffer[1 << 16];
  la_ssize_t got = 0;
  while ((got = archive_read_data(a, buffer, sizeof buffer)) > 0) {
    bytes.append(buffer, static_cast<size_t>(got));
    TACIT_CHECK(bytes.size() <= kLargestFile, "[cifar] ", path, " holds a file that is too large for CIFAR");
  }
  TACIT_CHECK(got == 0, "[cifar] ", path, " is truncated or corrupt: ", archive_error_string(a));
  return bytes;
}

std::map<std::string, std::string> read_archive(const std::string& path, const std::set<std::string>& wanted) {
  std::map<std::string, std::string> files;
  for_each_entry(path, [&](const std::string& name, archive* a) {
    if (wanted.count(name) > 0) files[name] = read_entry(a, path);
    return files.size() < wanted.size();
  });
  return files;
}

std::map<std::string, std::string> read_directory(const std::string& path, const std::set<std::string>& wanted) {
  std::map<std::string, std::string> files;
  for (const std::string& name : wanted) {
    const fs::path file = fs::path(path) / name;
    if (!fs::exists(file)) continue;
    TACIT_CHECK(fs::is_regular_file(file), "[cifar] ", file.string(), " is not a file");
    TACIT_CHECK(fs::file_size(file) <= kLargestFile, "[cifar] ", file.string(), " is too large for CIFAR");
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    TACIT_CHECK(in.good(), "[cifar] cannot read ", file.string());
    files[name] = text.str();
  }
  return files;
}

std::vector<std::string> class_names(const std::string& text, int classes) {
  std::istringstream in(text);
  std::vector<std::string> names;
  for (std::string name; in >> name;) names.push_back(name);
  return names.size() == static_cast<size_t>(classes) ? names : numbered_classes(classes);
}

void append_records(const std::string& bytes, const std::string& where, int classes, int64_t label_bytes,
                    ImagesInMemory& data) {
  const int64_t record = label_bytes + kPixels, n = static_cast<int64_t>(bytes.size()) / record;
  TACIT_CHECK(n > 0 && n * record == static_cast<int64_t>(bytes.size()), "[cifar] ", where, " has ", bytes.size(),
              " bytes, not a multiple of ", record, ": it is truncated or no CIFAR-", classes, " file");
  size_t to = data.pixels.size();
  data.pixels.resize(to + static_cast<size_t>(n * kPixels));
  for (int64_t i = 0; i < n; ++i) {
    const auto* from = reinterpret_cast<const uint8_t*>(bytes.data()) + i * record;
    const int64_t label = from[label_bytes - 1];  // CIFAR-100: the coarse label, then the fine one
    TACIT_CHECK(label < classes, "[cifar] ", where, ": image ", i, " has label ", label, ", CIFAR-", classes,
                " ends at ", classes - 1);
    data.labels.push_back(label);
    from += label_bytes;
    for (int64_t p = 0; p < kPlane; ++p)
      for (int64_t c = 0; c < 3; ++c) data.pixels[to++] = from[c * kPlane + p];
  }
}

/// Where the files really are: `path` itself, the directory or the archive below it.
std::string locate(const std::string& path, const Layout& files) {
  TACIT_CHECK(fs::exists(path), "[cifar] ", path, " does not exist");
  if (!fs::is_directory(path)) return path;
  if (fs::exists(fs::path(path) / files.train[0]) || fs::exists(fs::path(path) / files.test[0])) return path;
  for (const char* below : {files.directory, files.archive})
    if (fs::exists(fs::path(path) / below)) return (fs::path(path) / below).string();
  detail::fail("[cifar] ", path, " has neither ", files.train[0], " nor ", files.archive);
}

ImageSourcePtr read_split(const std::string& path, int classes, bool train) {
  const Layout all = layout(classes);
  const std::vector<std::string>& names = train ? all.train : all.test;
  std::set<std::string> wanted(names.begin(), names.end());
  wanted.insert(all.names);
  const std::string place = locate(path, all);
  const auto files = fs::is_directory(place) ? read_directory(place, wanted) : read_archive(place, wanted);
  ImagesInMemory data;
  data.height = data.width = kSide;
  data.channels = 3;
  for (const std::string& name : names) {
    const auto found = files.find(name);
    TACIT_CHECK(found != files.end(), "[cifar] ", place, " has no ", name, "; CIFAR-", classes, " needs it");
    append_records(found->second, place + "/" + name, classes, all.label_bytes, data);
  }
  const auto text = files.find(all.names);
  data.class_names = class_names(text == files.end() ? "" : text->second, classes);
  return in_memory(std::move(data));
}

}  // namespace

int looks_like_cifar(const std::string& path) {
  if (fs::is_directory(path)) {
    for (const int classes : {10, 100}) {
      const Layout files = layout(classes);
      for (const char* name : {files.train[0].c_str(), files.test[0].c_str(), files.directory, files.archive})
        if (fs::exists(fs::path(path) / name)) return classes;
    }
    return 0;
  }
  int found = 0;
  try {
    for_each_entry(path, [&](const std::string& name, archive*) {
      for (const int classes : {10, 100})
        if (name == layout(classes).train[0] || name == layout(classes).test[0]) found = classes;
      return found == 0;
    });
  } catch (const Error&) {
    return found;  // not an archive
  }
  return found;
}

Splits open_cifar(const std::string& path, int classes) {
  locate(path, layout(classes));
  Splits splits;
  splits.train = [=] { return read_split(path, classes, true); };
  splits.test = [=] { return read_split(path, classes, false); };
  return splits;
}

}  // namespace tacit::ssl
