// A batch is cut into pieces of a few images. Workers of oneTBB take pieces in an arena of low priority, that is when
// the training step leaves them idle; next() takes the pieces of its batch that nobody has begun. So next() never waits
// for anything but pieces that already run on another thread, and a single thread needs no worker at all.
#include "ssl/data/loader.h"

#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>

#include "ssl/data/kinds.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace tacit::ssl {

namespace {

constexpr int64_t kImagesPerPiece = 8;  // ~0.1 ms of small images: short enough not to hold up the step

/// The damaged images met so far. It saves trying them again; what is reported comes from the batches, in their order.
class DamagedImages {
 public:
  bool contains(int64_t i) const {
    const std::lock_guard lock(mutex_);
    return reasons_.count(i) > 0;
  }
  void add(int64_t i, const std::string& reason) {
    const std::lock_guard lock(mutex_);
    reasons_.emplace(i, reason);
  }
  std::string reason(int64_t i) const {
    const std::lock_guard lock(mutex_);
    return reasons_.at(i);
  }

 private:
  mutable std::mutex mutex_;
  std::map<int64_t, std::string> reasons_;
};

/// One batch in preparation.
struct Job {
  int64_t epoch = 0, position = 0;
  std::shared_ptr<const std::vector<int64_t>> order;  ///< of the epoch
  int64_t first = 0, images = 0;                      ///< its part of the order
  std::vector<std::vector<float>> views;
  std::vector<int64_t> indices, labels;
  std::vector<std::vector<int64_t>> damaged;  ///< per image, those that had to be replaced
  std::vector<std::string> errors;            ///< per image
  std::atomic<int64_t> next_piece{0};
  int64_t pieces = 0, done = 0;  ///< done: under the mutex of Shared
};

/// What tasks may still look at when the Loader is gone.
struct Shared {
  ImageSourcePtr source;
  LoaderOptions options;
  DamagedImages damaged;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Job>> jobs;  ///< in order; the first is the next to be handed out
  bool stopped = false;
  int64_t running = 0;  ///< pieces that workers have begun

  int64_t floats_per_view() const { return options.image_size * options.image_size * options.channels; }
  Image readable(int64_t wanted, int64_t& index, std::vector<int64_t>& replaced);
  void prepare(Job& job, int64_t i);
  bool run_piece(Job& job);
  void work();
};

/// The image at `wanted`, or at the next readable index after it.
Image Shared::readable(int64_t wanted, int64_t& index, std::vector<int64_t>& replaced) {
  const int64_t n = source->size();
  for (int64_t tried = 0; tried < n; ++tried) {
    index = (wanted + tried) % n;
    if (!damaged.contains(index)) {
      try {
        return source->image(index);
      } catch (const Error& error) {
        damaged.add(index, error.what());
      }
    }
    replaced.push_back(index);
  }
  detail::fail("[loader] none of the ", n, " images can be read; for instance ", damaged.reason(wanted));
}

void Shared::prepare(Job& job, int64_t i) {
  const auto at = static_cast<size_t>(i);
  const int64_t wanted = (*job.order)[static_cast<size_t>(job.first + i)];
  int64_t index = wanted;
  Image image = readable(wanted, index, job.damaged[at]);
  if (image.channels != options.channels) image = to_channels(image, options.channels);
  job.indices[at] = index;
  job.labels[at] = source->label(index).value_or(-1);
  for (size_t v = 0; v < options.views.size(); ++v) {
    // Keyed by the wanted index, so that a replacement differs from its own turn in the epoch.
    Random random(options.seed,
                  random_stream("augment", static_cast<uint64_t>(job.epoch), static_cast<uint64_t>(wanted), v));
    const ViewParameters parameters = draw_view(options.views[v], image.height, image.width, random);
    apply_view(image, parameters, options.views[v], options.image_size, options.channels,
               job.views[v].data() + i * floats_per_view());
  }
}

/// Prepares one piece of the job; false when all are taken.
bool Shared::run_piece(Job& job) {
  const int64_t piece = job.next_piece.fetch_add(1);
  if (piece >= job.pieces) return false;
  const int64_t end = std::min(job.images, (piece + 1) * kImagesPerPiece);
  for (int64_t i = piece * kImagesPerPiece; i < end; ++i) {
    try {
      prepare(job, i);
    } catch (const std::exception& error) {
      job.errors[static_cast<size_t>(i)] = error.what();
    }
  }
  const std::lock_guard lock(mutex);
  if (++job.done == job.pieces) changed.notify_all();
  return true;
}

/// A worker's task: one piece of the oldest batch that has one left.
void Shared::work() {
  std::unique_lock lock(mutex);
  if (stopped) return;
  const auto job = std::find_if(jobs.begin(), jobs.end(),
                                [](const std::shared_ptr<Job>& j) { return j->next_piece.load() < j->pieces; });
  if (job == jobs.end()) return;
  const std::shared_ptr<Job> mine = *job;
  ++running;
  lock.unlock();
  run_piece(*mine);
  lock.lock();
  if (--running == 0) changed.notify_all();
}

void check(const ImageSourcePtr& source, const LoaderOptions& o, int64_t epoch, int64_t position, int64_t batches) {
  TACIT_CHECK(source != nullptr && source->size() > 0, "[loader] the data has no images");
  TACIT_CHECK(o.batch_size > 0, "[loader] the batch size must be positive, got ", o.batch_size);
  TACIT_CHECK(batches > 0, "[loader] a batch of ", o.batch_size, " is more than the data's ", source->size(),
              " images");
  TACIT_CHECK(o.image_size > 0 && (o.channels == 1 || o.channels == 3), "[loader] views of ", o.image_size,
              " pixels and ", o.channels, " channels; the size must be positive, the channels 1 or 3");
  TACIT_CHECK(o.prefetch >= 0, "[loader] prefetch must not be negative, got ", o.prefetch);
  TACIT_CHECK(epoch >= 0 && position >= 0 && position <= batches, "[loader] cannot start at epoch ", epoch, ", batch ",
              position, ": an epoch has ", batches, " batches");
}

int64_t count_batches(const ImageSourcePtr& source, const LoaderOptions& o) {
  if (source == nullptr || o.batch_size <= 0) return 0;
  return (source->size() + (o.drop_last ? 0 : o.batch_size - 1)) / o.batch_size;
}

}  // namespace

struct Loader::State {
  std::shared_ptr<Shared> shared = std::make_shared<Shared>();
  std::unique_ptr<tbb::task_arena> arena;        ///< none with a single thread
  int64_t batches = 0, epoch = 0, position = 0;  ///< the next batch to prepare
  int64_t order_epoch = -1;
  std::shared_ptr<const std::vector<int64_t>> order;
  std::vector<std::vector<float>> spare;  ///< memory of batches that were handed out
  double waited = 0;
  std::map<int64_t, std::string> damaged;

  void submit();
  Batch take(Job& job);
  void report_damaged(const Job& job);
};

/// Begins the preparation of the next batch.
void Loader::State::submit() {
  const LoaderOptions& o = shared->options;
  if (position >= batches) {
    ++epoch;
    position = 0;
  }
  if (order_epoch != epoch) {
    const int64_t n = shared->source->size();
    std::vector<int64_t> indices;
    if (o.shuffle) {
      indices = permutation(n, o.seed, random_stream("order", static_cast<uint64_t>(epoch)));
    } else {
      for (int64_t i = 0; i < n; ++i) indices.push_back(i);
    }
    order = std::make_shared<const std::vector<int64_t>>(std::move(indices));
    order_epoch = epoch;
  }
  auto job = std::make_shared<Job>();
  job->epoch = epoch;
  job->position = position;
  job->order = order;
  job->first = position++ * o.batch_size;
  job->images = std::min(o.batch_size, static_cast<int64_t>(order->size()) - job->first);
  const auto images = static_cast<size_t>(job->images);
  for (size_t v = 0; v < o.views.size(); ++v) {
    std::vector<float> memory;
    if (!spare.empty()) {
      memory = std::move(spare.back());
      spare.pop_back();
    }
    memory.resize(images * static_cast<size_t>(shared->floats_per_view()));
    job->views.push_back(std::move(memory));
  }
  job->indices.resize(images);
  job->labels.resize(images);
  job->damaged.resize(images);
  job->errors.resize(images);
  job->pieces = (job->images + kImagesPerPiece - 1) / kImagesPerPiece;
  {
    const std::lock_guard lock(shared->mutex);
    shared->jobs.push_back(job);
  }
  if (!arena) return;
  for (int64_t piece = 0; piece < job->pieces; ++piece) arena->enqueue([tasks = shared] { tasks->work(); });
}

void Loader::State::report_damaged(const Job& job) {
  for (const auto& list : job.damaged)
    for (const int64_t i : list) damaged.emplace(i, shared->damaged.reason(i));
  const auto count = static_cast<double>(damaged.size());
  const double allowed = shared->options.max_damaged * static_cast<double>(shared->source->size());
  TACIT_CHECK(count <= allowed, "[loader] ", damaged.size(), " of ", shared->source->size(),
              " images cannot be read, more than ", 100 * shared->options.max_damaged,
              " %; remove or repair them; the first: ", damaged.begin()->second);
}

Batch Loader::State::take(Job& job) {
  for (const std::string& error : job.errors) TACIT_CHECK(error.empty(), error);
  report_damaged(job);
  const LoaderOptions& o = shared->options;
  Batch batch;
  for (std::vector<float>& view : job.views) {
    batch.views.push_back(Tensor::from(view, {job.images, o.image_size, o.image_size, o.channels}));
    spare.push_back(std::move(view));
  }
  batch.labels = Tensor::from(job.labels, {job.images});
  batch.indices = std::move(job.indices);
  batch.epoch = job.epoch;
  batch.position = job.position;
  return batch;
}

Loader::Loader(ImageSourcePtr source, LoaderOptions options, int64_t epoch, int64_t position)
    : state_(std::make_unique<State>()) {
  state_->batches = count_batches(source, options);
  check(source, options, epoch, position, state_->batches);
  state_->shared->source = std::move(source);
  state_->shared->options = std::move(options);
  state_->epoch = epoch;
  state_->position = position;
  // With one thread allowed a worker would be a second one (oneTBB makes one for enqueued tasks); next() does it all.
  const auto threads = tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
  if (threads > 1 && state_->shared->options.prefetch > 0)
    state_->arena =
        std::make_unique<tbb::task_arena>(static_cast<int>(threads) - 1, 0u, tbb::task_arena::priority::low);
}

Loader::~Loader() {
  Shared& shared = *state_->shared;
  std::unique_lock lock(shared.mutex);
  shared.stopped = true;
  shared.changed.wait(lock, [&] { return shared.running == 0; });
  shared.jobs.clear();
}

Batch Loader::next() {
  State& state = *state_;
  Shared& shared = *state.shared;
  const auto wanted = static_cast<size_t>(state.arena ? shared.options.prefetch + 1 : 1);
  std::shared_ptr<Job> job;
  const auto fill = [&](size_t count) {
    size_t have = 0;
    {
      const std::lock_guard lock(shared.mutex);
      have = shared.jobs.size();
    }
    for (; have < count; ++have) state.submit();
  };
  fill(wanted);
  {
    const std::lock_guard lock(shared.mutex);
    job = shared.jobs.front();
  }
  const auto begin = std::chrono::steady_clock::now();
  while (shared.run_piece(*job)) {
  }
  {
    std::unique_lock lock(shared.mutex);
    shared.changed.wait(lock, [&] { return job->done == job->pieces; });
    shared.jobs.pop_front();
  }
  state.waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  Batch batch = state.take(*job);
  if (state.arena) fill(wanted - 1);
  return batch;
}

int64_t Loader::batches_per_epoch() const { return state_->batches; }

double Loader::waited_seconds() const { return state_->waited; }

std::vector<std::string> Loader::damaged() const {
  std::vector<std::string> list;
  for (const auto& entry : state_->damaged) list.push_back(entry.second);
  return list;
}

}  // namespace tacit::ssl
