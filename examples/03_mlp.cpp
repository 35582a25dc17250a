// A network from its parts: two Linear layers learn which of two spirals a point lies on. A loop of four lines trains
// it: loss, zero_grad, backward, step. Then it is asked about every point of the plane.
//   example_03_mlp [STEPS]
#include <cmath>
#include <cstdio>

#include "tacit.h"

using namespace tacit;

namespace {

/// A module is a value with its members listed once, in visit().
class Spirals : public nn::Module {
 public:
  Spirals() : fc1_(2, 64), fc2_(64, 64), fc3_(64, 2) { nn::initialize(*this, 0); }
  Variable operator()(const Variable& x) const { return fc3_(gelu(fc2_(gelu(fc1_(x))))); }
  void visit(nn::Visitor& v) override {
    v("fc1", fc1_);
    v("fc2", fc2_);
    v("fc3", fc3_);
  }

 private:
  nn::Linear fc1_, fc2_, fc3_;
};

/// Points (n, 2) and which spiral each is on.
std::pair<Tensor, Tensor> points(int64_t n, uint64_t stream) {
  Random random(0, stream);
  std::vector<float> x;
  std::vector<int64_t> label;
  for (int64_t i = 0; i < n; ++i) {
    label.push_back(i % 2);
    const double turn = random.uniform(0.3, 1.6) * 6.2831853, phase = label.back() == 0 ? 0 : 3.14159265;
    x.push_back(static_cast<float>(turn / 10 * std::cos(turn + phase) + random.uniform(-0.03, 0.03)));
    x.push_back(static_cast<float>(turn / 10 * std::sin(turn + phase) + random.uniform(-0.03, 0.03)));
  }
  return {Tensor::from(x, {n, 2}), Tensor::from(label, {n})};
}

double accuracy(const Spirals& net, const std::pair<Tensor, Tensor>& data) {
  const NoGrad no_grad;
  return mean(equal(argmax(net(data.first).value()), data.second).to(f32)).item();
}

}  // namespace

int main(int argc, char** argv) try {
  const int64_t steps = argc > 1 ? std::stoll(argv[1]) : 1000;
  const auto train = points(400, 1), test = points(400, 2);
  Spirals net;
  optim::AdamW optimizer(net, {.lr = 3e-3, .weight_decay = 1e-3});
  for (int64_t step = 0; step < steps; ++step) {
    const Variable loss = cross_entropy(net(train.first), train.second);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    if (step % 200 == 0 || step + 1 == steps)
      std::printf("step %4lld  loss %.4f  accuracy %.3f on train, %.3f on points it never saw\n",
                  static_cast<long long>(step), loss.item(), accuracy(net, train), accuracy(net, test));
  }
  // The plane from -1 to 1, as the network divides it.
  constexpr int64_t kRows = 24, kColumns = 56;
  std::vector<float> grid;
  for (int64_t r = 0; r < kRows; ++r)
    for (int64_t c = 0; c < kColumns; ++c) {
      grid.push_back(2 * static_cast<float>(c) / (kColumns - 1) - 1);
      grid.push_back(1 - 2 * static_cast<float>(r) / (kRows - 1));
    }
  const NoGrad no_grad;
  const auto side = argmax(net(Tensor::from(grid, {kRows * kColumns, 2})).value()).to_vector<int64_t>();
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kColumns; ++c) std::putchar(side[static_cast<size_t>(r * kColumns + c)] == 0 ? '.' : '#');
    std::putchar('\n');
  }
} catch (const std::exception& e) {
  std::fprintf(stderr, "error: %s\n", e.what());
  return 1;
}
