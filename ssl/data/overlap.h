// Test images that are training images too. The rule: equal pixels count, and nothing less; it must cost little beside
// what is done with the images afterwards.
#pragma once

#include <string>

#include "ssl/data/image_source.h"

namespace tacit::ssl {

struct Overlap {
  int64_t test = 0;                           ///< images of the test split
  int64_t compared = 0;                       ///< of these the ones for which the answer is known
  int64_t found = 0;                          ///< of these the ones that are training images
  int64_t first_test = -1, first_train = -1;  ///< the first of them, and the training image that it is
};
/// Images in memory are compared all. Files of different length are different; of those that are as long as one of the
/// other split, a fiftieth of both splits' images, and at least 200, are decoded, those whose length is rarest first.
/// Images that cannot be read are no copies.
Overlap find_overlap(const ImageSource& train, const ImageSource& test);

/// "warning: …" with the number, the first pair and the remedy, where it could change an accuracy by 0.1 % or more;
/// else
/// "".
std::string overlap_warning(const ImageSource& train, const ImageSource& test);

}  // namespace tacit::ssl
