#include "ssl/train/tfevents.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "ssl/train/append.h"
#include "ssl/train/protobuf.h"
#include "ssl/train/settings.h"
#include "tensor/read_file.h"

namespace tacit::ssl {

namespace {

constexpr const char* kPrefix = "events.out.tfevents.";
// Fields of Event, of Summary, of Summary.Value and of its messages Image and HistogramProto.
constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5;
constexpr int kValue = 1;
constexpr int kTag = 1, kSimpleValue = 2, kImage = 4, kHisto = 5;
constexpr int kHeight = 1, kWidth = 2, kColorspace = 3, kEncodedImage = 4;
constexpr int kMin = 1, kMax = 2, kNum = 3, kSum = 4, kSumSquares = 5, kBucketLimit = 6, kBucket = 7;

std::string record(const std::string& payload) {
  const std::string length = protobuf::raw(static_cast<uint64_t>(payload.size()));
  return length + protobuf::raw(masked_crc32c(length)) + payload + protobuf::raw(masked_crc32c(payload));
}

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Walks the records of a file; stops at the end or at the first damaged one.
class RecordReader {
 public:
  explicit RecordReader(const std::string& path) : bytes_(read_file(path)) {}
  bool next(std::string& payload) {
    if (bytes_.size() - end_ < 16) return false;
    uint64_t length = 0;
    std::memcpy(&length, bytes_.data() + end_, 8);
    const size_t left = bytes_.size() - end_ - 16;
    if (length > left || number(end_ + 8) != masked_crc32c(bytes_.substr(end_, 8))) return false;
    payload = bytes_.substr(end_ + 12, length);
    if (number(end_ + 12 + length) != masked_crc32c(payload)) return false;
    end_ += length + 16;
    return true;
  }
  /// Where the last good record ends.
  size_t end() const { return end_; }

 private:
  uint32_t number(size_t at) const {
    uint32_t value = 0;
    std::memcpy(&value, bytes_.data() + at, 4);
    return value;
  }
  std::string bytes_;
  size_t end_ = 0;
};

std::string packed(const std::vector<double>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)};
}

std::string value_of(const std::string& tag, const std::string& what) {
  return protobuf::bytes(kValue, protobuf::bytes(kTag, tag) + what);
}

std::string message_of(const Histogram& h) {
  return protobuf::fixed64(kMin, h.min) + protobuf::fixed64(kMax, h.max) +
         protobuf::fixed64(kNum, static_cast<double>(h.count)) + protobuf::fixed64(kSum, h.sum) +
         protobuf::fixed64(kSumSquares, h.sum_squares) + protobuf::bytes(kBucketLimit, packed(h.limits)) +
         protobuf::bytes(kBucket, packed(h.counts));
}

/// As many whole numbers as there are in the bytes.
template <class T>
std::vector<T> numbers_in(const std::string& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}
/// The first of them, or 0 where there is none.
template <class T>
double number_in_bytes(const std::string& bytes) {
  T value = 0;
  if (bytes.size() >= sizeof value) std::memcpy(&value, bytes.data(), sizeof value);
  return static_cast<double>(value);
}

EventImage parse_image(const std::string& bytes) {
  EventImage parsed;
  protobuf::Reader image(bytes);
  while (image.next()) {
    const auto number = static_cast<int64_t>(image.number);
    if (image.field == kHeight) parsed.height = number;
    if (image.field == kWidth) parsed.width = number;
    if (image.field == kColorspace) parsed.colorspace = number;
    if (image.field == kEncodedImage) parsed.png = image.bytes;
  }
  return parsed;
}

Histogram parse_histogram(const std::string& bytes) {
  Histogram h;
  protobuf::Reader histo(bytes);
  while (histo.next()) {
    const double number = number_in_bytes<double>(histo.bytes);
    if (histo.field == kMin) h.min = number;
    if (histo.field == kMax) h.max = number;
    if (histo.field == kNum) h.count = static_cast<int64_t>(number);
    if (histo.field == kSum) h.sum = number;
    if (histo.field == kSumSquares) h.sum_squares = number;
    if (histo.field == kBucketLimit) h.limits = numbers_in<double>(histo.bytes);
    if (histo.field == kBucket) h.counts = numbers_in<double>(histo.bytes);
  }
  return h;
}

EventValue parse_value(const std::string& bytes) {
  EventValue parsed;
  protobuf::Reader value(bytes);
  while (value.next()) {
    if (value.field == kTag) parsed.tag = value.bytes;
    if (value.field == kSimpleValue) parsed.value = number_in_bytes<float>(value.bytes);
    if (value.field == kImage) parsed.image = parse_image(value.bytes);
    if (value.field == kHisto) parsed.histogram = parse_histogram(value.bytes);
  }
  return parsed;
}

/// 0 where there is none, as in a file's first event.
int64_t step_of(const std::string& payload) {
  protobuf::Reader event(payload);
  while (event.next())
    if (event.field == kStep) return static_cast<int64_t>(event.number);
  return 0;
}

std::vector<EventValue> parse_event(const std::string& payload) {
  std::vector<EventValue> values;
  protobuf::Reader event(payload);
  while (event.next()) {
    if (event.field != kSummary) continue;
    const std::string inner = event.bytes;
    protobuf::Reader summary(inner);
    while (summary.next())
      if (summary.field == kValue) values.push_back(parse_value(summary.bytes));
  }
  const int64_t step = step_of(payload);
  for (EventValue& value : values) value.step = step;
  return values;
}

std::vector<std::string> event_files(const std::string& directory) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().filename().string().rfind(kPrefix, 0) == 0) files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

uint32_t masked_crc32c(const std::string& bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = c & 1 ? 0x82F63B78u ^ (c >> 1) : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  uint32_t crc = ~0u;
  for (const char byte : bytes) crc = table[(crc ^ static_cast<unsigned char>(byte)) & 0xff] ^ (crc >> 8);
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

EventFile::EventFile(const std::string& directory) {
  const std::vector<std::string> files = event_files(directory);
  if (!files.empty()) {
    path_ = files.back();
    return;
  }
  char host[256] = "localhost";
  gethostname(host, sizeof host - 1);
  char name[400];
  std::snprintf(name, sizeof name, "%s%010lld.%s.%d.0", kPrefix, static_cast<long long>(wall_time()), host,
                static_cast<int>(getpid()));
  path_ = directory + "/" + name;
  append_to_file(path_,
                 record(protobuf::fixed64(kWallTime, wall_time()) + protobuf::bytes(kFileVersion, "brain.Event:2")));
}

void EventFile::add(int64_t step, const std::vector<std::pair<std::string, double>>& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars)
    summary += value_of(tag, protobuf::fixed32(kSimpleValue, static_cast<float>(value)));
  add_summary(step, summary);
}

void EventFile::add_image(int64_t step, const std::string& tag, const EventImage& image) {
  add_summary(step, value_of(tag, protobuf::bytes(kImage, protobuf::integer(kHeight, image.height) +
                                                              protobuf::integer(kWidth, image.width) +
                                                              protobuf::integer(kColorspace, image.colorspace) +
                                                              protobuf::bytes(kEncodedImage, image.png))));
}

void EventFile::add_histograms(int64_t step, const std::vector<std::pair<std::string, Histogram>>& histograms) {
  std::string summary;
  for (const auto& [tag, histogram] : histograms)
    summary += value_of(tag, protobuf::bytes(kHisto, message_of(histogram)));
  add_summary(step, summary);
}

void EventFile::add_summary(int64_t step, const std::string& summary) {
  append_to_file(path_, record(protobuf::fixed64(kWallTime, wall_time()) + protobuf::integer(kStep, step) +
                               protobuf::bytes(kSummary, summary)));
}

void cut_events(const std::string& directory, int64_t last) {
  for (const std::string& file : event_files(directory)) {
    RecordReader records(file);
    size_t keep = 0;
    for (std::string payload; records.next(payload) && step_of(payload) <= last;) keep = records.end();
    cut_file(file, static_cast<int64_t>(keep));
    // Without even its first record the file is of no use to a reader.
    if (keep == 0) std::filesystem::remove(file);
  }
}

std::vector<EventValue> read_events(const std::string& path) {
  std::vector<EventValue> all;
  RecordReader records(path);
  for (std::string payload; records.next(payload);)
    for (EventValue& value : parse_event(payload)) all.push_back(std::move(value));
  return all;
}

}  // namespace tacit::ssl
