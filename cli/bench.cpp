// tacit bench: what this machine does: kernels and whole training steps, timed.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "autograd/ops.h"
#include "backends/cpu/backend.h"
#include "backends/cpu/kernels/dispatch.h"
#include "cli/command.h"
#include "cli/run_command.h"
#include "nn/encoder.h"
#include "optim/adamw.h"
#include "optim/sgd.h"
#include "ssl/methods/mae.h"
#include "ssl/methods/simclr.h"
#include "tensor/join.h"

namespace tacit::cli {

namespace {

/// A row of the table. `work` is what one call does, in `unit` times a second.
struct Timed {
  std::string unit;
  double work = 0;
  std::function<void()> call;
};
/// `make` makes the inputs when it is the row's turn, so that only one row's tensors exist at a time.
struct Row {
  std::string name;
  std::function<Timed()> make;
};

double product_work(double m, double k, double n) { return 2 * m * k * n / 1e9; }

Row copy_row() {
  return {"copy of 128 MB", [] {
            const Tensor from = Tensor::ones({1 << 25}), to = Tensor::zeros({1 << 25});
            return Timed{"GB/s", 2.0 * 4 * (1 << 25) / 1e9, [=] { Tensor(to).copy_(from); }};
          }};
}

Row product_row(int64_t m, int64_t k, int64_t n) {
  return {"product " + std::to_string(m) + " x " + std::to_string(k) + " x " + std::to_string(n), [=] {
            const Tensor a = Tensor::normal({m, k}, 0, 1), b = Tensor::normal({k, n}, 0, 2);
            return Timed{"GFLOP/s",
                         product_work(static_cast<double>(m), static_cast<double>(k), static_cast<double>(n)),
                         [=] { matmul(a, b); }};
          }};
}

/// Of 64 images; convolutions are counted as if computed directly.
Row convolution_row(int64_t channels, int64_t side, bool backward) {
  const std::string at = std::to_string(side);
  return {"convolution 3x3, " + std::to_string(channels) + " channels at " + at + " x " + at +
              (backward ? ", backward" : ", forward"),
          [=] {
            const Conv2dOptions options{.padding = 1};
            const Tensor x = Tensor::normal({64, side, side, channels}, 0, 1);
            const Tensor w = Tensor::normal({channels, 3, 3, channels}, 0, 2), dy = Tensor::normal(x.shape(), 0, 3);
            const Window window = conv2d_geometry(x.shape(), w.shape(), options).first;
            const double work =
                product_work(static_cast<double>(x.numel()), 9 * static_cast<double>(channels), backward ? 2 : 1);
            return Timed{"GFLOP/s", work, [=] {
                           if (!backward) {
                             conv2d(x, w, options);
                             return;
                           }
                           conv2d_dx(x.shape(), dy, w, window);
                           conv2d_dw(w.shape(), x, dy, window);
                         }};
          }};
}

Row attention_row(int64_t tokens) {
  return {"attention of " + std::to_string(tokens) + " tokens, forward and backward", [=] {
            constexpr int64_t kImages = 64, kHeads = 3, kSize = 64;
            const Variable qkv = Variable::leaf(Tensor::normal({kImages, tokens, 3 * kHeads * kSize}, 0, 1));
            const Tensor dy = Tensor::normal({kImages, tokens, kHeads * kSize}, 0, 2);
            const auto t = static_cast<double>(tokens);
            // Two products forward and five backward.
            return Timed{"GFLOP/s", 7 * product_work(t, kSize, t) * kImages * kHeads, [=] {
                           qkv.zero_grad();
                           self_attention(qkv, kHeads).backward(dy);
                         }};
          }};
}

template <class Model, class Optimizer>
std::function<void()> step_of(std::shared_ptr<Model> model, std::shared_ptr<Optimizer> optimizer,
                              std::vector<Tensor> views) {
  return [=] {
    const Variable loss = model->loss(views, {});
    optimizer->zero_grad();
    loss.backward();
    optimizer->step();
  };
}

Row simclr_row(const nn::EncoderOptions& encoder, int64_t batch) {
  return {"SimCLR step, " + encoder.name + ", " + std::to_string(encoder.image_size) + " pixels, batch " +
              std::to_string(batch),
          [=] {
            const auto model = std::make_shared<ssl::SimCLR>(nn::make_encoder(encoder), ssl::SimCLROptions{});
            const auto optimizer = std::make_shared<optim::SGD>(*model, optim::SGDOptions{.lr = 0.06, .momentum = 0.9});
            const Shape shape{batch, encoder.image_size, encoder.image_size, encoder.channels};
            return Timed{"images/s", static_cast<double>(batch),
                         step_of(model, optimizer, {Tensor::normal(shape, 0, 1), Tensor::normal(shape, 0, 2)})};
          }};
}

Row mae_row(int64_t batch) {
  return {"MAE step, vit_tiny, 32 pixels, batch " + std::to_string(batch), [=] {
            const auto model =
                std::make_shared<ssl::MAE>(nn::make_encoder({.name = "vit_tiny"}),
                                           ssl::MAEOptions{.decoder = {.dim = 128, .depth = 2, .heads = 4}});
            const auto optimizer = std::make_shared<optim::AdamW>(*model, optim::AdamWOptions{.lr = 1e-3});
            return Timed{"images/s", static_cast<double>(batch),
                         step_of(model, optimizer, {Tensor::normal({batch, 32, 32, 3}, 0, 1)})};
          }};
}

class BenchCommand final : public Command {
 public:
  const char* name() const override { return "bench"; }
  const char* summary() const override { return "kernels and training steps of this machine, timed"; }
  const char* example() const override {
    return "  tacit bench\n  tacit bench --threads 1 --seconds 0.2 --json bench.json";
  }
  void settings(Settings& settings) override {
    settings.group("Bench")
        .add("seconds", &seconds_, "to spend on each row, after two calls to warm up")
        .add("only", &only_, "rows whose name has this in it");
    add_common(settings);
  }
  void check() const override {
    Command::check();
    check_flag("seconds", seconds_, 0, 3600);
    const auto chosen = [this](const Row& row) { return row.name.find(only_) != std::string::npos; };
    if (std::none_of(all_rows().begin(), all_rows().end(), chosen))
      throw UsageError("--only '" + only_ + "' is in no row's name; there are: " + join(all_rows(), &Row::name));
    check_flag("seed", static_cast<double>(common_.seed), 0, 1e19);
  }
  int run() override {
    start(common_);
    const std::string device = default_device().name();
    const int threads = cpu::threads();
    print_result(common_, "device " + device +
                              (device == "cpu" ? ", " + std::to_string(threads) + " threads, " +
                                                     std::string(cpu::isa_name(cpu::cpu_isa()))
                                               : ""));
    nlohmann::ordered_json rows = nlohmann::json::array();
    for (const Row& row : all_rows()) {
      if (row.name.find(only_) == std::string::npos) continue;
      const Timed timed = row.make();
      const double median = median_seconds(timed.call);
      char line[160];
      std::snprintf(line, sizeof line, "%-58s %10.3f ms %9.1f %s", row.name.c_str(), median * 1e3, timed.work / median,
                    timed.unit.c_str());
      print_result(common_, line);
      rows.push_back({{"name", row.name}, {"seconds", median}, {"rate", timed.work / median}, {"unit", timed.unit}});
    }
    write_json(common_, {{"version", TACIT_VERSION}, {"device", device}, {"threads", threads}, {"rows", rows}});
    return 0;
  }

 private:
  static const std::vector<Row>& all_rows() {
    static const std::vector<Row> rows = make_rows();
    return rows;
  }
  static std::vector<Row> make_rows() {
    return {copy_row(),
            product_row(1024, 1024, 1024),
            product_row(4096, 192, 768),
            convolution_row(64, 32, false),
            convolution_row(64, 32, true),
            convolution_row(512, 4, false),
            convolution_row(512, 4, true),
            attention_row(65),
            attention_row(197),
            simclr_row({.name = "small_cnn", .image_size = 28, .channels = 1}, 256),
            simclr_row({.name = "resnet18"}, 64),
            mae_row(64)};
  }

  /// Of at least three calls.
  double median_seconds(const std::function<void()>& call) const {
    const auto once = [&] {
      const auto begin = std::chrono::steady_clock::now();
      call();
      default_device().backend().synchronize();
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    for (int warm_up = 0; warm_up < 2; ++warm_up) once();
    std::vector<double> seconds;
    for (double spent = 0; seconds.size() < 3 || spent < seconds_;) spent += seconds.emplace_back(once());
    std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2), seconds.end());
    return seconds[seconds.size() / 2];
  }

  double seconds_ = 1;
  std::string only_;
};

}  // namespace

std::unique_ptr<Command> make_bench() { return std::make_unique<BenchCommand>(); }

}  // namespace tacit::cli
