// Decoded, resized images of a source in one file, so that an epoch costs reading instead of decoding.
// The rule: a cache is used only for the very files and size it was made from, else it is made anew.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ssl/data/image_source.h"

namespace tacit::ssl {

/// Told now and then how many of so many images are done.
using ImageProgress = std::function<void(int64_t done, int64_t images)>;

/// The source with its images taken from the cache `path`, a file, or images.cache in it where it is a directory;
/// splits other than Train append their name. Images are kept as 8 bits, gray or RGB, with the shorter side of
/// ceil(image_size * 8 / 7) pixels (256 for 224), or their own where that is less. A missing cache is made, written
/// atomically, and so is one of other or changed files, another size or a damaged one; damaged images stay damaged
/// and named. `notes` tells what was done, `progress` how far it is. A source in memory is returned as it is. Throws
/// Error naming the file.
ImageSourcePtr cached(ImageSourcePtr, const std::string& path, Split, int64_t image_size,
                      std::vector<std::string>* notes = nullptr, const ImageProgress& progress = {});

}  // namespace tacit::ssl
