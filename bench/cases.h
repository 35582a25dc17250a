// The work that bench_train and bench_roofline time: whole training steps and parts of them, by name.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace tacit::bench {

struct Case {
  int64_t images;              ///< source images a step
  std::function<void()> step;  ///< one whole step
  double operations = 0;       ///< of floating point, a step; where it is counted, steps are brief: time many at once
};

/// On the default device. Error for an unknown name, listing those there are: resnet18 (forward + backward, batch 64),
/// resnet18-256, vit-micro, vit-tiny (batch 64, 32 pixels, patch 4), vit-tiny-17 (patch 8), vit-tiny-224 (batch 16,
/// patch 16), simclr-resnet18 (256 images x 2 views, loss and SGD), simclr-resnet18-512, simclr-small-cnn (demo), mae
/// (ViT-T, 3/4 of 64 patches hidden, batch 256, decoder of 2 blocks), mae-base-224 (ViT-B/16, the paper's decoder,
/// batch 64), mae-N (batch 64, N % hidden, one narrow block: how the cost falls with N), augment-32, augment-224
/// (SimCLR's views of 64 images on one thread), jpeg-decode, jpeg-resize (16 JPEGs of 500 x 375 pixels on one thread:
/// decoding, and resizing what was decoded to 224), conv-C-K-H-T-S-PASS (C to K channels on H x H, T x T taps, stride
/// S, batch 64; PASS y, dx or dw), gemm-M-N-K (a linear layer's product: M x K by K x N), attention-B-H-T-D (B samples
/// of T tokens, H heads of D numbers, forward + backward). Both of these take bf16 factors under PrecisionScope bf16.
Case make_case(const std::string& name);

/// Wall time of f, with what it leaves the default device to do.
double seconds_of(const std::function<void()>& f);

/// How many steps to time at once, so that waiting for the device is a small part: 1 where operations are not counted,
/// else as many as take 20 ms. Runs the step a few times.
int64_t steps_at_once(const Case&);

}  // namespace tacit::bench
