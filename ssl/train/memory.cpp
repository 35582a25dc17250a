#include "ssl/train/memory.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "autograd/ops.h"
#include "autograd/row_cross_entropy.h"
#include "nn/eval_mode.h"
#include "ssl/train/build.h"
#include "tensor/memory_limit.h"
#include "tensor/random.h"

namespace tacit::ssl {

namespace {

constexpr int64_t kNone = INT64_MAX;
/// What a process takes beside tensors: the program and kernels' scratch memory, and the gaps between blocks of the
/// heap, which grow with them. Measured: 25 MB with small_cnn, 40 with ViTs, 90 with ResNet-18, 280 with ResNet-50 and
/// its 905 MB of tensors.
constexpr int64_t kProgram = int64_t{96} << 20;
/// And what kernels have needed beside the tensors, as far as they were measured.
int64_t with_the_rest(int64_t tensors) {
  return tensors + tensors / 5 + kProgram + default_device().backend().workspace_bytes();
}
int64_t left_for_tensors(int64_t all) { return std::max<int64_t>(0, all - kProgram) / 6 * 5; }

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

/// Free memory under a limit file and a usage file of one cgroup. Page cache that the kernel would drop (`cache_key` of
/// memory.stat) does not count as used.
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

/// The default limit of main memory.
MemoryLimit main_memory() {
  const int64_t system = system_available(), cgroup = cgroup_available();
  const int64_t most = system == kNone ? kNone : system / 10 * 9;
  if (cgroup < most) return {cgroup, "free under the cgroup's limit"};
  return {most, "90 % of what is available"};
}

/// What `work` takes from the system for its tensors. Not their peak: free memory is kept, small blocks for tensors of
/// their size alone, and between large ones there are gaps.
template <class F>
int64_t taken_by(const F& work) {
  CachingAllocator& allocator = default_device().allocator();
  allocator.trim();
  const int64_t before = allocator.statistics().reserved_bytes;
  work();
  return allocator.statistics().reserved_bytes - before;
}

/// Bytes as a straight line over the number of images.
struct Line {
  int64_t fixed = 0, per_image = 0;
  int64_t at(int64_t images) const { return fixed + images * per_image; }
};

/// bytes(n) for two small numbers of images, never more than `images`, extended to all of them: more of small
/// ones, so that sizes rounded up to the allocator's classes do not decide, and two and four of large ones.
template <class F>
Line measured_line(int64_t images, int64_t image_size, const F& bytes) {
  constexpr int64_t kPixels = 8 * 32 * 32;
  if (images < 4) return {0, bytes(images) / images + 1};
  const int64_t few = std::min(images / 2, std::clamp<int64_t>(kPixels / (image_size * image_size), 2, 16));
  const int64_t least = bytes(few), twice = bytes(2 * few);
  const int64_t slope = std::max<int64_t>(0, twice - least) / few;
  // The allocator rounds a block up by as much as an eighth, and not by the same share at every size.
  return {std::max<int64_t>(0, least - few * slope), slope + slope / 8 + 1};
}

Tensor made_up_images(int64_t n, int64_t image_size, int64_t channels, uint64_t view) {
  return Tensor::uniform({n, image_size, image_size, channels}, 0, random_stream("memory", view));
}

/// Bytes of training steps with so many images. Two, since only from the second on gradients and the optimiser's state
/// are there beside the activations: with few images the most of the first step may have no activations in it.
int64_t taken_by_steps(const TrainConfig& config, int64_t images) {
  TrainConfig small = config;
  small.batch_size = images;
  if (config.chunk_size > 0) small.chunk_size = images;
  if (config.bn_splits) small.bn_splits = std::min(*config.bn_splits, images / 2);
  small.queue_size = 2 * images;  // the queue and its similarities are counted apart: they are no straight line
  const size_t views = views_of(config).size();
  return taken_by([&] {
    const std::unique_ptr<Method> method = make_method(small);
    const std::unique_ptr<optim::Optimizer> optimizer = make_optimizer(small, *method);
    std::vector<Tensor> batch;
    for (size_t v = 0; v < views; ++v) batch.push_back(made_up_images(images, config.image_size, config.channels, v));
    for (int64_t step = 0; step < 2; ++step) {
      const Progress progress{step, 2};
      const Variable loss = method->loss(batch, progress);
      optimizer->zero_grad();
      loss.backward();
      optimizer->step();
      method->after_step(progress);
    }
  });
}

/// Bytes of the encoder on a batch of plain views, and of `values` features with copies in work.
int64_t bytes_of_features(nn::Encoder& encoder, const PlainViews& views, int64_t values) {
  constexpr int64_t kCopies = 3;  // the values, their standardised form, and one in work
  const nn::EvalMode eval(encoder);
  const NoGrad no_grad;
  const Line line = measured_line(views.images_at_once(), views.image_size, [&](int64_t n) {
    return taken_by([&] { encoder(made_up_images(n, views.image_size, views.channels, 0)); });
  });
  return line.at(views.images_at_once()) + values * 4 * kCopies;
}

/// Images that the encoder sees at a time.
int64_t images_together(const TrainConfig& config) {
  return config.chunk_size > 0 ? config.chunk_size : config.batch_size;
}

/// What pre-training takes, for any size of batches and chunks.
struct TrainingMemory {
  Line step;
  int64_t evaluation = 0;  // 0: none
  int64_t views = 1, pixels = 0;
  int64_t queue = 0, keys = 0;  // bytes of MoCo's queue, and how many keys it holds

  int64_t of(const TrainConfig& config) const {
    constexpr int64_t kSimilarityCopies = 3;  // of all views with all others: a measurement of few images misses them
    const int64_t rows = views * config.batch_size;
    const int64_t similarities = kSimilarityCopies * std::min(rows * std::max(rows, keys), kLogitsAtATime);
    // The loader's two; the one in use, where no step has it whole, and where a captured one has a copy.
    const int64_t batches = 2 + (config.chunk_size > 0 ? 1 : 0) + (config.cuda_graph ? 1 : 0);
    const int64_t training = step.at(images_together(config)) + queue + (batches * rows * pixels + similarities) * 4;
    if (config.cuda_graph) return training + evaluation;  // what a captured step works on is nobody else's
    return std::max(training, evaluation > 0 ? step.fixed + evaluation : 0);
  }
};

TrainingMemory measure(const TrainConfig& config, int64_t evaluation_images) {
  TrainingMemory memory;
  memory.views = static_cast<int64_t>(views_of(config).size());
  memory.pixels = config.image_size * config.image_size * config.channels;
  make_method(config);  // tables made once in a process (colorization's bins) are not taken for part of a step
  if (config.method == "moco" && config.variant != "v3") {
    TrainConfig without = config;
    without.queue_size = 2 * config.batch_size;
    memory.keys = config.queue_size;
    memory.queue =
        std::max<int64_t>(0, taken_by([&] { make_method(config); }) - taken_by([&] { make_method(without); }));
  }
  memory.step = measured_line(images_together(config), config.image_size,
                              [&](int64_t images) { return taken_by_steps(config, images); });
  if (evaluation_images > 0) {
    const std::unique_ptr<Method> method = make_method(config);
    nn::Encoder& encoder = method->encoder();
    memory.evaluation = bytes_of_features(encoder, plain_views(config, {}, {}), evaluation_images * encoder.features());
  }
  return memory;
}

/// work() as long as it stays below the limit: whether it did. Leaves no memory reserved.
template <class F>
bool within(const MemoryLimit& limit, const F& work) {
  bool fits = true;
  try {
    const MemoryLimitScope scope(left_for_tensors(limit.bytes));
    work();
  } catch (const MemoryLimitError&) {
    fits = false;
  }
  default_device().allocator().trim();
  return fits;
}

std::string described(const MemoryLimit& limit) {
  return "the limit is " + readable_bytes(limit.bytes) + " (" + limit.reason + ")";
}

std::string about(int64_t need, const MemoryLimit& limit) {
  return (need > limit.bytes ? "about " + readable_bytes(need) : "more than " + readable_bytes(limit.bytes)) +
         " of memory, " + described(limit);
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
  const int64_t device = default_device().backend().available_memory();
  if (device > 0) return {device / 10 * 9, "90 % of what is free on the device"};
  return main_memory();
}

void apply_memory_limit(const std::string& flag) {
  const bool own_memory = default_device().backend().available_memory() > 0;
  if (own_memory) default_device().allocator().set_limit(memory_limit(flag).bytes);
  set_memory_limit(own_memory ? main_memory().bytes : memory_limit(flag).bytes);
}

int64_t estimate_training_memory(const TrainConfig& config, int64_t evaluation_images) {
  return measure(config, evaluation_images).of(config);
}

MemoryFound check_training_memory(const TrainConfig& config, int64_t evaluation_images) {
  const MemoryLimit limit = memory_limit(config.memory_limit);
  TrainingMemory memory;
  const bool measured = within(limit, [&] { memory = measure(config, evaluation_images); });
  const auto needed = [&](const TrainConfig& c) { return measured ? with_the_rest(memory.of(c)) : 0; };
  const int64_t need = needed(config);
  if (measured && need <= limit.bytes)
    return {"about " + readable_bytes(need) + "; " + described(limit), limit.bytes - need};
  std::string remedy = "use a smaller --image-size or --encoder-width";
  TrainConfig smaller = config;
  const bool chunks = config.chunk_size > 0;
  int64_t& size = chunks ? smaller.chunk_size : smaller.batch_size;
  while (measured && size > 2 && needed(smaller) > limit.bytes) {
    size /= 2;
    while (chunks && config.batch_size % size != 0) --size;
  }
  if (measured && needed(smaller) <= limit.bytes)
    remedy = (chunks ? "--chunk-size " : "--batch-size ") + std::to_string(size) + " would fit";
  else if (evaluation_images > 0)
    remedy += ", or no --eval-every";
  throw Error("this run needs " + about(need, limit) + "; " + remedy);
}

void check_features_memory(nn::Encoder& encoder, const PlainViews& views, int64_t values, const std::string& flag,
                           const std::string& remedy) {
  const MemoryLimit limit = memory_limit(flag);
  int64_t need = 0;
  const bool measured = within(limit, [&] { need = with_the_rest(bytes_of_features(encoder, views, values)); });
  TACIT_CHECK(measured && need <= limit.bytes, "this needs ", about(need, limit), "; use ", remedy);
}

}  // namespace tacit::ssl
