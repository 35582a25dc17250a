#include "bench/cases.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb/stb_image_write.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <sstream>

#include "autograd/product_dtype.h"
#include "ssl/data/decode.h"
#include "tacit.h"

namespace tacit::bench {
namespace {

// Images do not matter for speed; they only must not be zeros or NaN.
Tensor random_images(int64_t n, int64_t size, int64_t channels, uint64_t stream) {
  return Tensor::normal({n, size, size, channels}, 0, stream);
}

/// Forward and backward pass of an encoder.
Case encoder_step(const nn::EncoderOptions& options, int64_t batch) {
  auto encoder = std::make_shared<nn::Encoder>(nn::make_encoder(options));
  const Tensor x = random_images(batch, options.image_size, 3, 1);
  return {batch, [encoder, x] {
            encoder->zero_grad();
            const Variable features = (*encoder)(x);
            mean(square(features)).backward();
          }};
}

template <class Optimizer>
Case simclr_step(const nn::EncoderOptions& encoder, int64_t batch, double temperature, double lr) {
  auto model = std::make_shared<ssl::SimCLR>(nn::make_encoder(encoder), ssl::SimCLROptions{.temperature = temperature});
  auto optimizer = std::make_shared<Optimizer>(*model, typename Optimizer::Options{.lr = lr});
  const std::vector<Tensor> views = {random_images(batch, encoder.image_size, encoder.channels, 1),
                                     random_images(batch, encoder.image_size, encoder.channels, 2)};
  return {batch, [model, optimizer, views] {
            const Variable loss = model->loss(views, {});
            optimizer->zero_grad();
            loss.backward();
            optimizer->step();
          }};
}

/// MAE with that share of its patches hidden: 64 at 32 pixels, 196 at 224.
Case mae_step(int64_t batch, double mask_ratio, const ssl::MAEDecoderOptions& decoder,
              const nn::EncoderOptions& encoder = {.name = "vit_tiny"}) {
  auto model = std::make_shared<ssl::MAE>(nn::make_encoder(encoder),
                                          ssl::MAEOptions{.mask_ratio = mask_ratio, .decoder = decoder});
  auto optimizer = std::make_shared<optim::AdamW>(*model, optim::AdamWOptions{.lr = 1e-3});
  const Tensor x = random_images(batch, encoder.image_size, 3, 1);
  return {batch, [model, optimizer, x] {
            const Variable loss = model->loss({x}, {});
            optimizer->zero_grad();
            loss.backward();
            optimizer->step();
          }};
}

/// Drawing and applying SimCLR's views of photographs; one thread.
Case augment_step(int64_t size) {
  const int64_t side = size == 32 ? 32 : 256, n = 64;
  auto images = std::make_shared<std::vector<ssl::Image>>();
  Random pixels(0, 1);
  for (int64_t i = 0; i < n; ++i) {
    ssl::Image image{side, side, 3, std::vector<uint8_t>(static_cast<size_t>(side * side * 3))};
    for (uint8_t& p : image.pixels) p = static_cast<uint8_t>(pixels.below(256));
    images->push_back(std::move(image));
  }
  const ssl::ViewPolicy policy = ssl::augmentation("simclr", size, 3)[0];
  auto out = std::make_shared<std::vector<float>>(static_cast<size_t>(size * size * 3));
  return {n, [=] {
            for (int64_t i = 0; i < n; ++i) {
              const ssl::Image& image = (*images)[static_cast<size_t>(i)];
              Random random(0, random_stream("bench", static_cast<uint64_t>(i)));
              ssl::apply_view(image, ssl::draw_view(policy, image.height, image.width, random), policy, size, 3,
                              out->data());
            }
          }};
}

/// A picture of 500 x 375 pixels with the large shapes and the grain of a photograph.
ssl::Image made_up_photograph(uint64_t stream) {
  constexpr int64_t kHeight = 375, kWidth = 500, kCell = 25;
  Random random(0, random_stream("photograph", stream));
  std::vector<double> shades((kHeight / kCell + 2) * (kWidth / kCell + 2) * 3);
  for (double& shade : shades) shade = random.uniform(20, 235);
  ssl::Image image{kHeight, kWidth, 3, std::vector<uint8_t>(kHeight * kWidth * 3)};
  for (int64_t i = 0; i < kHeight * kWidth * 3; ++i) {
    const int64_t c = i % 3, x = i / 3 % kWidth, y = i / 3 / kWidth;
    const auto shade = [&](int64_t dy, int64_t dx) {
      return shades[static_cast<size_t>(((y / kCell + dy) * (kWidth / kCell + 2) + x / kCell + dx) * 3 + c)];
    };
    const double u = static_cast<double>(x % kCell) / kCell, v = static_cast<double>(y % kCell) / kCell;
    const double smooth =
        (shade(0, 0) * (1 - u) + shade(0, 1) * u) * (1 - v) + (shade(1, 0) * (1 - u) + shade(1, 1) * u) * v;
    image.pixels[static_cast<size_t>(i)] = static_cast<uint8_t>(smooth + random.uniform(-10, 10));
  }
  return image;
}

/// 16 JPEGs of 500 x 375 pixels: decoding alone, or, decoded before, resizing to the plain view of 224 pixels; one
/// thread.
Case jpeg_step(bool decode) {
  constexpr int64_t kFiles = 16;
  auto files = std::make_shared<std::vector<std::string>>(kFiles);
  auto images = std::make_shared<std::vector<ssl::Image>>();
  for (int64_t i = 0; i < kFiles; ++i) {
    const ssl::Image image = made_up_photograph(static_cast<uint64_t>(i));
    const auto append = [](void* to, void* data, int size) {
      static_cast<std::string*>(to)->append(static_cast<const char*>(data), static_cast<size_t>(size));
    };
    std::string& file = (*files)[static_cast<size_t>(i)];
    stbi_write_jpg_to_func(append, &file, static_cast<int>(image.width), static_cast<int>(image.height), 3,
                           image.pixels.data(), 90);
    images->push_back(ssl::decode_image(file, "a made-up photograph", 1 << 20));
  }
  if (decode)
    return {kFiles, [=] {
              for (const std::string& file : *files) ssl::decode_image(file, "", 1 << 20);
            }};
  const ssl::ViewPolicy policy = ssl::augmentation("simclr", 224, 3)[0];
  auto out = std::make_shared<std::vector<float>>(224 * 224 * 3);
  return {kFiles, [=] {
            for (const ssl::Image& image : *images) ssl::plain_view(image, policy, 224, 3, out->data());
          }};
}

/// The numbers of "KIND-1-2-3-REST", and REST.
template <size_t N>
std::pair<std::array<int64_t, N>, std::string> numbers_in(const std::string& name) {
  std::istringstream text(name);
  std::string word, rest;
  std::getline(text, word, '-');
  std::array<int64_t, N> numbers{};
  for (int64_t& n : numbers) {
    std::getline(text, word, '-');
    n = text ? std::atoll(word.c_str()) : 0;
    TACIT_CHECK(n > 0, "[bench] '", name, "' needs ", N, " positive numbers, separated by -");
  }
  std::getline(text, rest);
  return {numbers, rest};
}

/// One pass of one convolution of 64 images.
Case conv_step(const std::string& name) {
  const auto [numbers, pass_] = numbers_in<5>(name);
  const auto [c, k, side, taps, stride] = numbers;
  const std::string pass = pass_;
  const Conv2dOptions options{.stride = stride, .padding = taps / 2};
  const Tensor x = random_images(64, side, c, 1), w = Tensor::normal({k, taps, taps, c}, 0, 2);
  const auto [window, shape] = conv2d_geometry(x.shape(), w.shape(), options);
  const Tensor dy = Tensor::normal(shape, 0, 3);
  auto result = std::make_shared<Tensor>();
  return {64, [=, window = window] {
            *result = pass == "y"    ? conv2d(x, w, options)
                      : pass == "dx" ? conv2d_dx(x.shape(), dy, w, window)
                                     : conv2d_dw(w.shape(), x, dy, window);
          }};
}

/// What nn::Linear's forward pass gives the backend, without a bias: M rows of K numbers, N numbers out of each. Under
/// bf16 both factors are bf16 before the clock starts.
Case gemm_step(const std::string& name) {
  const auto [m, n, k] = numbers_in<3>(name).first;
  const Tensor x = product_factor(Tensor::normal({m, k}, 0, 1)), w = product_factor(Tensor::normal({n, k}, 0, 2));
  auto result = std::make_shared<Tensor>();
  return {m, [=] { *result = linear_rows(x, w, Tensor()); }, 2.0 * static_cast<double>(m * n * k)};
}

/// Forward and backward pass of attention among T tokens in H heads of D numbers, on a projection that packs q, k and
/// v, as nn::MultiheadAttention has it. The products counted are the two of the forward pass and five of the backward
/// pass.
Case attention_step(const std::string& name) {
  const auto [b, h, t, d] = numbers_in<4>(name).first;
  const Variable qkv = Variable::leaf(product_factor(Tensor::normal({b, t, 3 * h * d}, 0, 1)));
  const Tensor dy = product_factor(Tensor::normal({b, t, h * d}, 0, 2));
  return {b,
          [=, h = h] {
            qkv.zero_grad();
            self_attention(qkv, h).backward(dy);
          },
          7 * 2.0 * static_cast<double>(b * h * t * t * d)};
}

}  // namespace

Case make_case(const std::string& name) {
  if (name == "resnet18") return encoder_step({.name = "resnet18"}, 64);
  if (name == "resnet18-256") return encoder_step({.name = "resnet18"}, 256);
  if (name == "vit-micro") return encoder_step({.name = "vit_micro"}, 64);
  if (name == "vit-tiny") return encoder_step({.name = "vit_tiny"}, 64);
  if (name == "vit-tiny-17") return encoder_step({.name = "vit_tiny", .patch_size = 8}, 64);
  if (name == "vit-tiny-224") return encoder_step({.name = "vit_tiny", .image_size = 224}, 16);
  if (name == "simclr-resnet18") return simclr_step<optim::SGD>({.name = "resnet18"}, 256, 0.5, 0.06);
  if (name == "simclr-resnet18-512") return simclr_step<optim::SGD>({.name = "resnet18"}, 512, 0.5, 0.06);
  if (name == "simclr-small-cnn")
    return simclr_step<optim::AdamW>({.name = "small_cnn", .image_size = 28, .channels = 1}, 256, 0.1, 2e-3);
  if (name == "mae") return mae_step(256, 0.75, {.dim = 128, .depth = 2, .heads = 4});
  if (name == "mae-base-224")
    return mae_step(64, 0.75, {.dim = 512, .depth = 8, .heads = 16},
                    {.name = "vit_base", .image_size = 224, .patch_size = 16});
  if (name.rfind("mae-", 0) == 0)
    return mae_step(64, std::stod(name.substr(4)) / 100, {.dim = 64, .depth = 1, .heads = 4});
  if (name.rfind("augment-", 0) == 0) return augment_step(std::stoll(name.substr(8)));
  if (name == "jpeg-decode" || name == "jpeg-resize") return jpeg_step(name == "jpeg-decode");
  if (name.rfind("conv-", 0) == 0) return conv_step(name);
  if (name.rfind("gemm-", 0) == 0) return gemm_step(name);
  if (name.rfind("attention-", 0) == 0) return attention_step(name);
  throw Error("[bench] unknown case '" + name +
              "'; known: resnet18, resnet18-256, vit-micro, vit-tiny, vit-tiny-17, vit-tiny-224, simclr-resnet18, "
              "simclr-resnet18-512, simclr-small-cnn, mae, mae-75, mae-base-224, augment-32, augment-224, jpeg-decode, "
              "jpeg-resize, conv-64-64-32-3-1-y, gemm-12608-2304-768, attention-64-12-197-64");
}

double seconds_of(const std::function<void()>& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  default_device().backend().synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int64_t steps_at_once(const Case& work) {
  if (work.operations == 0) return 1;
  constexpr double kSeconds = 0.02;
  constexpr int64_t kMost = 10'000;
  int64_t steps = 1;
  for (;;) {  // the first steps are slow: memory, plans, clocks
    const double seconds = seconds_of([&] {
      for (int64_t i = 0; i < steps; ++i) work.step();
    });
    if (seconds >= kSeconds || steps >= kMost) return steps;
    steps = std::min(
        {kMost, 4 * steps, static_cast<int64_t>(std::ceil(1.2 * kSeconds / seconds * static_cast<double>(steps)))});
  }
}

}  // namespace tacit::bench
