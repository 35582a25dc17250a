#include "tensor/safetensors.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "tensor/foreign_file.h"
#include "tensor/join.h"

namespace tacit {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

namespace {

constexpr uint64_t kMaxHeader = 100'000'000;

struct FileDType {
  const char* name;
  int64_t bits;
  std::optional<DType> dtype;  // none: tacit does not have it
};

// In the format's own order, which is also that of the tensors in a file, from the last to the first.
constexpr FileDType kDTypes[] = {
    {"BOOL", 8, {}},  {"F4", 4, {}},      {"F6_E2M3", 6, {}}, {"F6_E3M2", 6, {}}, {"U8", 8, u8},
    {"I8", 8, {}},    {"F8_E5M2", 8, {}}, {"F8_E4M3", 8, {}}, {"F8_E8M0", 8, {}}, {"I16", 16, {}},
    {"U16", 16, {}},  {"F16", 16, {}},    {"BF16", 16, bf16}, {"I32", 32, i32},   {"U32", 32, {}},
    {"F32", 32, f32}, {"C64", 64, {}},    {"F64", 64, f64},   {"I64", 64, i64},   {"U64", 64, {}},
};

const FileDType* file_dtype(DType dtype) {
  return std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const FileDType& t) { return t.dtype == dtype; });
}

/// IEEE binary16, of 1 sign, 5 exponent and 10 mantissa bits, as an f32, which has each of its values.
float from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
  float size = 0;
  if (exponent == 31)
    size = mantissa ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  else
    size = std::ldexp(static_cast<float>(exponent ? mantissa + 1024 : mantissa), std::max(exponent, 1) - 25);
  return bits & 0x8000 ? -size : size;
}

bool is_half(const FileDType& dtype) { return std::strcmp(dtype.name, "F16") == 0; }

Tensor tensor_of_halves(const std::string& bytes, const Shape& shape) {
  std::vector<float> values(bytes.size() / 2);
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half = 0;
    std::memcpy(&half, bytes.data() + 2 * i, 2);
    values[i] = from_half(half);
  }
  return Tensor::from(values, shape);
}

struct Entry {
  std::string name;
  const FileDType* dtype = nullptr;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes from the start of the data
};

struct Header {
  std::vector<Entry> entries;  // in the order of the data
  std::map<std::string, std::string> metadata;
};

/// The CRC-32 of bytes that come piece by piece.
class Checksum {
 public:
  void add(const std::string& bytes) {
    crc_ = crc32_z(crc_, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  }
  std::string text() const { return std::to_string(crc_); }

 private:
  uLong crc_ = crc32_z(0, nullptr, 0);
};

// Text from a file as it may stand in a one-line message.
std::string shown(const std::string& text) {
  constexpr size_t kLongest = 120;
  const std::string escaped = nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return escaped.size() <= kLongest ? escaped : escaped.substr(0, kLongest) + "…\"";
}

/// An open file with its name, for reading and for complaining.
class File {
 public:
  explicit File(const std::string& path) : path_(path) {
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    check(std::filesystem::exists(status), "there is no such file");
    check(std::filesystem::is_regular_file(status), "it is not a file");
    size_ = std::filesystem::file_size(path, error);
    check(!error, "its size is unknown: ", error.message());
    stream_.open(path, std::ios::binary);
    check(stream_.is_open(), "it cannot be opened");
  }

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }

  void skip(uint64_t count) { stream_.seekg(static_cast<std::streamoff>(count), std::ios::cur); }

  void read(void* bytes, uint64_t count) {
    stream_.read(static_cast<char*>(bytes), static_cast<std::streamsize>(count));
    check(static_cast<uint64_t>(stream_.gcount()) == count, "it cannot be read to its end");
  }

  template <class... Parts>
  void check(bool condition, const Parts&... parts) const {
    if (!condition) fail(parts...);
  }

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    detail::fail("[safetensors] ", path_, ": ", parts...);
  }

 private:
  std::string path_;
  std::ifstream stream_;
  uint64_t size_ = 0;
};

// JSON allows a key twice, and the parser keeps one of them silently; the format forbids it. Nothing in a header is
// nested deeper than a list in an object in an object.
nlohmann::json parse_json(const File& file, const std::string& text) {
  using nlohmann::json;
  std::vector<std::set<std::string>> keys;
  const auto look = [&](int depth, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::object_start || event == json::parse_event_t::array_start)
      file.check(depth <= 2, "the header is nested too deep");
    if (event == json::parse_event_t::key)
      file.check(keys.back().insert(value.get<std::string>()).second, "the header names ",
                 shown(value.get<std::string>()), " twice");
    return true;
  };
  try {
    return json::parse(text, look);
  } catch (const json::exception& e) {
    file.fail("its header is not valid JSON: ", shown(e.what()));
  }
}

// The size in bytes of a tensor; throws when it has none that a computer could hold.
uint64_t byte_size(const File& file, const std::string& tensor, const FileDType& dtype,
                   const std::vector<int64_t>& shape) {
  constexpr int64_t kMost = int64_t{1} << 62;
  int64_t bits = dtype.bits, bound = dtype.bits;  // bound: zeros count as 1, for the strides must not overflow either
  for (const int64_t size : shape) {
    const bool overflows = __builtin_mul_overflow(bound, std::max<int64_t>(size, 1), &bound) || bound >= kMost;
    file.check(!overflows, tensor, "its shape is too large");
    bits *= size;
  }
  file.check(bits % 8 == 0, tensor, "its elements do not fill whole bytes");
  return static_cast<uint64_t>(bits) / 8;
}

Entry parse_entry(const File& file, const std::string& name, const nlohmann::json& json, uint64_t data_size) {
  const std::string tensor = "tensor " + shown(name) + ": ";
  file.check(json.is_object() && json.contains("dtype") && json.contains("shape") && json.contains("data_offsets"),
             tensor, "it is not an object with dtype, shape and data_offsets");
  Entry entry;
  entry.name = name;

  const auto& dtype = json["dtype"];
  file.check(dtype.is_string(), tensor, "its dtype is not a string");
  for (const FileDType& known : kDTypes)
    if (dtype == known.name) entry.dtype = &known;
  file.check(entry.dtype != nullptr, tensor, "unknown dtype ", shown(dtype.get<std::string>()));

  file.check(json["shape"].is_array(), tensor, "its shape is not a list");
  for (const auto& size : json["shape"]) {
    file.check(size.is_number_unsigned() && size.get<uint64_t>() < uint64_t{1} << 62, tensor,
               "a size in its shape is not a number of elements: ", shown(size.dump()));
    entry.shape.push_back(size.get<int64_t>());
  }

  const auto& offsets = json["data_offsets"];
  file.check(
      offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() && offsets[1].is_number_unsigned(),
      tensor, "its data_offsets are not two byte positions");
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  file.check(entry.begin <= entry.end && entry.end <= data_size, tensor, "its bytes ", entry.begin, " … ", entry.end,
             " are out of range: there are ", data_size, " bytes of data (is the file truncated?)");
  const uint64_t expected = byte_size(file, tensor, *entry.dtype, entry.shape);
  file.check(entry.end - entry.begin == expected, tensor, "its dtype and shape make ", expected,
             " bytes, its data_offsets ", entry.end - entry.begin);
  return entry;
}

void check_cover(const File& file, const std::vector<Entry>& entries, uint64_t data_size) {
  uint64_t covered = 0;
  for (const Entry& entry : entries) {
    file.check(entry.begin >= covered, "tensor ", shown(entry.name), ": its bytes overlap those of another tensor");
    file.check(entry.begin <= covered, "bytes ", covered, " … ", entry.begin, " of the data belong to no tensor");
    covered = entry.end;
  }
  file.check(covered == data_size, "bytes ", covered, " … ", data_size, " of the data belong to no tensor");
}

/// Reads and checks everything before the data, and leaves the file there.
Header read_header(File& file) {
  const std::string foreign = foreign_file(file.path());
  file.check(foreign.empty(), foreign);
  file.check(file.size() >= 8, "it is truncated: ", file.size(), " bytes cannot hold a header");
  uint64_t length = 0;
  file.read(&length, sizeof length);
  file.check(length <= kMaxHeader, "its header of ", length, " bytes is longer than the ", kMaxHeader,
             " allowed; is it a safetensors file?");
  file.check(length <= file.size() - 8, "it is truncated: the header has ", length, " bytes, the file only ",
             file.size() - 8, " after its length");
  std::string text(length, '\0');
  file.read(text.data(), length);
  file.check(!text.empty() && text[0] == '{', "its header does not begin with '{'");

  const nlohmann::json json = parse_json(file, text);
  const uint64_t data_size = file.size() - 8 - length;
  Header header;
  for (const auto& [name, value] : json.items()) {
    if (name != "__metadata__") {
      header.entries.push_back(parse_entry(file, name, value, data_size));
      continue;
    }
    file.check(value.is_object(), "__metadata__ is not an object");
    for (const auto& [key, text_value] : value.items()) {
      file.check(text_value.is_string(), "__metadata__: ", shown(key), " is not a string");
      header.metadata[key] = text_value.get<std::string>();
    }
  }
  std::sort(header.entries.begin(), header.entries.end(),
            [](const Entry& a, const Entry& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  check_cover(file, header.entries, data_size);
  return header;
}

}  // namespace

SafeTensors read_safetensors(const std::string& path, const std::function<bool(const std::string&)>& wanted) {
  File file(path);
  Header header = read_header(file);
  SafeTensors out{.tensors = {}, .metadata = std::move(header.metadata)};
  const Device cpu("cpu");
  const auto expected = out.metadata.find(kDataChecksum);
  Checksum checksum;
  std::string bytes;
  for (const Entry& entry : header.entries) {
    const bool left_out = wanted && !wanted(entry.name);
    if (left_out && expected == out.metadata.end()) {
      file.skip(entry.end - entry.begin);
      continue;
    }
    bytes.resize(entry.end - entry.begin);
    file.read(bytes.data(), bytes.size());
    if (expected != out.metadata.end()) checksum.add(bytes);
    if (left_out) continue;
    const std::string tensor = "tensor " + shown(entry.name) + ": ";
    const bool half = is_half(*entry.dtype);
    file.check(half || entry.dtype->dtype.has_value(), tensor, "tacit has no dtype ", entry.dtype->name,
               "; convert it to F32 before");
    file.check(entry.shape.size() <= static_cast<size_t>(kMaxRank), tensor, "it has ", entry.shape.size(),
               " dimensions, tacit at most ", kMaxRank);
    if (half) {
      out.tensors.emplace(entry.name, tensor_of_halves(bytes, Shape(entry.shape)));
      continue;
    }
    const Tensor t = Tensor::empty(Shape(entry.shape), *entry.dtype->dtype, cpu);
    if (!bytes.empty()) t.backend().upload(t.view().data, bytes.data(), bytes.size());
    out.tensors.emplace(entry.name, t);
  }
  file.check(expected == out.metadata.end() || expected->second == checksum.text(),
             "its data is damaged: the checksum is ", checksum.text(), ", not the ",
             expected == out.metadata.end() ? "" : shown(expected->second), " of its header; use another copy");
  return out;
}

std::map<std::string, SafeTensorsEntry> safetensors_entries(const std::string& path,
                                                            std::map<std::string, std::string>* metadata) {
  File file(path);
  const Header header = read_header(file);
  std::map<std::string, SafeTensorsEntry> out;
  for (const Entry& entry : header.entries) out[entry.name] = {entry.dtype->name, entry.shape};
  if (metadata) *metadata = header.metadata;
  return out;
}

std::map<std::string, std::string> list_safetensors(const std::string& path,
                                                    std::map<std::string, std::string>* metadata) {
  std::map<std::string, std::string> out;
  for (const auto& [name, entry] : safetensors_entries(path, metadata))
    out[name] = entry.dtype + " (" + join(entry.shape, [](int64_t size) { return std::to_string(size); }) +
                (entry.shape.size() == 1 ? ",)" : ")");
  return out;
}

void write_safetensors(const std::string& path, const SafeTensors& content) {
  using Item = std::pair<std::string, Tensor>;
  std::vector<Item> items(content.tensors.begin(), content.tensors.end());
  // Falling by dtype, and so by alignment: every tensor begins at a multiple of its element size. Names are sorted.
  std::stable_sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return file_dtype(a.second.dtype()) > file_dtype(b.second.dtype());
  });

  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!content.metadata.empty()) json["__metadata__"] = content.metadata;
  uint64_t at = 0;
  for (const Item& item : items) {
    const std::string& name = item.first;
    const Tensor& tensor = item.second;
    TACIT_CHECK(name != "__metadata__", "[safetensors] ", path, ": no tensor may be called __metadata__");
    TACIT_CHECK(tensor.defined(), "[safetensors] ", path, ": tensor ", shown(name), " is undefined");
    const uint64_t end = at + static_cast<uint64_t>(tensor.numel()) * size_of(tensor.dtype());
    auto& entry = json[name];
    entry["dtype"] = file_dtype(tensor.dtype())->name;
    entry["shape"] = std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end());
    entry["data_offsets"] = {at, end};
    at = end;
  }
  if (content.metadata.count(kDataChecksum)) {
    Checksum checksum;
    for (const Item& item : items) checksum.add(bytes_of(item.second));
    json["__metadata__"][kDataChecksum] = checksum.text();
  }

  std::string header;
  try {
    header = json.dump();
  } catch (const nlohmann::json::exception&) {
    detail::fail("[safetensors] ", path, ": a name or a value of the metadata is not UTF-8");
  }
  header.resize((header.size() + 7) / 8 * 8, ' ');
  TACIT_CHECK(header.size() <= kMaxHeader, "[safetensors] ", path, ": the header would have ", header.size(),
              " bytes, more than the ", kMaxHeader, " allowed");
  const uint64_t length = header.size();

  AtomicFile file(path);
  file.write(&length, sizeof length);
  file.write(header);
  for (const Item& item : items) file.write(item.second);
  file.commit();
}

}  // namespace tacit
