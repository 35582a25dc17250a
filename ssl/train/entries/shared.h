// What several methods' entries have in common: settings of heads, and the small-budget setting that recipes start
// from.
#pragma once

#include "ssl/train/check.h"
#include "ssl/train/method_entry.h"

namespace tacit::ssl {

/// --projector and --projector-batch-norm.
void add_projector_settings(Settings&, TrainConfig&, const std::string& method);
void check_projector(const TrainConfig&);
/// --predictor: ends in the projector's output size.
void check_predictor(const TrainConfig&);
/// --batch-size 1 cannot be told apart or normalised; `why` completes the sentence.
void check_batch_of_two(const TrainConfig&, const char* why);

/// A small convolutional network, AdamW and epochs for minutes on two cores: what every method's Fashion-MNIST recipe
/// starts from. Measured for SimCLR against its neighbours; the others take it over.
void small_budget(TrainConfig&);
/// Turns it into one for colour images up to 64 pixels, whatever the data's size.
void small_budget_colour(TrainConfig&);
/// Turns that into one for a folder of photographs at 64 pixels.
void small_budget_folder(TrainConfig&);
/// ResNet-18 with the CIFAR stem, SGD with momentum 0.9, weight decay 5e-4 on everything, batches of 512: what the
/// CIFAR-10 recipes of several papers' codes have in common.
void cifar_resnet(TrainConfig&);
/// ResNet-50 at 224 pixels.
void imagenet_resnet(TrainConfig&);
/// The same with the optimiser that BYOL's and MoCo v3's codes share: batches of 4096, LARS, weight decay 1e-6 on
/// weights, 10 epochs of warm-up. Their base rates differ.
void imagenet_lars(TrainConfig&);

/// The recipes that methods have for the same kinds of data, followed by those of the method alone.
std::vector<Recipe> usual_recipes(void (*fashion_mnist_demo)(TrainConfig&), void (*small_images)(TrainConfig&),
                                  void (*folder)(TrainConfig&), const std::vector<Recipe>& own);

}  // namespace tacit::ssl
