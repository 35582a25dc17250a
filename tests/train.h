// What the tests of ssl/train share: the message of a usage error, and the smallest model that trains.
#pragma once

#include <string>

#include "ssl/train/method_entry.h"
#include "tests/values.h"

namespace tacit::testing {

/// The message of the UsageError that f throws; "" for none. Of any Error: error_of() in values.h.
template <class F>
std::string usage_error(F&& f) {
  try {
    f();
  } catch (const ssl::UsageError& e) {
    return e.what();
  }
  return "";
}
/// For checkpoints, the loop and the memory it takes.
inline ssl::TrainConfig tiny_config() {
  ssl::TrainConfig c;
  apply_recipe(c, "small-images");
  c.data = {"synthetic:64"};
  c.split = "all";
  c.image_size = 16;
  c.channels = 3;
  c.encoder_width = 4;
  c.projector = {8, 4};
  c.batch_size = 8;
  c.epochs = 1;
  return c;
}

}  // namespace tacit::testing
