// --init: the encoder's weights from a file that tacit or another program wrote.
// The rule: every weight of the encoder comes from the file, and no part of the file's network that would change the
// features is left out; else there is an error that says which flags fit. What was done is said by name.
#pragma once

#include <string>
#include <vector>

#include "ssl/methods/method.h"
#include "ssl/train/config.h"
#include "ssl/train/match_names.h"

namespace tacit::ssl {

/// What --init took from a file.
struct ImportReport {
  NameMatch names;  ///< with MAE's decoder, where it was taken
  /// What else was done (converted dtypes, resized positions), and warnings ("warning: …").
  std::vector<std::string> notes;
};

/// Throws Error naming --init where config.init is not there or is no safetensors file; of a PyTorch file with the
/// command that converts it. Reads its list of tensors only.
void check_initial_weights(const std::string& file);

/// Loads the encoder of `method`, made from `config`, from config.init: a tacit checkpoint, or a file of tensors under
/// the names of torchvision, timm or MAE, behind a prefix perhaps (match_names.h). f16, bf16 and f64 become f32. A
/// ViT's position embedding of another size is resized. A decoder under MAE's names goes into MAE's own where it fits.
/// Throws Error naming --init: where nothing matches, tensors are missing or of another shape, the file's network has
/// parts that the encoder lacks, or a weight is not finite. Then nothing was loaded.
ImportReport load_initial_weights(Method& method, const TrainConfig& config);

}  // namespace tacit::ssl
