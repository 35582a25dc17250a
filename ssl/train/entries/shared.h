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
/// STL-10's 100,000 unlabelled images, whole: 96 pixels, so that ResNets have their ImageNet stem, as in solo-learn.
void stl10_images(TrainConfig&);
/// What github.com/htdt/self-supervised (Ermolov et al., "Whitening for Self-Supervised Representation Learning", ICML
/// 2021) trains SimCLR and BYOL on STL-10 with: ResNet-18, batches of 512, Adam at 2e-3 after 500 steps of warm-up,
/// times .2 for the last 50 and again for the last 25 of 2000 epochs, weight decay 1e-6, milder colours than SimCLR's.
/// There crops have 64 pixels, under a 3 x 3 stem with pooling, and the 5,000 training images are used too.
void stl10_htdt(TrainConfig&);
/// ResNet-50 at 224 pixels.
void imagenet_resnet(TrainConfig&);
/// The same with the optimiser that BYOL's and MoCo v3's codes share: batches of 4096, LARS, weight decay 1e-6 on
/// weights, 10 epochs of warm-up. Their base rates differ.
void imagenet_lars(TrainConfig&);

/// The recipes that methods have for the same kinds of data, followed by those of the method alone.
std::vector<Recipe> usual_recipes(void (*fashion_mnist_demo)(TrainConfig&), void (*small_images)(TrainConfig&),
                                  void (*folder)(TrainConfig&), const std::vector<Recipe>& own);

}  // namespace tacit::ssl
