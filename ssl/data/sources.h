// The kinds of data, one file each; open_data.cpp chooses among them. Everything here throws Error naming the file.
#pragma once

#include "ssl/data/image_source.h"

namespace tacit::ssl {

/// Images of one size held in memory: pixels are (N, H, W, C).
ImageSourcePtr memory_source(std::vector<uint8_t> pixels, std::vector<int64_t> labels, int64_t height, int64_t width,
                             int64_t channels, std::vector<std::string> class_names);
/// One source after another. Class names must agree.
ImageSourcePtr concatenate_sources(const std::vector<ImageSourcePtr>&);

/// `test` with its labels numbered as in `train`, matched by class name (a split may lack a class). As it is where
/// either has no labels. Throws Error naming a class that `train` does not have.
ImageSourcePtr numbered_as(const ImageSource& train, ImageSourcePtr test);

/// Throws Error when so many damaged images of `size` are more than max_damaged allows; `last` says why the last is.
void check_damaged(size_t damaged, int64_t size, double max_damaged, const std::string& last);

/// A split as a kind delivers it. `whole`: the data has no splits, and `source` is all of it.
struct Opened {
  ImageSourcePtr source;
  bool whole = false;
  std::string note = {};  ///< what the user should be told about it
};
/// MNIST's format: {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz, in one directory.
Opened open_idx(const std::string& directory, Split);
/// The binary versions of CIFAR-10 (classes 10) and CIFAR-100: a directory, or the .tar.gz as downloaded.
Opened open_cifar(const std::string& path, Split, int64_t classes);
/// Files below a directory, or one image file.
Opened open_folder(const std::string& path, Split, const DataOptions&);
/// n simple shapes drawn on the spot; the last fifth is the test split.
Opened open_synthetic(int64_t n, Split);

/// What a path holds: "idx", "cifar10", "cifar100" or "folder". Throws Error when it is none of them.
std::string recognise(const std::string& path);
bool has_idx_files(const std::string& directory);
/// 10 or 100 when the directory or archive holds that data set, else 0.
int64_t cifar_classes(const std::string& path);
bool is_image_file(const std::string& path);

}  // namespace tacit::ssl
