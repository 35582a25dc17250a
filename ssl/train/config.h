// TrainConfig: everything that `tacit pretrain` can be told, and the checks of it. What only some methods know is
// listed by their entries (method_entry.h). The rule: a setting's name is its long flag's; the order is default <
// recipe < configuration file < command line.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "nn/encoder.h"
#include "ssl/data/augment.h"
#include "ssl/train/settings.h"

namespace tacit::ssl {

/// What --epochs may be at most.
inline constexpr int64_t kMostEpochs = 1'000'000;

/// Every setting of a training run, resolved or not; settings_of() has their help.
struct TrainConfig {
  std::string method = "simclr", recipe;  ///< recipe "": chosen by the image size

  // ---- data
  std::vector<std::string> data;  ///< SPECs
  std::string test_data, split = "train";
  int64_t limit = 0;
  bool no_labels = false;
  int64_t max_pixels = 64'000'000;
  double max_damaged = kMaxDamaged;  ///< fraction of the images that may be unreadable
  std::string cache;                 ///< FILE or DIR of decoded images; "": none
  int64_t image_size = 0;            ///< 0: the data's own up to 64, else 64
  int64_t channels = 0;              ///< 0: the data's own, 1 or 3

  // ---- model
  std::string encoder = "small_cnn", stem = "auto", init;
  bool zero_init_residual = false, checkpoint_activations = false;
  int64_t encoder_width = 0;                                ///< 0: the published one
  int64_t patch_size = 0;                                   ///< of a ViT; 0: by the image's size
  std::string pool = "cls";                                 ///< of a ViT
  std::string augmentation = "simclr", augment_on = "cpu";  ///< policy, and what makes its views: cpu or device

  // ---- of some methods (their entries say which)
  std::string variant = "v2";  ///< of MoCo
  double temperature = 0.5, momentum = 0.999, target_momentum = 0.99;
  int64_t queue_size = 65536, chunk_size = 0;
  std::optional<int64_t> bn_splits;  ///< of MoCo; unset: none
  bool symmetric = false, no_predictor = false, no_stop_gradient = false;
  std::optional<bool> stop_grad_conv1;  ///< of MoCo; unset: no
  std::vector<int64_t> predictor = {4096, 256};
  std::vector<int64_t> projector = {0, 128};
  int64_t grid = 3, permutations = 0, patch_features = 1000;
  std::optional<int64_t> gap;
  bool patch_normalization = true;
  bool projector_batch_norm = true;
  double mask_ratio = 0.75;  ///< of MAE, as what follows
  int64_t decoder_dim = 512, decoder_depth = 8, decoder_heads = 16;
  bool norm_pixels = true;
  std::string color_loss = "classification";  ///< of colorization, as what follows
  int64_t color_stride = 4, color_width = 64, color_neighbours = 5;
  double color_uniform = 0.5;

  // ---- optimisation
  int64_t epochs = 100, batch_size = 256;
  std::string optimizer = "adamw";
  std::optional<double> lr, base_lr;  ///< lr = base_lr * batch_size / 256
  double weight_decay = 1e-2, sgd_momentum = 0.9, beta2 = 0.999;
  bool nesterov = false;
  std::string lars_variant = "byol";
  double trust_coefficient = 1e-3;
  bool decay_all = false;                                      ///< weight decay on biases and norm weights too
  std::optional<double> warmup_epochs, warmup_fraction = 0.1;  ///< of the schedule
  std::string schedule = "cosine";                             ///< or "steps": a factor at some epochs
  std::vector<int64_t> lr_drop_epochs;
  double lr_drop_factor = 0.1;
  double clip = 0;  ///< largest global gradient norm; 0: none
  std::string precision = "fp32";
  bool cuda_graph = false;  ///< steps are captured and repeated; changes no number
  int64_t seed = 0;
  std::string device;  ///< empty: best_device()

  // ---- the run: nothing here changes a number
  std::optional<int64_t> steps, stop_after_epochs;
  int64_t log_every = 1, eval_every = 0, save_every = 1, save_every_steps = 0;
  int64_t threads = 0;
  std::string memory_limit;
  bool quiet = false;

  // ---- this invocation: never written down
  std::string out, json;  ///< the run directory; a file for the last figures
  bool resume = false;

  double effective_lr() const { return lr ? *lr : base_lr.value_or(0.) * static_cast<double>(batch_size) / 256; }
  /// Warm-up in steps of a schedule of `steps` steps.
  int64_t warmup_steps(int64_t steps) const;
  /// image_size and channels must be resolved. One channel for a method whose encoder sees lightness.
  nn::EncoderOptions encoder_options() const;
  DataOptions data_options() const;
};

/// The settings over a config's members, in the order of --help and config.toml.
Settings settings_of(TrainConfig&);

/// How the method's views of an image are made; "none" is as many plain ones as it takes. image_size and channels must
/// be resolved.
std::vector<ViewPolicy> views_of(const TrainConfig&);
/// Of a ViT: --patch-size, or the default for --image-size, which must be known.
int64_t patch_size_of(const TrainConfig&);

/// Refuses unknown names, values out of range and contradictions. Throws UsageError naming the flag.
void validate(const TrainConfig&);
/// Throws UsageError naming the flag for SPECs that are wrong whatever the files hold.
void check_specs(const char* flag, const std::vector<std::string>& specs);
/// "train", "test", "unlabeled" or "all". Throws UsageError.
Split parse_split(const std::string&);

}  // namespace tacit::ssl
