// One view of one image, made by many lanes together (a CUDA block's threads) or by one alone: the definition that the
// reference, the CPU and CUDA backends share.
// The rule: a pixel is always the same lane's, so that lanes wait for one another only where a step reads neighbours or
// a sum; nothing depends on their number but the order of the contrast's sum.
#pragma once

#include "tensor/augment_args.h"
#include "tensor/augment_math.h"
#include "tensor/augment_taps.h"
#include "tensor/random.h"

/// Functions of lanes: on a GPU only the device has any.
#ifdef __CUDACC__
#define TACIT_LANES __device__
#else
#define TACIT_LANES
#endif

namespace tacit::augment {
inline namespace TACIT_ISA {

/// AugmentArgs as what lanes read, and how much scratch memory a view takes.
struct Job {
  float* out;
  const uint8_t* pixels;
  const AugmentView* views;
  AugmentPolicy policy;
  int64_t count, size, channels, taps;
  bool blurs;

  explicit Job(const AugmentArgs& a)
      : out(a.out.ptr<float>()),
        pixels(a.pixels.ptr<uint8_t>()),
        views(a.views.ptr<AugmentView>()),
        policy(a.policy),
        count(a.out.shape[0]),
        size(a.out.shape[1]),
        channels(a.out.shape[3]),
        taps(a.taps),
        blurs(a.blurs) {}

  /// Channels that the view is made in.
  TACIT_HD int64_t made_in() const { return policy.lightness ? 3 : channels; }
  TACIT_HD int64_t view_values() const { return size * size * made_in(); }
  TACIT_HD int64_t weight_values() const { return 2 * size * taps + size + 1; }
  /// Scratch of a view: floats (weights, the blur's half-way, pixels that are not the output's yet) and whole numbers.
  TACIT_HD int64_t floats() const {
    return weight_values() + ((blurs ? 1 : 0) + (policy.lightness ? 1 : 0)) * view_values();
  }
  TACIT_HD int64_t ranges() const { return 4 * size; }
};

/// The only lane: the backends whose threads make a view each.
struct OneLane {
  int64_t first() const { return 0; }
  int64_t step() const { return 1; }
  void sync() const {}
  double sum(double value) const { return value; }
};

/// Lanes: first() and step(), which pixels are this lane's; sync(), until all lanes are here; sum(x), over all lanes.
template <class Lanes>
class ViewOfImage {
 public:
  TACIT_LANES ViewOfImage(const Lanes& lanes, const Job& job, int64_t index, float* floats, int32_t* ranges)
      : lanes_(lanes),
        job_(job),
        view_(job.views[index]),
        channels_(job.made_in()),
        out_(job.out + index * job.size * job.size * job.channels),
        weights_(floats),
        ranges_(ranges),
        half_way_(floats + job.weight_values()),
        made_(job.policy.lightness ? half_way_ + (job.blurs ? job.view_values() : 0) : out_),
        reach_(view_.sigma > 0 ? blur_reach(job.size, view_.sigma) : 0) {
    plan();
  }

  TACIT_LANES void make() const {
    write_weights();
    lanes_.sync();
    double gray = 0;
    each_pixel([&](const Place& at) {
      float x[3];
      sample(at, x);
      for (int s = 0; s < contrast_; ++s) colour(steps_[s], 0, x);
      gray += static_cast<double>(channels_ == 3 ? gray_of(x[0], x[1], x[2]) : x[0]);
      leave(at, contrast_ == count_, x);
    });
    if (contrast_ < count_) {
      const double mean = lanes_.sum(gray) / static_cast<double>(job_.size * job_.size);
      const auto rest = static_cast<float>((1 - view_.contrast) * mean);
      each_pixel([&](const Place& at) {
        float x[3];
        for (int64_t c = 0; c < channels_; ++c) x[c] = made_[at.pixel * channels_ + c];
        for (int s = contrast_; s < count_; ++s) colour(steps_[s], rest, x);
        leave(at, true, x);
      });
    }
    if (reach_ > 0) blur();
  }

 private:
  struct Place {
    int64_t pixel, row, column;
  };
  enum Step : uint8_t { Brightness, Contrast, Saturation, Hue, Gamma, Gray };

  template <class F>
  TACIT_LANES void each_pixel(const F& f) const {
    // 32 bits: a GPU divides them several times faster; augment_images() allows no larger views.
    const int size = static_cast<int>(job_.size), step = static_cast<int>(lanes_.step());
    for (int pixel = static_cast<int>(lanes_.first()); pixel < size * size; pixel += step) {
      const int row = pixel / size;
      f(Place{pixel, row, pixel - row * size});
    }
  }

  /// The steps of colour in their order; contrast_ is the place of the one that needs a mean, or their number.
  TACIT_LANES void plan() {
    count_ = 0;
    if (view_.gamma != 1) steps_[count_++] = Gamma;
    if (view_.gray && job_.policy.gray_first) steps_[count_++] = Gray;
    contrast_ = -1;
    for (int k = 0; k < 4 && view_.jitter; ++k) {
      const auto step = static_cast<Step>(view_.order[k]);
      if (step == Contrast && view_.contrast != 1) contrast_ = count_;
      if ((step == Brightness && view_.brightness != 1) || (step == Contrast && view_.contrast != 1) ||
          (step == Saturation && view_.saturation != 1) || (step == Hue && view_.hue != 0))
        steps_[count_++] = step;
    }
    if (view_.gray && !job_.policy.gray_first) steps_[count_++] = Gray;
    if (contrast_ < 0) contrast_ = count_;
  }

  TACIT_LANES void colour(Step step, float rest, float (&x)[3]) const {
    if (channels_ == 3 && step == Saturation) {
      const auto factor = static_cast<float>(view_.saturation);
      const float gray = gray_of(x[0], x[1], x[2]) * (1 - factor);
      for (float& value : x) value = scaled(value, factor, gray);
    } else if (channels_ == 3 && step == Hue) {
      const Rgb to = turned(x[0], x[1], x[2], static_cast<float>(view_.hue));
      x[0] = to.r, x[1] = to.g, x[2] = to.b;
    } else if (channels_ == 3 && step == Gray) {
      x[0] = x[1] = x[2] = gray_of(x[0], x[1], x[2]);
    }
    for (int64_t c = 0; c < channels_; ++c) {
      if (step == Gamma) x[c] = with_gamma(x[c], static_cast<float>(view_.gamma));
      if (step == Brightness) x[c] = scaled(x[c], static_cast<float>(view_.brightness), 0);
      if (step == Contrast) x[c] = scaled(x[c], static_cast<float>(view_.contrast), rest);
    }
  }

  // weights_: rows, columns (size x taps each), the blur's; ranges_: first and count of each row, then of each column
  TACIT_LANES void write_weights() const {
    const TapAxis rows(view_.top, view_.box_height, view_.height, job_.size, job_.policy.antialias,
                       job_.policy.bicubic),
        columns(view_.left, view_.box_width, view_.width, job_.size, job_.policy.antialias, job_.policy.bicubic);
    for (int64_t i = lanes_.first(); i < 2 * job_.size; i += lanes_.step()) {
      int64_t first = 0;
      const bool row = i < job_.size;
      const int64_t count = (row ? rows : columns).write(row ? i : i - job_.size, first, weights_ + i * job_.taps);
      ranges_[2 * i] = static_cast<int32_t>(first);
      ranges_[2 * i + 1] = static_cast<int32_t>(count);
    }
    if (reach_ == 0) return;
    const double sum = gaussian_sum(reach_, view_.sigma);
    for (int64_t i = lanes_.first(); i <= 2 * reach_; i += lanes_.step())
      weights_[2 * job_.size * job_.taps + i] = static_cast<float>(gaussian(i - reach_, view_.sigma) / sum);
  }

  /// The resampled image at a pixel of the view, shifted and flipped.
  TACIT_LANES void sample(const Place& at, float (&x)[3]) const {
    const int64_t size = job_.size, right = view_.flip ? -view_.right : view_.right;
    const int64_t row = at.row - view_.down, from = at.column - right;
    for (float& value : x) value = 0;
    if (row < 0 || row >= size || from < 0 || from >= size) return;
    const int64_t column = size + (view_.flip ? size - 1 - from : from);
    const float* const down = weights_ + row * job_.taps;
    const float* const across = weights_ + column * job_.taps;
    for (int32_t i = 0; i < ranges_[2 * row + 1]; ++i) {
      const uint8_t* p = job_.pixels + view_.offset +
                         (int64_t{ranges_[2 * row] + i} * view_.width + ranges_[2 * column]) * view_.channels;
      float line[3] = {0, 0, 0};
      for (int32_t k = 0; k < ranges_[2 * column + 1]; ++k, p += view_.channels)
        for (int64_t c = 0; c < channels_; ++c)
          line[c] += across[k] * static_cast<float>(channel_of(p, view_.channels, channels_, c));
      for (int64_t c = 0; c < channels_; ++c) x[c] += down[i] * (line[c] * (1.0f / 255));
    }
    if (job_.policy.bicubic)
      for (float& value : x) value = clamp01(value);
  }

  /// Keeps a pixel for the next pass or, after the last, finishes it.
  TACIT_LANES void leave(const Place& at, bool coloured, float (&x)[3]) const {
    if (coloured && reach_ == 0) return finish(at, x);
    for (int64_t c = 0; c < channels_; ++c) made_[at.pixel * channels_ + c] = x[c];
  }

  // down into half_way_, then across
  TACIT_LANES void blur() const {
    const int64_t size = job_.size;
    const float* const weights = weights_ + 2 * size * job_.taps + reach_;
    lanes_.sync();
    each_pixel([&](const Place& at) {
      float sum[3] = {0, 0, 0};
      for (int64_t k = -reach_; k <= reach_; ++k)
        for (int64_t c = 0; c < channels_; ++c)
          sum[c] += weights[k] * made_[(mirrored(at.row + k, size) * size + at.column) * channels_ + c];
      for (int64_t c = 0; c < channels_; ++c) half_way_[at.pixel * channels_ + c] = sum[c];
    });
    lanes_.sync();
    each_pixel([&](const Place& at) {
      float sum[3] = {0, 0, 0};
      for (int64_t k = -reach_; k <= reach_; ++k)
        for (int64_t c = 0; c < channels_; ++c)
          sum[c] += weights[k] * half_way_[(at.row * size + mirrored(at.column + k, size)) * channels_ + c];
      finish(at, sum);
    });
  }

  TACIT_LANES void finish(const Place& at, float (&x)[3]) const {
    const AugmentPolicy& policy = job_.policy;
    if (view_.solarize)
      for (float& value : x) value = solarized(value);
    if (policy.lightness) x[0] = lightness_of(x[0], x[1], x[2]);
    const int64_t row = at.row - view_.erase_top, column = at.column - view_.erase_left;
    const bool erased = row >= 0 && row < view_.erase_height && column >= 0 && column < view_.erase_width;
    for (int64_t c = 0; c < job_.channels; ++c) {
      if (policy.normalise && !policy.lightness) x[c] = (x[c] - policy.mean[c]) * policy.scale[c];
      if (erased) x[c] = policy.erase_noise ? noise((row * view_.erase_width + column) * job_.channels + c) : 0.0f;
      out_[at.pixel * job_.channels + c] = x[c];
    }
  }

  TACIT_LANES float noise(int64_t i) const {
    const auto words = random_block(view_.erase_seed, view_.erase_stream, 0, static_cast<uint32_t>(i / 2));
    const size_t first = i % 2 == 0 ? 0 : 2;
    return static_cast<float>(normals_from(words[first], words[first + 1])[0]);
  }

  const Lanes& lanes_;
  const Job& job_;
  const AugmentView& view_;
  int64_t channels_;
  float *out_, *weights_;
  int32_t* ranges_;
  float *half_way_, *made_;
  int64_t reach_;
  Step steps_[7];
  int count_, contrast_;
};

}  // namespace TACIT_ISA
}  // namespace tacit::augment
