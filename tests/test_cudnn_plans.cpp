// cuDNN's plans for the convolutions of the encoders, as its heuristic chooses them for an H200: no GPU is needed to
// ask (cuDNN 9.8). Whether they run, and what they give, is the other tests' business, on a GPU.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "backends/cuda/cudnn_plan.h"

using namespace tacit;
using tacit::cuda::Convolution;
using tacit::cuda::ConvolutionPlan;
using tacit::cuda::CudnnDescriptor;
using Product = Convolution::Product;

#if CUDNN_VERSION >= 90800
namespace {

constexpr char kH200[] = R"({"deviceVer": 900, "driverVer": 13000, "cudaDeviceId": 0, "deviceName": "NVIDIA H200",
  "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
  "multiProcessorCount": 132, "warpSize": 32, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
  "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024,
  "maxThreadsPerSM": 2048, "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1, "totalGlobalMem": 150754820096,
  "smClockRateKHz": 1980000, "memClockRateKHz": 3201000, "l2CacheSize": 62914560})";

/// One layer of an encoder.
struct Layer {
  int64_t c, k, side, taps, stride;
};
// Of ResNet-18 at 32 pixels and of ResNet-50's bottlenecks, the stems at 32 and 224 pixels, and small_cnn's first.
constexpr Layer kLayers[] = {{64, 64, 32, 3, 1},  {64, 128, 32, 3, 2}, {64, 128, 32, 1, 2}, {128, 128, 16, 3, 1},
                             {256, 256, 8, 3, 1}, {256, 512, 8, 3, 2}, {512, 512, 4, 3, 1}, {3, 64, 32, 3, 1},
                             {3, 64, 224, 7, 2},  {256, 64, 56, 1, 1}, {1, 32, 28, 3, 2}};

Convolution convolution(const Layer& l, Product product, DType dtype, bool tensor_cores, int64_t images = 256) {
  const int64_t padding = l.taps / 2, out = (l.side + 2 * padding - l.taps) / l.stride + 1;
  Window window;
  window.kernel_h = window.kernel_w = l.taps;
  window.stride_h = window.stride_w = l.stride;
  window.padding_h = window.padding_w = padding;
  return {product,
          dtype,
          tensor_cores,
          16,
          {images, l.side, l.side, l.c},
          {l.k, l.taps, l.taps, l.c},
          {images, out, out, l.k},
          window};
}

struct Card {
  Card() : properties(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR) {
    properties.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, sizeof kH200, kH200);
    REQUIRE(properties.finalize());
  }
  std::optional<ConvolutionPlan> find(const Convolution& c) const {
    return ConvolutionPlan::find(c, {.properties = &properties});
  }
  CudnnDescriptor properties;
};

constexpr Product kProducts[] = {Product::Y, Product::Dx, Product::Dw};

}  // namespace

TEST_CASE("cuDNN has a plan for every convolution of the encoders, in every precision") {
  const Card card;
  struct {
    const char* name;
    DType dtype;
    bool tensor_cores;
  } constexpr kPrecisions[] = {{"fp32", f32, false}, {"tf32", f32, true}, {"bf16", bf16, true}};
  for (const auto& precision : kPrecisions)
    for (const Layer& layer : kLayers)
      for (const Product product : kProducts) {
        const std::string what = std::string(precision.name) + " " + std::to_string(layer.c) + "-" +
                                 std::to_string(layer.k) + "-" + std::to_string(layer.side) + "-" +
                                 std::to_string(layer.taps) + "-" + std::to_string(layer.stride) + " product " +
                                 std::to_string(static_cast<int>(product));
        CAPTURE(what);
        const auto plan = card.find(convolution(layer, product, precision.dtype, precision.tensor_cores));
        REQUIRE(plan.has_value());
        CHECK(plan->workspace_bytes() <= int64_t{1} << 30);
      }
}

TEST_CASE("cuDNN: plans repeat, and know alignments, groups and windows") {
  const Card card;
  const Convolution usual = convolution(kLayers[0], Product::Y, bf16, true);
  CHECK(card.find(usual)->engine() == card.find(usual)->engine());
  Convolution odd = usual;
  odd.alignment = 2;
  CHECK(card.find(odd).has_value());
  Convolution grouped = convolution({64, 64, 32, 3, 1}, Product::Dw, bf16, true);
  grouped.w[3] = 16;
  CHECK(card.find(grouped).has_value());
  Convolution wrong = usual;
  wrong.y[1] = 31;
  CHECK_FALSE(card.find(wrong).has_value());
}

// f32 without tensor cores must not get an engine that rounds its factors to tf32.
TEST_CASE("cuDNN: f32 is f32") {
  const Card card;
  for (const Product product : kProducts) {
    const auto strict = card.find(convolution(kLayers[0], product, f32, false)),
               loose = card.find(convolution(kLayers[0], product, f32, true));
    REQUIRE((strict && loose));
    CHECK(strict->engine() != loose->engine());
  }
}
#else
TEST_CASE("cuDNN's plans") { std::printf("skipped: test_cudnn_plans: it needs cuDNN 9.8\n"); }
#endif
