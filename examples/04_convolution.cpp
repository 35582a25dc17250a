// A convolution: what it computes, on a picture that can be looked at; that it is a product of matrices; what ways of
// computing it cost; and a small network of convolutions that learns to tell shapes apart.
//   example_04_convolution [STEPS]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>

#include "tacit.h"

using namespace tacit;

namespace {

/// Maps (H, W) in [0, 1] side by side, as shades of ten characters.
void print(const std::vector<Tensor>& maps) {
  const Tensor all = concatenate(maps, 1);
  const std::vector<float> pixels = all.to_vector<float>();
  for (int64_t i = 0; i < all.numel(); ++i) {
    std::putchar(" .:-=+*#%@"[static_cast<int>(std::clamp(pixels[static_cast<size_t>(i)], 0.f, 1.f) * 9.99f)]);
    if ((i + 1) % all.size(1) == 0) std::puts("|");
  }
}

/// A shape of the synthetic data, gray, every second row (characters are twice as high as wide): (1, 16, 32, 1).
Tensor picture() {
  std::vector<float> pixels(32 * 32);
  ssl::plain_view(ssl::open_data({"synthetic:10"}, ssl::Split::All)->image(4), {}, 32, 1, pixels.data());
  return Tensor::from(pixels, {1, 32, 32, 1}).slice(1, 0, 32, 2);
}

/// 3x3 convolution with padding 1 as a product; x (N, H, W, C), w (K, 3, 3, C). Each output pixel has a row of columns.
Tensor im2col_product(const Tensor& x, const Tensor& w) {
  const int64_t n = x.size(0), height = x.size(1), width = x.size(2), c = x.size(3), k = w.size(0);
  const Tensor padded = Tensor::zeros({n, height + 2, width + 2, c});
  padded.slice(1, 1, height + 1).slice(2, 1, width + 1).copy_(x);
  std::vector<Tensor> taps;
  for (int64_t r = 0; r < 3; ++r)
    for (int64_t s = 0; s < 3; ++s) taps.push_back(padded.slice(1, r, r + height).slice(2, s, s + width));
  const Tensor columns = concatenate(taps, 3).reshape({n * height * width, 9 * c});
  return matmul(columns, w.reshape({k, 9 * c}).t()).reshape({n, height, width, k});
}

/// The best of five runs, in milliseconds.
double milliseconds(const std::function<Tensor()>& f) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    best = std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

/// Two convolutions, each with batch norm, ReLU and a pool that halves the map; the mean over the map; a linear layer.
class ConvNet : public nn::Module {
 public:
  ConvNet() { nn::initialize(*this, 0); }
  Variable operator()(const Variable& images) {
    const Variable h1 = max_pool2d(bn1_.relu(conv1_(images)));  // (N, 32, 32, 1) -> (N, 16, 16, 16)
    const Variable h2 = max_pool2d(bn2_.relu(conv2_(h1)));      // -> (N, 8, 8, 32)
    return fc_(global_avg_pool(h2));                            // -> (N, 10)
  }
  void visit(nn::Visitor& v) override {
    v("conv1", conv1_), v("bn1", bn1_), v("conv2", conv2_), v("bn2", bn2_), v("fc", fc_);
  }

 private:
  nn::Conv2d conv1_{1, 16, 5, {.padding = 2}}, conv2_{16, 32, 5, {.padding = 2}};
  nn::BatchNorm2d bn1_{16}, bn2_{32};
  nn::Linear fc_{32, 10};
};

}  // namespace

int main(int argc, char** argv) try {
  const Tensor image = picture();
  const std::vector<float> filters = {-1, 0, 1, -2, 0, 2, -1, 0, 1, -1, -2, -1, 0, 0, 0, 1, 2, 1};
  const Tensor edges = Tensor::from(filters, {2, 3, 3, 1});  // left dark and right bright; above dark and below bright
  const Tensor found = abs(conv2d(image, edges, {.padding = 1}).select(0, 0)) / 3.0;  // (16, 32, 2)
  std::printf("a picture, where it changes from left to right, and where from top to bottom:\n");
  print({image.select(0, 0).select(2, 0), found.select(2, 0), found.select(2, 1)});

  const Tensor x = Tensor::normal({8, 32, 32, 32}, 0, 1), w = Tensor::normal({32, 3, 3, 32}, 0, 2);
  const Tensor y = conv2d(x, w, {.padding = 1});
  const bool equal = max_abs_difference(y, im2col_product(x, w)) < 1e-4 * amax(abs(y)).item();
  std::printf("\nconv2d is im2col and a product: %s (to 1e-4 of the largest value)\n", equal ? "yes" : "NO");
  const Tensor slow_x = x.to(Device("reference")), slow_w = w.to(Device("reference"));
  std::printf("8 images, 32 x 32, 32 to 32 channels: plain loops %.1f ms, im2col + product %.1f ms, conv2d %.2f ms\n\n",
              milliseconds([&] { return conv2d(slow_x, slow_w, {.padding = 1}); }),
              milliseconds([&] { return im2col_product(x, w); }),
              milliseconds([&] { return conv2d(x, w, {.padding = 1}); }));

  const int64_t steps = argc > 1 ? std::stoll(argv[1]) : 200;
  const auto images = [](ssl::Split split, int64_t batch) {
    return ssl::Loader(ssl::open_data({"synthetic:2500"}, split),
                       {.batch_size = batch, .channels = 1, .views = ssl::augmentation("none", 32, 1)});
  };
  ssl::Loader loader = images(ssl::Split::Train, 64);
  ConvNet net;
  optim::AdamW optimizer(net, {.lr = 5e-3});
  for (int64_t step = 0; step < steps; ++step) {
    const ssl::Batch batch = loader.next();
    const Variable loss = cross_entropy(net(batch.views[0]), batch.labels);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    if (step % 40 == 0 || step + 1 == steps)
      std::printf("step %4lld  loss %.3f  (chance %.3f)\n", static_cast<long long>(step), loss.item(), std::log(10.0));
  }
  net.eval();
  const ssl::Batch test = images(ssl::Split::Test, 500).next();
  std::printf("right on 500 new images: %.2f\n", ssl::top1_of(net(test.views[0]).value(), test.labels).item());
  return equal ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "error: %s\n", e.what());
  return 1;
}
