// tacit against PyTorch and timm: attention, Vision Transformers with every gradient, MAE's position embedding.
// What they computed is in fixtures/results_vit.json; fixtures/vit.py has the same names in the same order.
#include <doctest/doctest.h>

#include "autograd/ops.h"
#include "nn/position_embedding.h"
#include "nn/vit.h"
#include "tests/fixtures.h"

using namespace tacit;
using namespace tacit::testing;

TEST_CASE("PyTorch: scaled_dot_product_attention and its gradients") {
  in_both(1e-12, 1e-5, [](DType t, double tolerance) {
    struct Case {
      const char* name;
      int64_t queries, keys, size, values;
      double scale;
    };
    for (const Case& c : {Case{"attention", 5, 7, 4, 6, 0}, Case{"attention long", 130, 333, 8, 8, 0.2}}) {
      const std::string name = c.name;
      const Variable q = leaf(name + " q", {2, 3, c.queries, c.size}, t),
                     k = leaf(name + " k", {2, 3, c.keys, c.size}, t),
                     v = leaf(name + " v", {2, 3, c.keys, c.values}, t);
      check_backward(name, attention(q, k, v, c.scale), {{"q", q}, {"k", k}, {"v", v}}, tolerance);
    }
  });
}

TEST_CASE("timm: VisionTransformer, forward and every gradient, for both kinds of pooling") {
  in_both(1e-10, 2e-4, [](DType t, double tolerance) {
    for (const bool cls : {true, false}) {
      const std::string name = cls ? "vit cls" : "vit mean";
      nn::ViT net({.dim = 24,
                   .depth = 3,
                   .heads = 2,
                   .patch = 4,
                   .image_h = cls ? 12 : 8,
                   .image_w = cls ? 8 : 20,
                   .pool = cls ? nn::Pool::Cls : nn::Pool::Mean});
      draw_weights(net, t);
      const nn::ViTOptions& o = net.options();
      check_backward(name, net(draw(name + " x", {3, o.image_h, o.image_w, 3}, t)), {}, tolerance);
      check_gradients(name, net, tolerance);
    }
  });
}

TEST_CASE("MAE: the fixed position embedding") {
  check_fixture("sincos 4x4", nn::sincos_position_embedding(16, 4, 4, true), 1e-6);
  check_fixture("sincos 3x5", nn::sincos_position_embedding(24, 3, 5, true), 1e-6);
}
