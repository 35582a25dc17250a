// What tells one set of images from another, for a run that goes on.
#pragma once

#include <string>

#include "ssl/data/image_source.h"

namespace tacit::ssl {

/// Eight hexadecimal digits: equal for equal data, wherever it lies. Made of the labels and names (without directories)
/// of some images, or, where images are not files, of their pixels.
std::string data_fingerprint(const ImageSource&);

}  // namespace tacit::ssl
