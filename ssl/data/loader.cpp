#include "ssl/data/loader.h"

#include <tbb/parallel_for.h>
#include <tbb/task_group.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <span>

#include "ssl/data/device_views.h"
#include "tensor/counted.h"
#include "tensor/ops.h"

namespace tacit::ssl {

namespace {

class TbbWorkers final : public Workers {
 public:
  ~TbbWorkers() noexcept override {}  // task_group's may throw, where wait() was not called; Loader calls it
  void start(std::function<void()> work) override { tasks_.run(std::move(work)); }
  void for_each(int64_t n, const std::function<void(int64_t)>& f) override { tbb::parallel_for(int64_t{0}, n, f); }
  void wait() override { tasks_.wait(); }

 private:
  tbb::task_group tasks_;
};

}  // namespace

struct Loader::State {
  /// One batch on its way. Whoever turns Queued into Claimed prepares it: a oneTBB task, or next() itself when no
  /// thread has begun, so that one thread alone gets along too.
  struct Slot {
    enum Stage { Queued, Claimed, Done };
    std::atomic<int> stage{Queued};
    int64_t epoch = 0, position = 0;
    std::shared_ptr<const std::vector<int64_t>> order;
    Batch batch;
    Tensor pixels;                                // of device augmentation: the images, unless they are resident,
    std::vector<std::vector<AugmentView>> drawn;  // and what becomes of them, for each view
    Damage damage;                                // met while preparing it
    std::exception_ptr error;
  };
  using SlotPtr = std::shared_ptr<Slot>;

  ImageSourcePtr source;
  LoaderOptions options;
  int64_t batches = 0;              // per epoch
  int64_t epoch = 0, position = 0;  // of the next batch to queue
  std::shared_ptr<const std::vector<int64_t>> order;
  std::deque<SlotPtr> queue;

  // Of the batches handed out: what is prepared ahead must not count. "" for those known from before.
  Damage damage;

  std::mutex mutex;  // guards every slot's `damage` and the waiting for a slot
  std::condition_variable done;
  std::atomic<bool> stop{false};
  std::shared_ptr<Workers> workers;
  std::shared_ptr<const ResidentImages> resident;

  void queue_next() {
    if (!order) order = std::make_shared<const std::vector<int64_t>>(source->order(options.seed, epoch));
    auto slot = std::make_shared<Slot>();
    slot->epoch = epoch;
    slot->position = position;
    slot->order = order;
    queue.push_back(slot);
    if (++position == batches) {
      position = 0;
      ++epoch;
      order.reset();
    }
    workers->start([this, slot] {
      if (!stop) claim(*slot);
    });
  }

  /// True if this call prepared the batch.
  bool claim(Slot& slot) {
    int expected = Slot::Queued;
    if (!slot.stage.compare_exchange_strong(expected, Slot::Claimed)) return false;
    try {
      prepare(slot);
    } catch (...) {
      slot.error = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex);
      slot.stage = Slot::Done;
    }
    done.notify_all();
    return true;
  }

  /// The image at i or, where it cannot be read, at the next index that can; i becomes that index.
  Image readable(int64_t& i, Slot& slot) {
    for (int64_t tried = 0;; ++tried) {
      try {
        return source->image_for(i, kDecodeMargin * options.image_size);
      } catch (const Error& e) {
        {
          const std::lock_guard lock(mutex);
          slot.damage.emplace(i, e.what());
          check_damage(slot.damage, *source, options.max_damaged);
        }
        TACIT_CHECK(tried + 1 < source->size(), "[loader] not one of the ", source->size(),
                    " images can be read: ", e.what());
        i = (i + 1) % source->size();
      }
    }
  }

  /// The first damaged images, one by one in the batch's order, until they are too many: which ones several threads
  /// had met by then is chance.
  Damage first_damage(std::span<const int64_t> drawn) const {
    Damage damage;
    for (const int64_t first : drawn)
      for (int64_t tried = 0, i = first; tried < source->size(); ++tried, i = (i + 1) % source->size()) {
        if (damage.count(i)) continue;
        try {
          source->image_for(i, kDecodeMargin * options.image_size);
          break;
        } catch (const Error& e) {
          damage.emplace(i, e.what());
          if (too_damaged(damage, *source, options.max_damaged)) return damage;
        }
      }
    return damage;
  }

  void prepare(Slot& slot) {
    const int64_t size = options.image_size, channels = options.channels, per_view = size * size * channels;
    const int64_t count = options.batch_size, first = slot.position * count;
    static const Device host("cpu");
    Batch& batch = slot.batch;
    batch.epoch = slot.epoch;
    batch.position = slot.position;
    const bool on_device = options.device_augmentation;
    std::vector<float*> to;
    for (size_t v = 0; v < options.views.size() && !on_device; ++v) {
      batch.views.push_back(Tensor::empty({count, size, size, channels}, f32, host));
      to.push_back(batch.views.back().view().ptr<float>());
    }
    const std::span<const int64_t> drawn(slot.order->data() + first, static_cast<size_t>(count));
    batch.indices.assign(drawn.begin(), drawn.end());
    std::vector<int64_t> labels(static_cast<size_t>(count));
    std::vector<Image> images(static_cast<size_t>(on_device && !resident ? count : 0));
    if (on_device) slot.drawn.assign(options.views.size(), std::vector<AugmentView>(static_cast<size_t>(count)));
    const auto make = [&](int64_t b) {
      const auto at = static_cast<size_t>(b);
      int64_t& index = batch.indices[at];
      const auto number = static_cast<uint64_t>(index);
      Image image;
      if (!resident) image = readable(index, slot);
      const PackedImage packed = resident ? resident->images[static_cast<size_t>(index)]
                                          : PackedImage{0, image.height, image.width, image.channels};
      labels[at] = source->label(index).value_or(-1);
      for (size_t v = 0; v < options.views.size(); ++v) {
        Random random(options.seed, random_stream("augment", static_cast<uint64_t>(slot.epoch), number, v));
        const ViewParameters view = draw_view(options.views[v], packed.height, packed.width, random);
        if (on_device)
          slot.drawn[v][at] = augment_view(view, packed, size);
        else
          apply_view(image, view, options.views[v], size, channels, to[v] + b * per_view);
      }
      if (!images.empty()) images[at] = std::move(image);
    };
    try {
      workers->for_each(count, make);
    } catch (const DamageError&) {
      slot.damage = first_damage(drawn);
      if (!too_damaged(slot.damage, *source, options.max_damaged)) throw;  // files that changed meanwhile
      return;                                                              // next() throws for it
    }
    batch.labels = Tensor::from(labels, {count}, host);
    if (images.empty()) return;
    std::vector<int64_t> offsets;
    slot.pixels = pack_images(images, offsets);
    for (std::vector<AugmentView>& views : slot.drawn)
      for (size_t b = 0; b < views.size(); ++b) views[b].offset = offsets[b];
  }

  /// The views that were drawn for a batch, made by the default device.
  std::vector<Tensor> device_views(const Slot& slot) const {
    const Tensor pixels = resident ? resident->pixels : slot.pixels.to(default_device());
    std::vector<Tensor> views;
    for (size_t v = 0; v < options.views.size(); ++v)
      views.push_back(augment_images(pixels, slot.drawn[v], augment_policy(options.views[v], options.channels),
                                     options.image_size, options.channels));
    return views;
  }
};

Loader::Loader(ImageSourcePtr source, LoaderOptions options, int64_t epoch, int64_t position)
    : state_(std::make_unique<State>()) {
  TACIT_CHECK(source && source->size() > 0, "[loader] the data has no images");
  TACIT_CHECK(options.batch_size > 0 && options.image_size > 0 && options.prefetch >= 0, "[loader] batch size ",
              options.batch_size, ", image size ", options.image_size, ", prefetch ", options.prefetch);
  State& s = *state_;
  s.batches = source->size() / options.batch_size;
  TACIT_CHECK(s.batches > 0, "[loader] batches of ", options.batch_size, " from ", counted(source->size(), "image"),
              ": use a smaller batch");
  TACIT_CHECK(epoch >= 0 && position >= 0 && position < s.batches, "[loader] position ", position, " of ", s.batches,
              " batches");
  s.source = std::move(source);
  s.options = std::move(options);
  s.workers = s.options.workers ? s.options.workers : std::make_shared<TbbWorkers>();
  for (const int64_t i : s.options.known_damaged) s.damage.emplace(i, "");
  s.epoch = epoch;
  s.position = position;
  if (s.options.device_augmentation && s.options.resident_bytes > 0)
    s.resident = resident_images(*s.source, kDecodeMargin * s.options.image_size, s.options.resident_bytes,
                                 [&](int64_t n, const auto& f) { s.workers->for_each(n, f); });
}

Loader::~Loader() {
  state_->stop = true;
  state_->workers->wait();
}

Batch Loader::next() {
  State& s = *state_;
  while (static_cast<int64_t>(s.queue.size()) <= s.options.prefetch) s.queue_next();
  const State::SlotPtr slot = s.queue.front();
  s.queue.pop_front();
  if (!s.claim(*slot)) {
    std::unique_lock lock(s.mutex);
    s.done.wait(lock, [&] { return slot->stage == State::Slot::Done; });
  }
  if (slot->error) std::rethrow_exception(slot->error);
  if (!slot->damage.empty()) {  // a batch that is refused does not count, or a resume would find it damaged already
    Damage damage = s.damage;
    for (const auto& [i, why] : slot->damage) damage.insert_or_assign(i, why);
    check_damage(damage, *s.source, s.options.max_damaged);
    s.damage = std::move(damage);
  }
  Batch batch = std::move(slot->batch);
  const Device device = default_device();
  if (s.options.device_augmentation) batch.views = s.device_views(*slot);
  for (Tensor& view : batch.views) view = view.to(device);
  batch.labels = batch.labels.to(device);
  return batch;
}

int64_t Loader::batches_per_epoch() const { return state_->batches; }

const Damage& Loader::damage() const { return state_->damage; }

void for_each_plain_batch(const ImageSource& source, const ViewPolicy& normalisation, int64_t image_size,
                          int64_t channels, int64_t batch_size,
                          const std::function<void(const Tensor& images, int64_t first)>& f) {
  TACIT_CHECK(batch_size > 0, "[loader] batch size ", batch_size);
  static const Device host("cpu");
  const int64_t per_image = image_size * image_size * channels;
  for (int64_t first = 0; first < source.size(); first += batch_size) {
    const int64_t count = std::min(batch_size, source.size() - first);
    const Tensor images = Tensor::empty({count, image_size, image_size, channels}, f32, host);
    float* const to = images.view().ptr<float>();
    tbb::parallel_for(int64_t{0}, count, [&](int64_t b) {
      plain_view(source.image_for(first + b, kDecodeMargin * image_size), normalisation, image_size, channels,
                 to + b * per_image);
    });
    f(images.to(default_device()), first);
  }
}

}  // namespace tacit::ssl
