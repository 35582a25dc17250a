#include "ssl/data/overlap.h"

#include <tbb/parallel_for.h>
#include <zlib.h>

#include <algorithm>
#include <map>
#include <unordered_map>

#include "ssl/data/printable.h"
#include "tensor/counted.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace tacit::ssl {

namespace {

constexpr int64_t kFewestDecoded = 200, kPart = 50;  // a fiftieth of the images
constexpr int64_t kSmallSide = 64;                   // files are decoded no larger than this: equal ones stay equal
constexpr double kLeastShare = 1e-3;                 // of the test images: the last digit of an accuracy

/// Images of one stored length, in both splits.
struct SameLength {
  int64_t bytes = 0;
  std::vector<int64_t> train, test;
  /// Images to decode; none where they are in memory.
  int64_t cost() const { return bytes == 0 ? 0 : static_cast<int64_t>(train.size() + test.size()); }
};

std::vector<SameLength> groups_by_length(const ImageSource& train, const ImageSource& test) {
  std::map<int64_t, SameLength> groups;
  for (const ImageSource* const source : {&train, &test}) {
    std::vector<int64_t> lengths(static_cast<size_t>(source->size()));
    tbb::parallel_for(int64_t{0}, source->size(),
                      [&](int64_t i) { lengths[static_cast<size_t>(i)] = source->encoded_bytes(i); });
    for (size_t i = 0; i < lengths.size(); ++i) {
      SameLength& group = groups[lengths[i]];
      group.bytes = lengths[i];
      (source == &train ? group.train : group.test).push_back(static_cast<int64_t>(i));
    }
  }
  std::vector<SameLength> sorted;
  for (auto& entry : groups) sorted.push_back(std::move(entry.second));
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const SameLength& a, const SameLength& b) { return a.cost() < b.cost(); });
  return sorted;
}

/// No pixels where it cannot be read.
Image small_image(const ImageSource& source, int64_t i) {
  try {
    return source.image_for(i, kSmallSide);
  } catch (const Error&) {
    return {};
  }
}

/// Of its pixels; images that cannot be read have 0.
std::vector<uint64_t> hashes(const ImageSource& source, const std::vector<int64_t>& images) {
  std::vector<uint64_t> all(images.size());
  tbb::parallel_for(size_t{0}, images.size(), [&](size_t k) {
    const Image image = small_image(source, images[k]);
    if (!image.pixels.empty())
      all[k] = random_stream("pixels", static_cast<uint64_t>(image.width * image.channels),
                             crc32_z(0, image.pixels.data(), image.pixels.size()));
  });
  return all;
}

bool same_pixels(const Image& a, const Image& b) {
  return a.height == b.height && a.width == b.width && a.channels == b.channels && a.pixels == b.pixels;
}

void compare(const ImageSource& train, const ImageSource& test, const SameLength& group, Overlap& overlap) {
  const std::vector<uint64_t> theirs = hashes(train, group.train), ours = hashes(test, group.test);
  std::unordered_map<uint64_t, int64_t> known;
  for (size_t k = 0; k < theirs.size(); ++k)
    if (theirs[k] != 0) known.try_emplace(theirs[k], group.train[k]);
  for (size_t k = 0; k < ours.size(); ++k) {
    const auto same = known.find(ours[k]);
    if (same == known.end() || !same_pixels(small_image(test, group.test[k]), small_image(train, same->second)))
      continue;
    ++overlap.found;
    if (overlap.first_test >= 0 && overlap.first_test < group.test[k]) continue;
    overlap.first_test = group.test[k];
    overlap.first_train = same->second;
  }
}

/// "file" (a path), or "image 17".
std::string name_of(const ImageSource& source, int64_t i) {
  const std::string file = source.file(i);
  return file.empty() ? "image " + std::to_string(i) : printable(file);
}

}  // namespace

Overlap find_overlap(const ImageSource& train, const ImageSource& test) {
  Overlap overlap;
  overlap.test = overlap.compared = test.size();
  int64_t budget = kFewestDecoded + (train.size() + test.size()) / kPart;
  for (const SameLength& group : groups_by_length(train, test)) {
    if (group.train.empty() || group.test.empty()) continue;
    budget -= group.cost();
    if (budget >= 0)
      compare(train, test, group, overlap);
    else
      overlap.compared -= static_cast<int64_t>(group.test.size());
  }
  return overlap;
}

std::string overlap_warning(const ImageSource& train, const ImageSource& test) {
  const Overlap overlap = find_overlap(train, test);
  if (overlap.found == 0 || static_cast<double>(overlap.found) < kLeastShare * static_cast<double>(overlap.compared))
    return "";
  const std::string of = overlap.compared == overlap.test ? counted(overlap.test, "test image")
                                                          : "the " + std::to_string(overlap.compared) +
                                                                " compared of " + counted(overlap.test, "test image");
  return "warning: " + std::to_string(overlap.found) + " of " + of + (overlap.found == 1 ? " is" : " are") +
         " among the training images, pixel for pixel (the first: " + name_of(test, overlap.first_test) + " is " +
         name_of(train, overlap.first_train) +
         "): accuracies will be too good. Remedy: remove them from one of the two; tacit duplicates lists them";
}

}  // namespace tacit::ssl
