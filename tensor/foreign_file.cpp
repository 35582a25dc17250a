#include "tensor/foreign_file.h"

#include <filesystem>
#include <fstream>

namespace tacit {

namespace {

std::string first_bytes(const std::string& path, size_t most) {
  std::string bytes(most, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(bytes.data(), static_cast<std::streamsize>(most));
  bytes.resize(static_cast<size_t>(file.gcount()));
  return bytes;
}

/// One word for the shell, whatever the text.
std::string shell_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

/// weights_only: nothing of the file is run; argparse's Namespace is data that MAE's and others' files hold besides.
/// Dictionaries in dictionaries become names with dots.
std::string conversion(const std::string& path) {
  return "python3 -c 'import argparse, sys, torch, safetensors.torch as s; "
         "torch.serialization.add_safe_globals([argparse.Namespace]); "
         "f = lambda d, p=\"\": {k: t for n, v in d.items() for k, t in (f(v, p + str(n) + \".\") "
         "if isinstance(v, dict) else {p + str(n): v.contiguous().clone()} if torch.is_tensor(v) else {}).items()}; "
         "s.save_file(f(torch.load(sys.argv[1], map_location=\"cpu\", weights_only=True)), sys.argv[2])' " +
         shell_quoted(path) + " " + shell_quoted(std::filesystem::path(path).replace_extension("safetensors").string());
}

/// A zip archive begins with its first member's header, which has the name from byte 30 on and its length at 26.
bool is_zip_of_numpy(const std::string& start) {
  if (start.size() < 30) return false;
  const auto length = static_cast<size_t>(static_cast<unsigned char>(start[26]));
  const std::string name = start.substr(30, length);
  return name.size() > 4 && name.compare(name.size() - 4, 4, ".npy") == 0;
}

}  // namespace

std::string foreign_file(const std::string& path) {
  const std::string start = first_bytes(path, 512);
  if (start.size() > 8 && start[8] == '{') return "";
  if (start.rfind("version https://git-lfs", 0) == 0)
    return "it is a Git LFS pointer, not the file itself; `git lfs pull` in its directory gets that";
  const bool zip = start.rfind("PK\3\4", 0) == 0,
             pickle = start.size() > 1 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5;
  if (zip && is_zip_of_numpy(start)) return "it is a NumPy archive (.npz), not safetensors";
  if (zip || pickle) return "it is a PyTorch file, not safetensors; convert it: " + conversion(path);
  return "";
}

}  // namespace tacit
