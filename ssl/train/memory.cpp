#include "ssl/train/memory.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "ssl/methods/row_cross_entropy.h"
#include "ssl/train/build.h"

namespace tacit::ssl {

namespace {

constexpr int64_t kNone = INT64_MAX;

/// The first whole number in a file such as memory.max; kNone where there is none ("max").
int64_t number_in(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : kNone;
}

int64_t system_available() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  for (int64_t kilobytes = 0; file >> key >> kilobytes; file.ignore(100, '\n'))
    if (key == "MemAvailable:") return kilobytes * 1024;
  return kNone;
}

/// Free memory under a limit file and a usage file of one cgroup; page cache counts as used, so the limit itself
/// bounds.
int64_t free_in(const std::string& directory, const char* limit, const char* usage, const char* cache_key) {
  const int64_t most = number_in(directory + "/" + limit);
  if (most == kNone || most >= INT64_MAX / 2) return kNone;
  int64_t used = number_in(directory + "/" + usage);
  if (used == kNone) used = 0;
  std::ifstream stat(directory + "/memory.stat");
  std::string key;
  for (int64_t value = 0; stat >> key >> value;)
    if (key == cache_key) used -= std::min(used, value);
  return std::max<int64_t>(0, most - used);
}

/// The tightest limit of this process's cgroup and those above it.
int64_t cgroup_available() {
  int64_t least = kNone;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.rfind(':');
    if (colon == std::string::npos) continue;
    const bool v2 = line.rfind("0::", 0) == 0;
    if (!v2 && line.find(":memory:") == std::string::npos) continue;
    const std::string root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    for (std::filesystem::path path = line.substr(colon + 1);; path = path.parent_path()) {
      const std::string directory = root + path.string();
      least = std::min(
          least, v2 ? free_in(directory, "memory.max", "memory.current", "inactive_file")
                    : free_in(directory, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"));
      if (path.empty() || path == path.parent_path()) break;
    }
  }
  return least;
}

/// Peak bytes of one forward and backward of the encoder and its head with this many views, weights and gradients
/// included.
int64_t measured_peak(const TrainConfig& config, int64_t views) {
  const CachingAllocator& allocator = default_device().allocator();
  const int64_t before = allocator.statistics().live_bytes;
  default_device().allocator().reset_peak();
  {
    TrainConfig unsplit = config;
    unsplit.bn_splits = 0;  // a few views cannot be cut into groups that are normalised apart
    const std::unique_ptr<Method> method = make_method(unsplit);
    method->memory_probe(Tensor::zeros({views, config.image_size, config.image_size, config.channels})).backward();
  }
  return allocator.statistics().peak_bytes - before;
}

}  // namespace

int64_t parse_bytes(const std::string& text) {
  double value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit(result.ptr, text.data() + text.size());
  if (!unit.empty() && (unit.back() == 'B' || unit.back() == 'b')) unit.pop_back();
  const std::string units = "KMGT";
  const size_t power = unit.size() == 1 ? units.find(static_cast<char>(std::toupper(unit[0]))) : std::string::npos;
  if (result.ec != std::errc() || !std::isfinite(value) || value <= 0 || (!unit.empty() && power == std::string::npos))
    throw UsageError("--memory-limit expects a size such as 6G or 512M, got '" + text + "'");
  const double bytes = unit.empty() ? value : value * std::pow(1024., static_cast<double>(power + 1));
  if (bytes >= 9e18) throw UsageError("--memory-limit " + text + " is more than a file system holds");
  return static_cast<int64_t>(bytes);
}

MemoryLimit memory_limit(const std::string& flag) {
  if (!flag.empty()) return {parse_bytes(flag), "--memory-limit"};
  const int64_t system = system_available(), cgroup = cgroup_available();
  const int64_t most = system == kNone ? kNone : system / 10 * 9;
  if (cgroup < most) return {cgroup, "free under the cgroup's limit"};
  return {most, "90 % of what is available"};
}

std::string readable_bytes(int64_t bytes) {
  const double value = static_cast<double>(bytes);
  char text[40];
  if (bytes >= int64_t{1} << 30)
    std::snprintf(text, sizeof text, "%.1f GB", value / (1 << 30));
  else
    std::snprintf(text, sizeof text, "%.0f MB", std::ceil(value / (1 << 20)));
  return text;
}

int64_t estimate_training_memory(const TrainConfig& config, int64_t views) {
  constexpr int64_t kFew = 4, kMore = 12;
  const int64_t few = measured_peak(config, kFew), more = measured_peak(config, kMore);
  const int64_t per_view = std::max<int64_t>(1, (more - few) / (kMore - kFew));
  const int64_t rows = views * config.batch_size;
  const std::unique_ptr<Method> method = make_method(config);
  const int64_t moments = 2 * method->parameter_count() * 4;
  const int64_t pixels = config.image_size * config.image_size * config.channels * 4;
  constexpr int64_t kBatchesAhead = 3;  // the loader's two and the one in use
  const int64_t together = views * (config.chunk_size > 0 ? config.chunk_size : config.batch_size);
  constexpr int64_t kSimilarityCopies = 4;  // similarities, their softmax and the gradients of both
  const int64_t similarities = kSimilarityCopies * std::min(rows * rows, kLogitsAtATime) * 4;
  return few + together * method->images_per_view() * per_view + rows * kBatchesAhead * pixels + moments + similarities;
}

void check_training_memory(const TrainConfig& config, int64_t views) {
  const MemoryLimit limit = memory_limit(config.memory_limit);
  const int64_t need = estimate_training_memory(config, views);
  if (need <= limit.bytes) return;
  TrainConfig smaller = config;
  const bool chunks = config.chunk_size > 0;
  int64_t& size = chunks ? smaller.chunk_size : smaller.batch_size;
  while (size > 2 && estimate_training_memory(smaller, views) > limit.bytes) {
    size /= 2;
    while (chunks && config.batch_size % size != 0) --size;
  }
  std::ostringstream remedy;
  if (estimate_training_memory(smaller, views) <= limit.bytes)
    remedy << (chunks ? "--chunk-size " : "--batch-size ") << size << " would fit";
  else
    remedy << "use a smaller --image-size or --encoder-width";
  TACIT_CHECK(false, "this run needs about ", readable_bytes(need), " of memory, the limit is ",
              readable_bytes(limit.bytes), " (", limit.reason, "); ", remedy.str());
}

}  // namespace tacit::ssl
