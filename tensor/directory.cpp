#include "tensor/directory.h"

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "tensor/error.h"

namespace tacit {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const std::string& path, const std::string& reason) {
  throw Error("cannot make the directory " + path + ": " + reason);
}

}  // namespace

void make_directories(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail(path, error.message());
  if (!fs::is_directory(path)) fail(path, "a file is in its place");
}

void check_directory(const std::string& path) {
  std::error_code ignored;  // what cannot be looked at is not there
  fs::path nearest = fs::absolute(path);
  while (!fs::exists(fs::symlink_status(nearest, ignored)) && nearest.has_relative_path())
    nearest = nearest.parent_path();
  if (!fs::is_directory(nearest, ignored)) fail(path, nearest.string() + " is a file");
  // Tried, since rights alone do not tell (read-only file systems, /proc). Under a name that no other process has, so
  // that none sees a directory that it needs go away.
  std::string probe = (nearest / ".tacit-probe-XXXXXX").string();
  if (::mkdtemp(probe.data()) == nullptr) {
    if (nearest == fs::absolute(path)) throw Error("cannot write into " + path + ": " + std::strerror(errno));
    fail(path, std::strerror(errno));
  }
  ::rmdir(probe.c_str());
}

const std::string& with_directory(const std::string& file) {
  const std::string directory = fs::path(file).parent_path().string();
  if (!directory.empty()) make_directories(directory);
  return file;
}

}  // namespace tacit
