#include "tests/fixtures.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "autograd/ops.h"
#include "tensor/random.h"
#include "tests/values.h"

namespace tacit::testing {

namespace {

/// The results of every topic: results_*.json. No two topics use one name.
const nlohmann::json& fixture(const std::string& name) {
  static const nlohmann::json all = [] {
    nlohmann::json merged;
    for (const auto& entry : std::filesystem::directory_iterator(TACIT_SOURCE_DIR "/tests/fixtures")) {
      if (entry.path().filename().string().rfind("results_", 0) != 0) continue;
      std::ifstream file(entry.path());
      const size_t before = merged.size();
      const nlohmann::json topic = nlohmann::json::parse(file);
      merged.update(topic);
      INFO(entry.path().string(), " has names of another topic");
      REQUIRE(merged.size() == before + topic.size());
    }
    return merged;
  }();
  INFO("no results_*.json has '", name, "': run tests/fixtures/make.py");
  REQUIRE(all.contains(name));
  return all.at(name);
}

/// Entry k of the samples is element (7919 k) mod n.
size_t sampled(size_t k, size_t n) { return k * 7919 % n; }

}  // namespace

Tensor draw(const std::string& name, const Shape& shape, DType dtype) {
  return Tensor::normal(shape, 0, random_stream("fixture " + name), dtype);
}

void draw_weights(nn::Module& module, DType dtype) {
  module.to(dtype);
  nn::StateDict state = nn::state_dict(module);
  const auto ends_with = [](const std::string& name, const std::string& end) {
    return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
  };
  for (auto& [name, t] : state) {
    if (t.dtype() != dtype) continue;
    const Tensor n = draw(name, t.shape(), f64);
    const double fan_in = static_cast<double>(t.numel()) / static_cast<double>(t.rank() > 0 ? t.size(0) : 1);
    const Tensor value = t.rank() > 1                     ? n * std::sqrt(2 / fan_in)
                         : ends_with(name, "running_var") ? n * n * 0.1 + 1.0
                         : ends_with(name, "weight")      ? n * 0.1 + 1.0
                                                          : n * 0.1;
    t = value.to(dtype);
  }
  nn::load_state(module, state);
}

void check_fixture(const std::string& name, const Tensor& tensor, double tolerance) {
  const nlohmann::json& expected = fixture(name);
  const std::vector<double> v = values_of(tensor);
  std::vector<int64_t> shape;
  for (int i = 0; i < tensor.rank(); ++i) shape.push_back(tensor.size(i));
  INFO(name);
  REQUIRE(shape == expected.at("shape").get<std::vector<int64_t>>());
  double norm = 0, sum = 0;
  for (const double x : v) {
    norm += x * x;
    sum += x;
  }
  norm = std::sqrt(norm);
  const double count = static_cast<double>(v.size()), reference = expected.at("norm").get<double>();
  const double rms = reference / std::sqrt(count);
  CHECK(std::abs(norm - reference) <= tolerance * reference);
  CHECK(std::abs(sum - expected.at("sum").get<double>()) <= tolerance * rms * count);
  const auto samples = expected.at("samples").get<std::vector<double>>();
  double worst = 0;
  for (size_t k = 0; k < samples.size(); ++k)
    worst = std::max(worst, std::abs(v[sampled(k, v.size())] - samples[k]) / std::max(rms, std::abs(samples[k])));
  CHECK(worst <= tolerance);
}

Variable leaf(const std::string& name, const Shape& shape, DType dtype) {
  return Variable::leaf(draw(name, shape, dtype));
}

void check_backward(const std::string& name, const Variable& y, const std::map<std::string, Variable>& leaves,
                    double tolerance) {
  check_fixture(name + " y", y.value(), tolerance);
  sum(y * draw(name + " dy", y.shape(), y.dtype())).backward();
  for (const auto& [key, x] : leaves) check_fixture(name + " d" + key, x.grad(), tolerance);
}

void check_gradients(const std::string& name, nn::Module& module, double tolerance) {
  for (const auto& [key, p] : module.named_parameters()) {
    const Tensor g = p->variable().grad();
    check_fixture(name + " d" + key, p->layout() == nn::Layout::ConvOHWI ? to_nchw(g) : g, tolerance);
  }
}

Tensor to_nhwc(const Tensor& weight) { return weight.permute({0, 2, 3, 1}).clone(); }
Tensor to_nchw(const Tensor& weight) { return weight.permute({0, 3, 1, 2}).clone(); }

double lr_at(int step) { return step < 3 ? 0.05 * (1 + step) : 0.2 / (step + 1); }

double relative_to_movement(const std::string& prefix, nn::Module& module, const nn::StateDict& before) {
  const nn::StateDict state = nn::state_dict(module);
  double error = 0, movement = 0;
  for (const auto& named : module.named_parameters()) {
    const std::string& name = named.first;
    const std::vector<double> now = values_of(state.at(name)), then = values_of(before.at(name));
    const auto samples = fixture(prefix + " " + name).at("samples").get<std::vector<double>>();
    for (size_t k = 0; k < samples.size(); ++k) {
      const size_t i = sampled(k, now.size());
      error += (now[i] - samples[k]) * (now[i] - samples[k]);
      movement += (samples[k] - then[i]) * (samples[k] - then[i]);
    }
  }
  return std::sqrt(error / movement);
}

}  // namespace tacit::testing
