#include "nn/init.h"

#include <cmath>

#include "tensor/random.h"

namespace tacit::nn {

namespace {
thread_local bool deferred = false;
}

DeferInit::DeferInit() : before_(std::exchange(deferred, true)) {}
DeferInit::~DeferInit() { deferred = before_; }
bool DeferInit::active() { return deferred; }

Fans fans_of(const Shape& shape, Layout layout) {
  if (layout == Layout::ConvOHWI) {
    TACIT_CHECK(shape.rank() == 4, "[init] a convolution's weight has rank 4, got ", shape);
    const int64_t window = shape[1] * shape[2];
    return {window * shape[3], window * shape[0]};
  }
  TACIT_CHECK(shape.rank() == 2, "[init] fans are defined for weights of rank 2 (out, in), got shape ", shape);
  return {shape[1], shape[0]};
}

Init Init::scaled_by(Scale scale) const {
  Init result = *this;
  result.scale_ = scale;
  return result;
}

Init Init::constant(double value) { return {Kind::Constant, value, 0}; }
Init Init::uniform(double low, double high) { return {Kind::Uniform, low, high}; }
Init Init::normal(double mean, double std) { return {Kind::Normal, mean, std}; }

Init Init::truncated_normal(double std, double low, double high) {
  TACIT_CHECK(std > 0 && low <= 0 && high >= 0 && high - low >= std / 2, "[init] truncated_normal with std ", std,
              " between ", low, " and ", high, "; the bounds must enclose 0 and be at least std / 2 apart");
  Init result(Kind::Truncated, 0, std);
  result.low_ = low;
  result.high_ = high;
  return result;
}

Init Init::kaiming_uniform(Fan fan, double gain) {
  const double bound = gain * std::sqrt(3.0);
  return uniform(-bound, bound).scaled_by(fan == Fan::In ? Scale::FanIn : Scale::FanOut);
}
Init Init::kaiming_normal(Fan fan, double gain) {
  return normal(0, gain).scaled_by(fan == Fan::In ? Scale::FanIn : Scale::FanOut);
}
Init Init::xavier_uniform(double gain) {
  const double bound = gain * std::sqrt(3.0);
  return uniform(-bound, bound).scaled_by(Scale::FanBoth);
}
Init Init::xavier_normal(double gain) { return normal(0, gain).scaled_by(Scale::FanBoth); }
Init Init::torch_default() { return uniform(-1, 1).scaled_by(Scale::FanIn); }

double Init::factor(const Shape& shape, Layout layout) const {
  if (scale_ == Scale::Absolute) return 1;
  const Fans fans = fans_of(shape, layout);
  const double both = static_cast<double>(fans.in + fans.out) / 2;
  const double fan = scale_ == Scale::FanBoth ? both
                     : scale_ == Scale::FanIn ? static_cast<double>(fans.in)
                                              : static_cast<double>(fans.out);
  return fan > 0 ? 1 / std::sqrt(fan) : 0;
}

Tensor Init::draw(const Shape& shape, Layout layout, uint64_t seed, const std::string& path) const {
  const double scale = factor(shape, layout), a = a_ * scale, b = b_ * scale;
  Random random(seed, random_stream("weight " + path));
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  if (kind_ == Kind::Normal) {
    for (size_t i = 0; i < values.size(); i += 2) {
      const uint32_t first = random.word();
      const std::array<double, 2> pair = normals_from(first, random.word());
      for (size_t j = 0; j < 2 && i + j < values.size(); ++j) values[i + j] = static_cast<float>(a + b * pair[j]);
    }
  } else {
    for (float& v : values) {
      double x = kind_ == Kind::Constant ? a : kind_ == Kind::Uniform ? random.uniform(a, b) : b * random.normal();
      while (kind_ == Kind::Truncated && (x < low_ || x > high_)) x = b * random.normal();
      v = static_cast<float>(x);
    }
  }
  return Tensor::from(values, shape);
}

void Initializer::operator()(const std::string& name, Parameter& p, const Init& init) const {
  if (!p.defined()) return;
  const std::string path = path_.empty() ? name : path_ + "." + name;
  p.variable().assign_(init.draw(p.shape(), p.layout(), seed_, path));
}

namespace {
class ResetVisitor final : public Visitor {
 public:
  ResetVisitor(uint64_t seed, std::string prefix) : seed_(seed), prefix_(std::move(prefix)) {}

 protected:
  void module(const std::string& path, Module& m) override {
    m.reset(Initializer(seed_, prefix_.empty() || path.empty() ? prefix_ + path : prefix_ + "." + path));
  }

 private:
  uint64_t seed_;
  std::string prefix_;
};
}  // namespace

void initialize(Module& module, uint64_t seed, const std::string& prefix) {
  ResetVisitor visitor(seed, prefix);
  visitor("", module);
}

}  // namespace tacit::nn
