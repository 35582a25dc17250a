// Data sets inside an archive as downloaded (.tar, .tar.gz), read through libarchive from front to back.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

struct archive;

namespace tacit::ssl {

/// One file of an archive, while for_members is at it.
struct Member {
  std::string name;  ///< without directories
  int64_t size = 0;  ///< as the archive says
  archive* handle = nullptr;
  const std::string& path;  ///< of the archive

  /// Its bytes. Throws Error for damage and for more than `most` bytes.
  std::string read(int64_t most) const;
};

bool is_archive_name(const std::string& path);
/// Calls f for each file of an archive until it returns false. Throws Error naming the archive.
void for_members(const std::string& path, const std::function<bool(const Member&)>& f);
/// Files by their names without directories; those that are not there are left out.
using Files = std::map<std::string, std::string>;
Files read_members(const std::string& path, const std::set<std::string>& wanted, int64_t most);
/// The same from a directory.
Files read_directory(const std::string& path, const std::set<std::string>& wanted);
/// The lines of one of them that are not empty; none where it is missing.
std::vector<std::string> lines_of(const Files&, const std::string& name);
/// What kind of data an archive holds by its first telling file: "cifar10", "cifar100", "stl10", "tar" (images) or "".
std::string kind_of_archive(const std::string& path);

}  // namespace tacit::ssl
