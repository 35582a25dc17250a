// A method of your own: VICReg (Bardes, Ponce & LeCun: "VICReg: Variance-Invariance-Covariance Regularization for
// Self-Supervised Learning", ICLR 2022), which tacit does not have. One class derived from ssl::Method, proved on small
// numbers before it is trained, then judged by its neighbours before and after.
//   example_08_new_method [STEPS]
#include <cmath>
#include <cstdio>

#include "tacit.h"

using namespace tacit;

namespace {

/// 25 invariance + 25 variance + covariance of z1 and z2 (N, D), as in the paper's algorithm 1: the invariance is a
/// mean over all numbers (its equation divides by N alone); the variance is summed over the views (the official code
/// halves it).
struct VICRegLoss {
  Variable invariance, variance, covariance;
  Variable total() const { return 25.0 * invariance + 25.0 * variance + covariance; }
};

VICRegLoss vicreg(const Variable& z1, const Variable& z2) {
  const auto n = static_cast<double>(z1.size(0)), d = static_cast<double>(z1.size(1));
  const auto unbiased_variance = [&](const Variable& z) { return var(z, {0}) * (n / (n - 1)); };  // (D)
  // Each number shall vary over the batch with a deviation of at least 1 …
  const auto variance = [&](const Variable& z) { return mean(relu(1.0 - sqrt(unbiased_variance(z) + 1e-4))); };
  // … and say something else than the others: what stands beside the covariance matrix's diagonal shall be 0.
  const auto covariance = [&](const Variable& z) {
    const Variable centred = z - mean(z, {0}, true), c = matmul(transpose(centred, 0, 1), centred) / (n - 1);  // (D, D)
    return (sum(square(c)) - sum(square(unbiased_variance(z)))) / d;
  };
  return {mean(square(z1 - z2)), variance(z1) + variance(z2), covariance(z1) + covariance(z2)};
}

class VICReg : public ssl::Method {
 public:
  VICReg(nn::Encoder encoder, const std::vector<int64_t>& expander)
      : encoder_(std::move(encoder)),
        expander_(encoder_.features(), expander, {.last_bias = false, .path = "expander"}) {}

  Variable loss(const std::vector<Tensor>& views, const ssl::Progress&) override {
    const Variable h = encoder_(views[0]), z1 = expander_(h), z2 = expander_(encoder_(views[1]));
    const VICRegLoss loss = vicreg(z1, z2);
    metrics_ = {{"feature_std", ssl::feature_spread(h.value())},
                {"invariance", loss.invariance.value()},
                {"variance", loss.variance.value()},
                {"covariance", loss.covariance.value()}};
    return loss.total();
  }
  nn::Encoder& encoder() override { return encoder_; }
  Variable project(const Variable& features) override { return expander_(features); }
  /// Of one feature for all images: nothing but the variance term is left.
  ssl::Chance chance(int64_t) const override { return {2 * 25 * (1 - 0.01), 0}; }
  std::map<std::string, Tensor> metrics() const override { return metrics_; }
  void visit(nn::Visitor& v) override {
    v("encoder", encoder_);
    v("expander", expander_);
  }

 private:
  nn::Encoder encoder_;
  nn::MLP expander_;
  std::map<std::string, Tensor> metrics_;
};

/// False unless the loss is what a pencil says and its gradient what differences say.
bool proved() {
  // z1: columns (0, 2) and (0, 4); variances 2 and 8, covariance 4.  z2: columns (1, 1) and (3, 5); variances 0 and 2.
  const Tensor z1 = Tensor::from(std::vector<double>{0, 0, 2, 4}, {2, 2});
  const Tensor z2 = Tensor::from(std::vector<double>{1, 3, 1, 5}, {2, 2});
  const double invariance = (1 + 9 + 1 + 1) / 4.0;               // squares of the four differences
  const double variance = (0 + 0) / 2.0 + ((1 - 0.01) + 0) / 2;  // the one column below 1: sqrt(0 + 1e-4) is 0.01
  const double covariance = (4 * 4 + 4 * 4) / 2.0;
  const double by_hand = 25 * invariance + 25 * variance + covariance, by_op = vicreg(z1, z2).total().item();
  std::printf("two images by hand: %.4f, by the op: %.4f\n", by_hand, by_op);
  const std::string fault = gradcheck([](const std::vector<Variable>& in) { return vicreg(in[0], in[1]).total(); },
                                      {Tensor::normal({6, 4}, 0, 1, f64), Tensor::normal({6, 4}, 0, 2, f64)});
  std::printf("its gradient: %s\n\n", fault.empty() ? "right" : fault.c_str());
  return std::abs(by_hand - by_op) < 1e-9 && fault.empty();
}

}  // namespace

int main(int argc, char** argv) try {
  if (!proved()) return 1;
  const int64_t steps = argc > 1 ? std::stoll(argv[1]) : 120, size = 32,
                channels = 1;  // gray: shapes alone tell classes
  const auto train = ssl::open_data({"synthetic:2500"}, ssl::Split::Train);
  const auto test = ssl::open_data({"synthetic:2500"}, ssl::Split::Test);
  std::vector<ssl::ViewPolicy> views = ssl::augmentation("simclr", size, channels);
  for (ssl::ViewPolicy& v : views) v.crop_min_area = 0.4;
  ssl::Loader loader(train, {.batch_size = 128, .image_size = size, .channels = channels, .views = views});
  VICReg model(nn::make_encoder({.name = "small_cnn", .channels = channels}), {256, 128});
  optim::AdamW optimizer(model, {.lr = 4e-3});

  const ssl::PlainViews plain{.normalisation = views[0], .image_size = size, .channels = channels};
  const auto neighbours = [&](const auto& features) { return ssl::knn(features(*train), features(*test)).top1; };
  const auto learned = [&](const ssl::ImageSource& s) { return ssl::encoder_features(model.encoder(), s, plain); };
  const double before = neighbours(learned);
  for (int64_t step = 0; step < steps; ++step) {
    optimizer.set_lr(optim::warmup_cosine(step, steps / 10, steps, 4e-3));
    const Variable loss = model.loss(loader.next().views, {step, steps});
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    const auto m = model.metrics();
    if (step % 20 == 0 || step + 1 == steps)
      std::printf("step %4lld  loss %6.2f  invariance %.3f  variance %.3f  covariance %.3f\n",
                  static_cast<long long>(step), loss.item(), m.at("invariance").item(), m.at("variance").item(),
                  m.at("covariance").item());
  }
  std::printf("\nright by 20 nearest neighbours: pixels %.3f, before training %.3f, after %.3f\n",
              neighbours([&](const ssl::ImageSource& s) { return ssl::pixel_features(s, plain); }), before,
              neighbours(learned));
} catch (const std::exception& e) {
  std::fprintf(stderr, "error: %s\n", e.what());
  return 1;
}
