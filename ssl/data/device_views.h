// Views that the default device makes from 8-bit images: what is drawn on the host as plain data for
// augment_images() (tensor/ops.h), and images packed behind one another, a batch's or a whole source's.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "ssl/data/augment.h"
#include "tensor/augment_args.h"
#include "tensor/tensor.h"

namespace tacit::ssl {

/// Where an image lies among packed ones.
struct PackedImage {
  int64_t offset = 0, height = 0, width = 0, channels = 0;
};

/// The view as the device takes it; sizes in pixels. Throws Error for an image of no or too many pixels.
AugmentView augment_view(const ViewParameters&, const PackedImage&, int64_t size);
/// What the policy's views share. Throws Error unless mean and std are of `channels` channels, or empty.
AugmentPolicy augment_policy(const ViewPolicy&, int64_t channels);

/// The pixels of images one after another, (bytes) u8 on the host, each from offsets[i] on.
Tensor pack_images(const std::vector<Image>&, std::vector<int64_t>& offsets);

/// Every image of a source in the default device's memory.
struct ResidentImages {
  Tensor pixels;                    ///< (bytes) u8
  std::vector<PackedImage> images;  ///< by index
};
/// None where the source does not say that its images fit into `most_bytes`, or where one cannot be read: then images
/// are read batch by batch, which counts and names the damaged ones. for_each(n, f) calls f(0) … f(n-1), perhaps at
/// once; images may be decoded at a scale whose shorter side is at least `side`.
std::shared_ptr<const ResidentImages> resident_images(
    const ImageSource&, int64_t side, int64_t most_bytes,
    const std::function<void(int64_t, const std::function<void(int64_t)>&)>& for_each);

}  // namespace tacit::ssl
