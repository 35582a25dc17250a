// safetensors files: round trips, and every kind of malformed file built byte by byte.
#include "tensor/safetensors.h"

#include <cmath>
#include <filesystem>
#include <limits>

#include "tensor/ops.h"
#include "tests/process.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::testing;
using tacit::testing::read_file;
using tacit::testing::TemporaryDirectory;
using tacit::testing::write_file;

namespace {

std::string length_of(uint64_t n) { return std::string(reinterpret_cast<const char*>(&n), sizeof n); }

std::string file_of(const std::string& header, const std::string& data = "") {
  return length_of(header.size()) + header + data;
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  std::ostringstream text;
  text << '"' << name << "\":{\"dtype\":\"" << dtype << "\",\"shape\":" << shape << ",\"data_offsets\":" << offsets
       << '}';
  return text.str();
}

std::string object(const std::vector<std::string>& members) {
  std::string text = "{";
  for (const std::string& member : members) text.append(text.size() > 1 ? "," : "").append(member);
  return text.append("}");
}

/// The message with which a file of these bytes is refused, by the reader and by the lister alike.
std::string refusal(const std::string& bytes) {
  const TemporaryDirectory folder;
  const std::string path = folder / "x.safetensors";
  write_file(path, bytes);
  const std::string message = error_of([&] { read_safetensors(path); });
  CHECK(message == error_of([&] { list_safetensors(path, nullptr); }));
  CHECK(mentions(message, "[safetensors] " + path + ": "));
  CHECK_FALSE(mentions(message, "\n"));
  return message.substr(message.find(path) + path.size() + 2);
}

}  // namespace

TEST_CASE("a round trip keeps names, dtypes, shapes, bits and metadata") {
  const TemporaryDirectory folder;
  const std::string path = folder / "x.safetensors";
  SafeTensors content;
  for (const DType t : {f32, f64, bf16, i64, i32, u8})
    content.tensors[std::string("of ") + name_of(t)] = tensor_of({0, 1, 2, 3, 4, 250}, {2, 3}, t);
  content.tensors["scalar"] = Tensor::scalar(1e300, f64);
  content.tensors["empty"] = Tensor::zeros({3, 0, 2});
  content.tensors["strided"] = tensor_of({1, 2, 3, 4}, {2, 2}).t();
  content.tensors["elsewhere"] = Tensor::ones({2}, f32, Device("reference"));
  content.tensors["nan"] = tensor_of({std::numeric_limits<double>::quiet_NaN(), -0.0}, {2});
  content.tensors["né \"quoted\" \\ \n"] = Tensor::ones({1});
  content.metadata = {{"format", "pt"}, {"step", "12"}, {"", "ünïcode"}};
  write_safetensors(path, content);

  const SafeTensors back = read_safetensors(path);
  CHECK(back.metadata == content.metadata);
  REQUIRE(back.tensors.size() == content.tensors.size());
  for (const auto& item : content.tensors) {
    CAPTURE(item.first);
    REQUIRE(back.tensors.count(item.first) == 1);
    const Tensor& t = back.tensors.at(item.first);
    CHECK(t.dtype() == item.second.dtype());
    CHECK(t.shape() == item.second.shape());
    CHECK(t.device().name() == "cpu");
    check_values(t, values_of(item.second), 0);
  }
  CHECK(std::signbit(values_of(back.tensors.at("nan"))[1]));

  std::map<std::string, std::string> metadata;
  const auto list = list_safetensors(path, &metadata);
  CHECK(metadata == content.metadata);
  CHECK(list.at("of bf16") == "BF16 (2, 3)");
  CHECK(list.at("scalar") == "F64 ()");
  CHECK(list.at("elsewhere") == "F32 (2,)");
  CHECK(list.at("empty") == "F32 (3, 0, 2)");
}

TEST_CASE("the bytes written: header padded to 8, tensors by falling alignment and name") {
  const TemporaryDirectory folder;
  const std::string path = folder / "x.safetensors";
  SafeTensors content;
  content.tensors["b"] = tensor_of({7}, {1}, u8);
  content.tensors["c"] = tensor_of({1}, {1});
  content.tensors["a"] = tensor_of({2}, {1});
  content.tensors["d"] = tensor_of({3}, {}, i64);
  content.metadata["k"] = "v";
  write_safetensors(path, content);
  std::string header =
      object({"\"__metadata__\":{\"k\":\"v\"}", entry("d", "I64", "[]", "[0,8]"), entry("a", "F32", "[1]", "[8,12]"),
              entry("c", "F32", "[1]", "[12,16]"), entry("b", "U8", "[1]", "[16,17]")});
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::string data("\3\0\0\0\0\0\0\0\0\0\0\x40\0\0\x80\x3f\7", 17);
  CHECK(read_file(path) == file_of(header, data));
  write_safetensors(path, SafeTensors{});
  CHECK(read_file(path) == file_of("{}      "));
  CHECK(read_safetensors(path).tensors.empty());
}

TEST_CASE("files that are legal though unusual are read") {
  const TemporaryDirectory folder;
  const std::string path = folder / "x.safetensors";
  // Any order, an empty tensor between others, no padding, spaces after the header, members that are not known.
  write_file(path, file_of(object({entry("z", "U8", "[2]", "[1,3]"), entry("e", "F32", "[0,7]", "[1,1]"),
                                   "\"a\":{\"data_offsets\":[0,1],\"new\":{},\"shape\":[],\"dtype\":\"U8\"}"}) +
                               "   ",
                           "abc"));
  const SafeTensors content = read_safetensors(path);
  check_values(content.tensors.at("z"), {'b', 'c'});
  check_values(content.tensors.at("a"), {'a'});
  CHECK(content.tensors.at("e").shape() == Shape{0, 7});
  write_file(path, file_of("{\"__metadata__\":{}}"));
  CHECK(read_safetensors(path).tensors.empty());
}

TEST_CASE("files that do not begin or end as they should are refused") {
  CHECK(mentions(refusal(""), "truncated: 0 bytes"));
  CHECK(mentions(refusal("1234567"), "truncated: 7 bytes"));
  CHECK(mentions(refusal(length_of(0)), "does not begin with '{'"));
  CHECK(mentions(refusal(length_of(3) + "{}"), "truncated: the header has 3 bytes, the file only 2"));
  CHECK(mentions(refusal(length_of(100'000'000) + "{}"), "truncated"));
  CHECK(mentions(refusal(length_of(100'000'001) + "{}"), "longer than the 100000000 allowed"));
  CHECK(mentions(refusal(length_of(~uint64_t{0}) + "{}"), "longer than"));
  CHECK(mentions(refusal(file_of(" {}")), "does not begin with '{'"));
  CHECK(mentions(refusal(file_of("[]")), "does not begin with '{'"));
  CHECK(mentions(refusal(file_of(object({entry("a", "F32", "[2]", "[0,8]")}), "1234567")), "out of range"));
  CHECK(mentions(refusal(file_of(object({entry("a", "U8", "[2]", "[0,2]")}), "123")), "2 … 3"));
  CHECK(mentions(refusal(file_of("{}", "x")), "belong to no tensor"));
}

TEST_CASE("headers that are not the JSON they should be are refused") {
  CHECK(mentions(refusal(file_of("{")), "not valid JSON"));
  CHECK(mentions(refusal(file_of("{} x")), "not valid JSON"));
  CHECK(mentions(refusal(file_of("{\"\xff\":1}")), "not valid JSON"));
  CHECK(mentions(refusal(file_of("{\"" + std::string(5000, 'a'))), "not valid JSON"));
  CHECK(refusal(file_of("{\"" + std::string(5000, 'a'))).size() < 250);
  CHECK(mentions(refusal(file_of("{\"a\":[[[[[[[[]]]]]]]]}")), "nested too deep"));
  CHECK(mentions(refusal(file_of("{\"a\":" + std::string(200000, '['))), "nested too deep"));
  CHECK(mentions(refusal(file_of("{\"a\":1}")), "tensor \"a\": it is not an object"));
  CHECK(
      mentions(refusal(file_of("{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}")), "tensor \"a\": it is not an object with"));
  CHECK(mentions(refusal(file_of("{\"line\\nbreak\":1}")), "\"line\\nbreak\""));
  const std::string a = entry("a", "U8", "[1]", "[0,1]");
  CHECK(mentions(refusal(file_of(object({a, a}), "1")), "names \"a\" twice"));
  CHECK(
      mentions(refusal(file_of("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", "1")),
               "names \"dtype\" twice"));
  CHECK(mentions(refusal(file_of("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}")), "names \"k\" twice"));
  CHECK(mentions(refusal(file_of("{\"__metadata__\":{\"k\":1}}")), "__metadata__: \"k\" is not a string"));
  CHECK(mentions(refusal(file_of("{\"__metadata__\":[]}")), "__metadata__ is not an object"));
}

TEST_CASE("tensors whose dtype, shape or bytes cannot be are refused, by name") {
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    const std::string message = refusal(file_of(object({entry("w", dtype, shape, offsets)}), "12345678"));
    CHECK(mentions(message, "tensor \"w\": "));
    return message;
  };
  CHECK(mentions(one("F31", "[2]", "[0,8]"), "unknown dtype \"F31\""));
  CHECK(mentions(one("f32", "[2]", "[0,8]"), "unknown dtype"));
  CHECK(mentions(one("F32", "[-2]", "[0,8]"), "not a number of elements: \"-2\""));
  CHECK(mentions(one("F32", "[2.0]", "[0,8]"), "not a number of elements"));
  CHECK(mentions(one("F32", "[\"2\"]", "[0,8]"), "not a number of elements"));
  CHECK(mentions(one("F32", "[18446744073709551618]", "[0,8]"), "not a number of elements"));
  CHECK(mentions(one("F32", "[9223372036854775808]", "[0,8]"), "not a number of elements"));
  CHECK(mentions(one("F32", "2", "[0,8]"), "its shape is not a list"));
  CHECK(mentions(one("F32", "[4611686018427387903,4]", "[0,8]"), "too large"));
  CHECK(mentions(one("U8", "[4294967296,4294967296]", "[0,8]"), "too large"));  // 2^64 bytes: 0 when wrapped around
  CHECK(mentions(one("U8", "[0,4611686018427387903,4611686018427387903]", "[0,8]"), "too large"));
  CHECK(mentions(one("F4", "[3]", "[0,8]"), "do not fill whole bytes"));
  CHECK(mentions(one("F32", "[3]", "[0,8]"), "make 12 bytes, its data_offsets 8"));
  CHECK(mentions(one("F32", "[]", "[0,8]"), "make 4 bytes"));
  CHECK(mentions(one("F32", "[2]", "[8,0]"), "out of range"));
  CHECK(mentions(one("F32", "[2]", "[8,16]"), "out of range"));
  CHECK(mentions(one("F32", "[2]", "[0]"), "not two byte positions"));
  CHECK(mentions(one("F32", "[2]", "[0,8,8]"), "not two byte positions"));
  CHECK(mentions(one("F32", "[2]", "[-8,0]"), "not two byte positions"));
  CHECK(mentions(one("F32", "[2]", "[0,8e0]"), "not two byte positions"));
  CHECK(mentions(one("F32", "[2]", "{\"0\":0,\"1\":8}"), "not two byte positions"));
  CHECK(mentions(refusal(file_of("{\"w\":{\"dtype\":1,\"shape\":[],\"data_offsets\":[0,1]}}", "1")), "not a string"));

  const auto two = [](const std::string& a, const std::string& b) {
    return refusal(file_of(object({entry("a", "U8", "[4]", a), entry("b", "U8", "[4]", b)}), "12345678"));
  };
  CHECK(mentions(two("[0,4]", "[3,7]"), "tensor \"b\": its bytes overlap"));
  CHECK(mentions(two("[0,4]", "[0,4]"), "overlap"));
  CHECK(mentions(two("[1,5]", "[0,4]"), "tensor \"a\": its bytes overlap"));
  CHECK(
      mentions(refusal(file_of(object({entry("a", "U8", "[2]", "[0,2]"), entry("b", "U8", "[2]", "[4,6]")}), "123456")),
               "bytes 2 … 4 of the data belong to no tensor"));
}

TEST_CASE("dtypes and ranks that tacit lacks: listed, but not read") {
  const TemporaryDirectory folder;
  const std::string path = folder / "x.safetensors";
  write_file(path, file_of(object({entry("small", "F8_E4M3", "[1]", "[0,1]")}), "1"));
  CHECK(list_safetensors(path, nullptr).at("small") == "F8_E4M3 (1,)");
  CHECK(mentions(error_of([&] { read_safetensors(path); }), "tensor \"small\": tacit has no dtype F8_E4M3"));
  write_file(path, file_of(object({entry("deep", "U8", "[1,1,1,1,1,1,1]", "[0,1]")}), "1"));
  CHECK(list_safetensors(path, nullptr).at("deep") == "U8 (1, 1, 1, 1, 1, 1, 1)");
  CHECK(mentions(error_of([&] { read_safetensors(path); }), "tensor \"deep\": it has 7 dimensions"));
}

TEST_CASE("F16 becomes f32, each of its 65,536 values exactly") {
  const TemporaryDirectory folder;
  const std::string path = folder / "x.safetensors";
  std::string halves;
  for (int bits = 0; bits < 65536; ++bits) halves += {static_cast<char>(bits & 255), static_cast<char>(bits >> 8)};
  write_file(path, file_of(object({entry("half", "F16", "[256,256]", "[0,131072]")}), halves));
  CHECK(list_safetensors(path, nullptr).at("half") == "F16 (256, 256)");
  const Tensor t = read_safetensors(path).tensors.at("half");
  CHECK(t.dtype() == f32);
  CHECK(t.shape() == Shape{256, 256});
  const std::vector<double> values = values_of(t);
  // Half precision in the words of IEEE 754: 0, the least numbers, the first normal one, 1 and its neighbour, the
  // largest.
  CHECK(values[0x0001] == 0x1p-24);
  CHECK(values[0x03ff] == 1023 * 0x1p-24);
  CHECK(values[0x0400] == 0x1p-14);
  CHECK(values[0x3555] == 0.333251953125);
  CHECK(values[0x3c00] == 1);
  CHECK(values[0x3c01] == 1 + 0x1p-10);
  CHECK(values[0xc000] == -2);
  CHECK(values[0x7bff] == 65504);
  CHECK(values[0x7c00] == std::numeric_limits<double>::infinity());
  CHECK(std::signbit(values[0x8000]));
  bool rising = true, odd = true;
  for (size_t i = 0; i < 0x7c00; ++i) {
    rising = rising && values[i] < values[i + 1];
    odd = odd && values[0x8000 + i] == -values[i];
  }
  CHECK(rising);
  CHECK(odd);
  for (const size_t nan : {0x7c01, 0x7e00, 0x7fff, 0xfe00}) CHECK(std::isnan(values[nan]));
}

TEST_CASE("only the tensors that are wanted are read, whatever the others are; a checksum is of all") {
  const TemporaryDirectory folder;
  const std::string path = folder / "x.safetensors";
  write_file(path, file_of(object({entry("a", "BOOL", "[2]", "[0,2]"), entry("b", "U8", "[2]", "[2,4]"),
                                   entry("c", "F8_E5M2", "[1]", "[4,5]"), entry("d", "U8", "[1]", "[5,6]")}),
                           "12xy3z"));
  const auto wanted = [](const std::string& name) { return name == "b" || name == "d"; };
  const SafeTensors some = read_safetensors(path, wanted);
  CHECK(some.tensors.size() == 2);
  check_values(some.tensors.at("b"), {'x', 'y'});
  check_values(some.tensors.at("d"), {'z'});
  CHECK(read_safetensors(path, [](const std::string&) { return false; }).tensors.empty());

  SafeTensors content;
  content.tensors = {{"b", Tensor::ones({3})}, {"other", Tensor::ones({3})}};
  content.metadata[kDataChecksum] = "";
  write_safetensors(path, content);
  CHECK(read_safetensors(path, wanted).tensors.size() == 1);
  std::string bytes = read_file(path);
  bytes.back() ^= 1;
  write_file(path, bytes);
  CHECK(mentions(error_of([&] { read_safetensors(path, wanted); }), "its data is damaged"));
}

TEST_CASE("PyTorch's files are refused with the command that converts them, other formats by name") {
  const TemporaryDirectory folder;
  const auto refused = [&](const std::string& name, const std::string& bytes) {
    write_file(folder / name, bytes);
    const std::string message = error_of([&] { read_safetensors(folder / name); });
    CHECK(message == error_of([&] { list_safetensors(folder / name, nullptr); }));
    CHECK_FALSE(mentions(message, "\n"));
    return message;
  };
  // A zip member's header: signature, 22 bytes, the name's length, the extra field's, the name.
  const auto zip = [](const std::string& member) {
    return "PK\3\4" + std::string(22, '\0') + static_cast<char>(member.size()) + std::string(3, '\0') + member;
  };
  const std::string pickled("\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.", 15);
  for (const std::string& bytes : {zip("archive/data.pkl"), pickled}) {
    const std::string message = refused("it's.pth", bytes);
    CHECK(mentions(message, "it is a PyTorch file, not safetensors; convert it: python3 -c 'import "));
    CHECK(mentions(message, "weights_only=True"));
    CHECK(mentions(message, "it'\\''s.pth' '"));
    CHECK(message.ends_with("/it'\\''s.safetensors'"));
  }
  CHECK(mentions(refused("x.npz", zip("a.npy")), "NumPy archive"));
  CHECK(mentions(refused("x.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"),
                 "`git lfs pull`"));
  CHECK(mentions(refused("x", "PK\3\4"), "PyTorch"));
}

TEST_CASE("paths that are no files") {
  const TemporaryDirectory folder;
  CHECK(mentions(error_of([&] { read_safetensors(folder / "missing"); }), "no such file"));
  CHECK(mentions(error_of([&] { read_safetensors(folder / "."); }), "not a file"));
  CHECK(mentions(error_of([&] { read_safetensors("/dev/zero"); }), "not a file"));
}

TEST_CASE("contents that cannot be written are refused before anything is touched") {
  const TemporaryDirectory folder;
  const std::string path = folder / "x";
  const auto refuse = [&](const std::string& name, const Tensor& t, const std::string& metadata) {
    SafeTensors content;
    content.tensors[name] = t;
    content.metadata["k"] = metadata;
    const std::string message = error_of([&] { write_safetensors(path, content); });
    CHECK_FALSE(std::filesystem::exists(path));
    CHECK_FALSE(std::filesystem::exists(path + AtomicFile::kTemporarySuffix));
    return message;
  };
  CHECK(mentions(refuse("__metadata__", Tensor::ones({1}), ""), "no tensor may be called __metadata__"));
  CHECK(mentions(refuse("a", Tensor(), ""), "tensor \"a\" is undefined"));
  CHECK(mentions(refuse("\xff", Tensor::ones({1}), ""), "not UTF-8"));
  CHECK(mentions(refuse("a", Tensor::ones({1}), "\xc3"), "not UTF-8"));
}

TEST_CASE("checksum: filled in where the key is there, and a flipped byte is noticed") {
  const TemporaryDirectory folder;
  const std::string path = folder / "x.safetensors";
  const std::vector<double> digits = {'1', '2', '3', '4', '5', '6', '7', '8', '9'};
  SafeTensors content;
  content.tensors["x"] = tensor_of(digits, {9}, u8);
  content.metadata = {{kDataChecksum, "whatever"}, {"a", "b"}};
  write_safetensors(path, content);
  const SafeTensors back = read_safetensors(path);
  CHECK(back.metadata.at(kDataChecksum) == "3421780262");  // 0xCBF43926, CRC-32's check value
  CHECK(back.metadata.at("a") == "b");
  // Over all tensors in the order of the file, here falling by size of the elements, then by name.
  content.tensors["w"] = tensor_of({1, 2}, {2});
  content.tensors["y"] = tensor_of(digits, {3, 3}, u8).t();
  write_safetensors(path, content);
  CHECK(read_safetensors(path).tensors.size() == 3);
  const std::string good = read_file(path);
  for (size_t from_end = 1; from_end <= 26; ++from_end) {
    std::string bad = good;
    bad[bad.size() - from_end] = static_cast<char>(bad[bad.size() - from_end] ^ 0x10);
    write_file(path, bad);
    const std::string message = error_of([&] { read_safetensors(path); });
    CHECK(mentions(message, path));
    CHECK(mentions(message, "its data is damaged"));
  }
  // Without the key nothing is checked.
  content.metadata.clear();
  write_safetensors(path, content);
  CHECK(read_safetensors(path).metadata.empty());
}
