// Reading and writing named tensors in the safetensors format (github.com/huggingface/safetensors), strictly: a file
// with overlapping, missing or out-of-range bytes, a duplicate name or a malformed header is refused with the reason;
// a PyTorch file with the command that converts it.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "tensor/atomic_file.h"  // every file that must never be half-written is made that way
#include "tensor/tensor.h"

namespace tacit {

struct SafeTensors {
  std::map<std::string, Tensor> tensors;        ///< read: on the device "cpu"
  std::map<std::string, std::string> metadata;  ///< "__metadata__"
};

/// Metadata under this key is the checksum of all bytes behind the header: CRC-32 (zlib's) in decimal. The writer fills
/// it in wherever the key is there; a reader refuses a file whose bytes do not agree with it. Files without it are
/// taken as they are.
inline constexpr const char* kDataChecksum = "data_crc32";

/// Reads a whole file, or those tensors whose names are `wanted`; the others' bytes are passed over. F16 becomes f32,
/// which has each of its values. Throws Error naming the file, the tensor and the fault. Other dtypes without a tacit
/// counterpart and tensors of more than kMaxRank dimensions are errors.
SafeTensors read_safetensors(const std::string& path, const std::function<bool(const std::string& name)>& wanted = {});

/// A tensor as a file's header has it: of any dtype, under the format's name for it ("F32"), and any rank.
struct SafeTensorsEntry {
  std::string dtype;
  std::vector<int64_t> shape;
};
/// What a file holds, without reading the data. `metadata` may be null.
std::map<std::string, SafeTensorsEntry> safetensors_entries(const std::string& path,
                                                            std::map<std::string, std::string>* metadata);
/// The same for people: "F32 (64, 3, 3, 3)".
std::map<std::string, std::string> list_safetensors(const std::string& path,
                                                    std::map<std::string, std::string>* metadata);

/// Replaces `path` atomically (see atomic_file.h). The bytes are those that the format's own writer makes, except that
/// metadata is sorted. On any failure throws Error and leaves what was there before untouched.
void write_safetensors(const std::string& path, const SafeTensors&);

}  // namespace tacit
