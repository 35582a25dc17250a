#include "ssl/data/archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <sstream>

#include "ssl/data/sources.h"
#include "tensor/error.h"
#include "tensor/read_file.h"

namespace fs = std::filesystem;

namespace tacit::ssl {

namespace {

std::string reason(archive* a) { return archive_error_string(a) ? archive_error_string(a) : "damaged archive"; }

}  // namespace

std::string Member::read(int64_t most) const {
  std::string bytes;
  bytes.reserve(static_cast<size_t>(std::clamp<int64_t>(size, 0, most)));
  char buffer[1 << 16];
  for (;;) {
    const la_ssize_t got = archive_read_data(handle, buffer, sizeof buffer);
    TACIT_CHECK(got >= 0, "[data] cannot read ", name, " in ", path, ": ", reason(handle));
    if (got == 0) return bytes;
    bytes.append(buffer, static_cast<size_t>(got));
    TACIT_CHECK(static_cast<int64_t>(bytes.size()) <= most, "[data] ", path, ": ", name, " is larger than ", most,
                " bytes");
  }
}

bool is_archive_name(const std::string& path) {
  return path.ends_with(".tar.gz") || path.ends_with(".tgz") || path.ends_with(".tar");
}

void for_members(const std::string& path, const std::function<bool(const Member&)>& f) {
  const std::unique_ptr<archive, int (*)(archive*)> a(archive_read_new(), archive_read_free);
  archive_read_support_filter_gzip(a.get());
  archive_read_support_format_tar(a.get());
  const auto check = [&](int status) {
    TACIT_CHECK(status == ARCHIVE_OK || status == ARCHIVE_EOF || status == ARCHIVE_WARN, "[data] cannot read ", path,
                ": ", reason(a.get()));
    return status;
  };
  check(archive_read_open_filename(a.get(), path.c_str(), 1 << 16));
  archive_entry* entry = nullptr;
  while (check(archive_read_next_header(a.get(), &entry)) != ARCHIVE_EOF) {
    const char* const path_inside = archive_entry_pathname(entry);
    if (!path_inside) continue;  // a warning: not to be said in this locale, so none of ours
    if (!f({fs::path(path_inside).filename().string(), archive_entry_size(entry), a.get(), path})) return;
  }
}

Files read_members(const std::string& path, const std::set<std::string>& wanted, int64_t most) {
  Files files;
  for_members(path, [&](const Member& member) {
    if (wanted.count(member.name)) files[member.name] = member.read(most);
    return files.size() < wanted.size();
  });
  return files;
}

Files read_directory(const std::string& path, const std::set<std::string>& wanted) {
  Files files;
  for (const std::string& name : wanted)
    if (fs::is_regular_file(path + "/" + name)) files[name] = read_file(path + "/" + name);
  return files;
}

std::vector<std::string> lines_of(const Files& files, const std::string& name) {
  std::vector<std::string> lines;
  const auto found = files.find(name);
  if (found == files.end()) return lines;
  std::istringstream text(found->second);
  for (std::string line; std::getline(text, line);)
    if (!line.empty()) lines.push_back(line);
  return lines;
}

std::string kind_of_archive(const std::string& path) {
  std::string kind;
  for_members(path, [&](const Member& member) {
    const std::string& name = member.name;
    if (name == "data_batch_1.bin") kind = "cifar10";
    if (name == "train.bin") kind = "cifar100";
    if (name == "train_X.bin" || name == "test_X.bin" || name == "unlabeled_X.bin") kind = "stl10";
    if (is_image_file(name)) kind = "tar";
    return kind.empty();
  });
  return kind;
}

}  // namespace tacit::ssl
