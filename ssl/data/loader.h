// Loader: prepares the next batches on oneTBB while the step runs. What a batch holds is a pure function of
// (seed, epoch, position), never of timing, so that a resume needs the epoch and the position and nothing else.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "ssl/data/augment.h"
#include "ssl/data/damage.h"
#include "ssl/data/image_source.h"
#include "tensor/tensor.h"

namespace tacit::ssl {

/// What a Loader gives: B images of side S with C channels.
struct Batch {
  std::vector<Tensor> views;        ///< each (B, S, S, C) f32, normalised
  Tensor labels;                    ///< (B) i64, -1 where unknown
  std::vector<int64_t> indices;     ///< into the source, after replacement of damaged images
  int64_t epoch = 0, position = 0;  ///< position: batches of this epoch before this one
};

/// What the loader's work runs on. The default is oneTBB; with threads that the thread sanitizer can see into, it can
/// judge the loader.
class Workers {
 public:
  virtual ~Workers() = default;
  virtual void start(std::function<void()> work) = 0;
  /// f(0) … f(n-1) in any order, perhaps at once; done when it returns.
  virtual void for_each(int64_t n, const std::function<void(int64_t)>& f) = 0;
  /// Until all that was started has ended.
  virtual void wait() = 0;
};

struct LoaderOptions {
  int64_t batch_size = 256;
  int64_t image_size = 32, channels = 3;
  std::vector<ViewPolicy> views;  ///< one per view
  uint64_t seed = 0;
  int64_t prefetch = 2;                     ///< batches prepared ahead
  double max_damaged = kMaxDamaged;         ///< fraction of the source that may be unreadable before the run stops
  std::vector<int64_t> known_damaged = {};  ///< met by an earlier process of this run: they count
  std::shared_ptr<Workers> workers = {};    ///< none: oneTBB
  /// Views are made by the default device from 8-bit images; draws, order and damage are the same, values to 1/255.
  bool device_augmentation = false;
  int64_t resident_bytes = 0;  ///< with it: a source of at most so many bytes is uploaded once, not batch by batch
};

/// Images may be decoded at a scale whose shorter side is at least this many times the view's: crops down to a quarter
/// of the area keep every detail.
constexpr int64_t kDecodeMargin = 2;

/// Batches of epoch after epoch in the source's order(seed, epoch), whole ones alone, starting at (epoch, position).
/// next() hands them out in order.
class Loader {
 public:
  Loader(ImageSourcePtr, LoaderOptions, int64_t epoch = 0, int64_t position = 0);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Blocks until the next batch is ready. Errors met while preparing it (too many damaged images) are thrown here.
  Batch next();
  int64_t batches_per_epoch() const;
  /// The images of the batches handed out so far that could not be read, each replaced by the next readable index, and
  /// the known ones.
  const Damage& damage() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// All images in order with the plain view, in batches, for evaluation: f(images (B,S,S,C), first index).
void for_each_plain_batch(const ImageSource&, const ViewPolicy& normalisation, int64_t image_size, int64_t channels,
                          int64_t batch_size, const std::function<void(const Tensor& images, int64_t first)>& f);

}  // namespace tacit::ssl
