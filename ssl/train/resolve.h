// From what the user said to a complete TrainConfig: layers, recipes, the data's own size, and what a resume may
// change.
#pragma once

#include <string>
#include <vector>

#include "ssl/data/cache.h"
#include "ssl/train/config.h"

namespace tacit::ssl {

/// What was said, before defaults: a configuration file's text ("" for none) and the command line.
struct ConfigLayers {
  std::string toml, toml_file;
  Settings::Given flags;
};

/// What was said over empty defaults: to see --out and --resume before anything else.
TrainConfig without_defaults(const ConfigLayers&);

/// default < recipe < configuration file < command line. Without a recipe, the one for images of side `data_image_size`
/// (0: sizes vary). Throws UsageError.
TrainConfig resolve(const ConfigLayers&, int64_t data_image_size);

/// The same before the data has been opened, as far as that can be known: without a recipe the error of one that the
/// data may yet choose is none of the user's. Throws UsageError where no recipe would do.
TrainConfig resolve_unseen(const ConfigLayers&);
/// resolve() for the images of a source. Throws Error, not UsageError: what flags alone show has been refused before.
TrainConfig resolve_for(const ConfigLayers&, const ImageSource&);

/// RUN/config.toml under the layers. Throws UsageError, with both values, where they would change the trajectory.
TrainConfig resolve_resume(const std::string& run, const ConfigLayers&);

/// The first setting in which two configurations would make different runs, as a message with both values; "" if none.
/// `places`: data, paths and device too.
std::string first_difference(const TrainConfig& before, const TrainConfig& after, bool places);

/// Opens config.data; `notes` receives what the user should be told.
ImageSourcePtr open_training_data(const TrainConfig&, std::vector<std::string>* notes);
/// The training data through config.cache, where that is given; image_size must be known.
ImageSourcePtr with_cache(const TrainConfig&, ImageSourcePtr, std::vector<std::string>* notes,
                          const ImageProgress& progress = {});
/// The side that a source's images have, the shorter one; 0 when sizes vary.
int64_t natural_size(const ImageSource&);
/// Fills in image_size and channels where the configuration leaves them to the data. Throws Error where the settings
/// contradict what was filled in.
void take_size_from(TrainConfig&, const ImageSource&);

/// Where the recipe's batch is more than the data's images and no layer says another: --batch-size becomes the largest
/// multiple of 8 that the data has and the method takes (else the largest number), and the recipe's learning rate, if
/// no layer says one, follows: by its --base-lr, or its --lr times the batches' ratio (for AdamW its square root).
/// `notes` receives what was done.
void fit_batch(TrainConfig&, const ConfigLayers&, int64_t images, std::vector<std::string>* notes);

}  // namespace tacit::ssl
