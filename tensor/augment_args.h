// What a backend is told to make views of images with: plain data, drawn on the host, read on the device.
// The rule: nothing here is random or chosen; draws are the caller's (ssl/data/draw.cpp), so that every device makes
// the same views.
#pragma once

#include <cstdint>

#include "tensor/view.h"

namespace tacit {

/// One view of one image. Boxes are in pixels of the source, the rest in pixels of the view.
struct AugmentView {
  int64_t offset = 0;                           ///< of the image's first byte among the packed pixels
  int32_t height = 1, width = 1, channels = 3;  ///< of the image (H, W, C), 8-bit; C is 1, 3 or 4 (RGBA, onto black)
  int32_t down = 0, right = 0;                  ///< shift before the flip; black comes in
  double top = 0, left = 0;                     ///< of the box that becomes the view
  double box_height = 1, box_width = 1;         ///< its sides, > 0
  double gamma = 1;                             ///< exponent of max(x, 1e-4); 1 = off
  double brightness = 1, contrast = 1;          ///< factors; 1 = off
  double saturation = 1, hue = 0;               ///< factor, and a turn of -0.5 … 0.5; 1 and 0 = off
  double sigma = 0;                             ///< of the Gaussian blur; 0 = off
  uint8_t order[4] = {0, 1, 2, 3};              ///< of brightness, contrast, saturation, hue
  uint8_t flip = 0, jitter = 0, gray = 0, solarize = 0;
  int32_t erase_top = 0, erase_left = 0, erase_height = 0, erase_width = 0;  ///< height 0 = off
  uint64_t erase_seed = 0, erase_stream = 0;  ///< value i of the box is made of words 2i and 2i + 1
};

/// What all views of a call share.
struct AugmentPolicy {
  bool antialias = true, bicubic = false;  ///< of the resampling
  bool gray_first = false;                 ///< before the colour jitter instead of after it
  bool lightness = false;                  ///< made in RGB; the view is one channel, (L - 50) / 50 of CIE Lab
  bool normalise = false;                  ///< (x - mean) * scale of each channel, last
  bool erase_noise = true;                 ///< normals; else zeros
  float mean[3] = {0, 0, 0}, scale[3] = {1, 1, 1};
};

/// out (B, S, S, C) f32, C 1 or 3; pixels (bytes) u8; views u8, B AugmentViews one after another. All dense.
struct AugmentArgs {
  View out, pixels, views;
  AugmentPolicy policy;
  int64_t taps = 1;    ///< room for the weights of one position of any axis of any image (augment::TapAxis::room)
  bool blurs = false;  ///< some sigma is not 0
};

}  // namespace tacit
