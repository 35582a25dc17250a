// The kinds of data behind open_data(), one function each, and what they share. Internal to ssl/data.
// The rule: opening a kind only looks at names; a split is read when its function is called.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ssl/data/image_source.h"
#include "tensor/error.h"

namespace tacit::ssl {

/// How each split is opened; an empty function: the kind has no such split.
struct Splits {
  std::function<ImageSourcePtr()> train, test, unlabeled;
};

/// MNIST's format: {train,t10k}-{images-idx3,labels-idx1}-ubyte in a directory, plain or .gz.
Splits open_idx(const std::string& directory, int64_t max_pixels);
bool looks_like_idx(const std::string& directory);

/// The binary version of CIFAR: a directory, the one above it, or the .tar.gz; `classes` 10 or 100.
Splits open_cifar(const std::string& path, int classes);
/// 10, 100 or 0 for neither.
int looks_like_cifar(const std::string& path);

/// Image files below a directory (or one image file).
Splits open_folder(const std::string& path, const DataOptions&);
bool is_image_name(const std::string& file);

/// Coloured shapes and patterns of 10 classes, 32 x 32 x 3; the test split has n / 5 images of its own.
Splits open_synthetic(int64_t n);

/// Images of one size, all in memory.
struct ImagesInMemory {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;           ///< (N, H, W, C)
  std::vector<int64_t> labels;           ///< (N)
  std::vector<std::string> class_names;  ///< every label is below their number
};
ImageSourcePtr in_memory(ImagesInMemory);

/// One source after the other. Class names must agree where there are any; members without them stay unlabelled.
ImageSourcePtr concatenate(std::vector<ImageSourcePtr>);

/// "0", "1", … n-1: class names where nothing better is known.
std::vector<std::string> numbered_classes(int64_t n);

/// A permutation of 0 … n-1 (Fisher-Yates) from a seed and a stream.
std::vector<int64_t> permutation(int64_t n, uint64_t seed, uint64_t stream);

}  // namespace tacit::ssl
