// Files of weights in other formats than the one asked for, told by their first bytes.
#pragma once

#include <string>

namespace tacit {

/// What a file is that should be safetensors, and the remedy: of PyTorch's .pth, .pt, .bin and .ckpt a line for the
/// shell that converts them, of a Git LFS pointer how to get the file itself. "" for safetensors, for formats that are
/// not known, and where the file cannot be read.
std::string foreign_file(const std::string& path);

}  // namespace tacit
