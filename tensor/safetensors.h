// Reading and writing named tensors in the safetensors format (github.com/huggingface/safetensors), strictly: a file
// with overlapping, missing or out-of-range bytes, a duplicate name or a malformed header is refused with the reason.
#pragma once

#include <map>
#include <string>

#include "tensor/tensor.h"

namespace tacit {

struct SafeTensors {
  std::map<std::string, Tensor> tensors;        ///< on the CPU ("cpu" device)
  std::map<std::string, std::string> metadata;  ///< "__metadata__"
};

/// Reads a whole file. Throws Error naming the file and the fault. Dtypes without a tacit counterpart are errors.
SafeTensors read_safetensors(const std::string& path);
/// Names, dtypes and shapes only ("F32 (64, 3, 3, 3)"), without reading the data.
std::map<std::string, std::string> list_safetensors(const std::string& path, std::map<std::string, std::string>* metadata);
/// Writes path atomically: a temporary file beside it, fsync, rename, fsync of the directory. On any failure (no space,
/// a directory in the way) throws Error and leaves what was there before untouched.
void write_safetensors(const std::string& path, const SafeTensors&);

/// The same atomic replacement for any bytes; used for every file that must never be half-written.
void write_file_atomically(const std::string& path, const std::string& bytes);

}  // namespace tacit
