// What every fuzz target does: give the bytes to a reader as a file; a tacit::Error is a right answer, a crash is not.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>

#include "tensor/error.h"

namespace tacit::fuzz {

/// Writes the bytes to a file in memory (/dev/shm) named after this process, and calls read(path).
template <class F>
int read_as_file(const uint8_t* data, size_t size, const std::string& name, F&& read) {
  const std::string path = "/dev/shm/tacit-fuzz-" + std::to_string(getpid()) + "-" + name;
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    read(path);
  } catch (const Error&) {
  }
  return 0;
}

}  // namespace tacit::fuzz
