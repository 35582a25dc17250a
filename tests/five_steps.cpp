#include "tests/five_steps.h"

#include <doctest/doctest.h>

#include "tests/fixtures.h"

namespace tacit::testing {

void five_steps(const std::string& name, ssl::Method& method, DType dtype, optim::Optimizer& optimizer, double lr_scale,
                const std::function<std::vector<Tensor>(int step)>& views) {
  struct Tolerance {
    double losses, parameters, buffers;
  };
  const Tolerance tolerance = dtype == f64 ? Tolerance{1e-10, 1e-6, 1e-9} : Tolerance{1e-4, 1e-2, 1e-4};
  const nn::StateDict before = nn::state_dict(method);
  std::vector<double> losses;
  for (int step = 0; step < 5; ++step) {
    const ssl::Progress progress{step, 5};
    optimizer.set_lr(lr_scale * lr_at(step));
    const Variable loss = method.loss(views(step), progress);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    method.after_step(progress);
    losses.push_back(loss.item());
  }
  check_fixture(name + " losses", Tensor::from(losses, {5}), tolerance.losses);
  const double error = relative_to_movement(name, method, before);
  INFO(name, ": error / movement = ", error);
  CHECK(error <= tolerance.parameters);
  // Each against its own size: fixed positions and priors do not move, and among the statistics of all layers those of
  // one would be lost.
  for (const auto& named : method.named_buffers())
    if (is_floating(named.second->value().dtype()))
      check_fixture(name + " " + named.first, named.second->value(), tolerance.buffers);
}

}  // namespace tacit::testing
