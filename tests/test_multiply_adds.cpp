// Multiply-adds: counted from shapes, of ops one by one and of networks whose numbers are published.
#include <doctest/doctest.h>

#include "autograd/ops.h"
#include "nn/encoder.h"
#include "nn/vit.h"
#include "tensor/multiply_adds.h"

namespace {

using namespace tacit;

template <class F>
int64_t counted(F&& f) {
  const MultiplyAdds counter;
  f();
  return counter.count();
}

int64_t of_encoder(const std::string& name, int64_t size) {
  nn::Encoder encoder = nn::make_encoder({.name = name, .image_size = size});
  return nn::multiply_adds(encoder, size, 3);
}

}  // namespace

TEST_CASE("multiply-adds: an output is a sum of products; backward passes have as many for each gradient") {
  const Tensor a = Tensor::ones({5, 2, 3, 4}), b = Tensor::ones({4, 6});
  CHECK(counted([&] { matmul(a, b); }) == 5 * 2 * 3 * 6 * 4);
  CHECK(counted([&] { add(a, a), softmax(a), sum(a), l2_normalize(a); }) == 0);

  const Variable x = Variable::leaf(Tensor::ones({2, 9, 9, 4})), w = Variable::leaf(Tensor::ones({6, 3, 3, 2}));
  Variable y;
  CHECK(counted([&] { y = conv2d(x, w, {.stride = 2, .padding = 1, .groups = 2}); }) == 2 * 5 * 5 * 6 * 3 * 3 * 2);
  CHECK(counted([&] { sum(y).backward(); }) == 2 * (2 * 5 * 5 * 6 * 3 * 3 * 2));

  const Variable rows = Variable::leaf(Tensor::ones({7, 4})), weight = Variable::leaf(Tensor::ones({3, 4})),
                 bias = Variable::leaf(Tensor::ones({3})), back = Variable::leaf(Tensor::ones({4, 3})),
                 last = Variable::leaf(Tensor::ones({4}));
  for (const bool biased : {true, false}) {
    CHECK(counted([&] { y = linear(rows, weight, biased ? bias : Variable()); }) == 7 * 4 * 3);
    CHECK(counted([&] { sum(y).backward(); }) == 2 * 7 * 4 * 3);
  }
  CHECK(counted([&] { y = feed_forward(rows, weight, bias, back, last); }) == 2 * 7 * 4 * 3);
  CHECK(counted([&] { sum(y).backward(); }) == 4 * 7 * 4 * 3);

  const Variable q = Variable::leaf(Tensor::ones({2, 3, 5, 8})), k = Variable::leaf(Tensor::ones({2, 3, 7, 8})),
                 v = Variable::leaf(Tensor::ones({2, 3, 7, 4}));
  CHECK(counted([&] { y = attention(q, k, v); }) == 2 * 3 * 5 * 7 * (8 + 4));
  CHECK(counted([&] { sum(y).backward(); }) == 2 * 3 * 5 * 7 * (3 * 8 + 2 * 4));
}

TEST_CASE("multiply-adds: counters within one another all count, and none goes on after its end") {
  const Tensor a = Tensor::ones({2, 3}), b = Tensor::ones({3, 4});
  const MultiplyAdds outer;
  CHECK(counted([&] { matmul(a, b); }) == 24);
  CHECK(outer.count() == 24);
  matmul(a, b);
  CHECK(outer.count() == 48);
}

// torchvision's weights say 1.814, 4.089 and (ViT-B/16) 17.564 "GFLOPS", which are multiply-adds; so does
// torch.utils.flop_counter. Encoders have no classifier, the rest is equal to the last one.
TEST_CASE("multiply-adds of ResNet-18 at 224 pixels are torchvision's without the classifier") {
  CHECK(of_encoder("resnet18", 224) == 1'814'073'344 - 512 * 1000);
}
TEST_CASE("multiply-adds of ResNet-50 at 224 pixels are torchvision's without the classifier") {
  CHECK(of_encoder("resnet50", 224) == 4'089'184'256 - 2048 * 1000);
}

// With q kᵀ and its product with v, as torchvision counts; counters that do not look into attention say 16.85.
TEST_CASE("multiply-adds of ViT-B/16 at 224 pixels are timm's without the classifier, attention included") {
  const auto of_depth = [](int64_t depth) {
    nn::Encoder encoder(nn::ViT({.dim = 768, .depth = depth, .heads = 12}));
    return nn::multiply_adds(encoder, 224, 3);
  };
  const int64_t one = of_depth(1), block = of_depth(2) - one;
  CHECK(one - block == 196 * 768 * 768);  // the patch embedding
  CHECK(one + 11 * block == 17'563'060'224);
}
