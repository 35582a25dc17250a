// The kinds of data, one file each; open_data.cpp chooses among them. Everything here throws Error naming the file.
#pragma once

#include <functional>

#include "ssl/data/image_source.h"

namespace tacit::ssl {

/// Images of one size held in memory: pixels are (N, H, W, C).
ImageSourcePtr memory_source(std::vector<uint8_t> pixels, std::vector<int64_t> labels, int64_t height, int64_t width,
                             int64_t channels, std::vector<std::string> class_names);
/// One source after another. Class names must agree.
ImageSourcePtr concatenate_sources(const std::vector<ImageSourcePtr>&);

/// The same images without their labels.
ImageSourcePtr without_labels(ImageSourcePtr);

/// `test` with its labels numbered as in `train`, matched by class name (a split may lack a class). As it is where
/// either has no labels. Throws Error naming a class that `train` does not have.
ImageSourcePtr numbered_as(const ImageSource& train, ImageSourcePtr test);

/// ImageSource::identity() of image files: a hash of their paths, sizes and times of change, and of `max_pixels`, since
/// a cache keeps what was refused for its size as damaged.
uint64_t identity_of_files(const std::vector<std::string>& paths, int64_t max_pixels);
/// {H, W} that all of a sample of n images have by size_of(i); {0, 0} where they differ. {0, 0} is one not known.
std::pair<int64_t, int64_t> common_size(int64_t n, const std::function<std::pair<int64_t, int64_t>(int64_t)>& size_of);

/// A split as a kind delivers it. `whole`: the data has no splits, and `source` is all of it.
struct Opened {
  ImageSourcePtr source;
  bool whole = false;
  std::vector<std::string> notes = {};  ///< what the user should be told about it
};
/// MNIST's format: {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz, in one directory.
Opened open_idx(const std::string& directory, Split);
/// STL-10's binary version: a directory, one that holds stl10_binary/, or the .tar.gz as downloaded. `All` is every
/// part that is there; with the unlabeled one in it, it counts as unlabelled.
Opened open_stl10(const std::string& path, Split);
/// Images in one uncompressed tar or in shards, name-{000000..000012}.tar, read in place. WebDataset's naming: files
/// that follow each other and share their path up to the first dot of the file's name are one sample, an image and
/// perhaps a .cls, its label.
Opened open_tar(const std::string& pattern, Split, const DataOptions&);
/// The shards that a pattern names, whether or not they are there. Throws Error for braces that are no range or list.
std::vector<std::string> tar_shards(const std::string& pattern);
/// The binary versions of CIFAR-10 (classes 10) and CIFAR-100: a directory, or the .tar.gz as downloaded.
Opened open_cifar(const std::string& path, Split, int64_t classes);
/// Files below a directory, or one image file.
Opened open_folder(const std::string& path, Split, const DataOptions&);
/// n simple shapes drawn on the spot; the last fifth is the test split.
Opened open_synthetic(int64_t n, Split);

/// What a path holds: "idx", "cifar10", "cifar100", "stl10", "tar" or "folder". Throws Error when it is none of them.
std::string recognise(const std::string& path);
bool has_idx_files(const std::string& directory);
bool has_stl10_files(const std::string& directory);
/// 10 or 100 when the directory holds that data set, else 0.
int64_t cifar_classes(const std::string& directory);
/// By its ending, in upper or lower case: one of kImageFiles.
bool is_image_file(const std::string& path);
inline constexpr const char* kImageFiles = ".jpg, .jpeg, .png, .bmp, .pgm, .ppm or .pnm";

}  // namespace tacit::ssl
