// The defaults of every kernel family: copy the operands to the host, run the reference backend, copy the result back.
#include "tensor/backend.h"

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <list>
#include <mutex>
#include <set>

#include "tensor/device.h"

namespace tacit {

std::string out_of_range(Indexed op, int64_t index, int64_t size) {
  const std::string i = std::to_string(index), n = std::to_string(size);
  if (op == Indexed::CrossEntropy) return "[cross_entropy] label " + i + " is out of range for " + n + " classes";
  const char* const name = op == Indexed::Gather ? "gather" : op == Indexed::IndexCopy ? "index_copy_" : "scatter_add";
  return "[" + std::string(name) + "] index " + i + " is out of range for a dimension of size " + n;
}

namespace {
class Downloaded final : public Download {
 public:
  explicit Downloaded(size_t bytes) : bytes_(bytes) {}
  const char* bytes() override { return bytes_.data(); }
  char* at(size_t byte) { return bytes_.data() + byte; }

 private:
  std::vector<char> bytes_;
};
size_t bytes_of(const View& view) { return static_cast<size_t>(view.numel()) * size_of(view.dtype); }
}  // namespace

std::unique_ptr<Download> Backend::start_download(std::span<const View> views) {
  size_t bytes = 0;
  for (const View& view : views) bytes += bytes_of(view);
  auto copy = std::make_unique<Downloaded>(bytes);
  bytes = 0;
  for (const View& view : views) {
    download(copy->at(bytes), view.data, bytes_of(view));
    bytes += bytes_of(view);
  }
  return copy;
}

std::unique_ptr<Graph> Backend::capture(const std::function<void()>&) {
  detail::fail("[capture] the backend '", name(), "' cannot capture a step as a graph; --cuda-graph is of CUDA");
}

/// One staged call. Views given to in() are downloaded; those given to out() are also uploaded by finish().
class Stage {
 public:
  Stage(Backend& backend, const char* kernel) : backend_(backend) {
    ++backend.fallbacks_;
    const char* const policy = std::getenv("TACIT_FALLBACK");
    TACIT_CHECK(policy == nullptr || std::strcmp(policy, "error") != 0, "[", kernel, "] the backend '", backend.name(),
                "' has no such kernel, and TACIT_FALLBACK=error forbids the reference's");
    warn_once(kernel);
  }

  View in(const View& v) { return v.defined() ? copy_of(v, false) : v; }
  // An output is downloaded too: a strided view must not disturb the bytes between its elements.
  View out(const View& v) { return v.defined() ? copy_of(v, true) : v; }

  void finish() {
    for (const Copy& copy : copies_)
      if (copy.write) backend_.upload(copy.device, copy.host.data(), copy.host.size());
  }

 private:
  struct Copy {
    void* device;
    std::vector<char> host;
    bool write;
  };

  View copy_of(const View& v, bool write) {
    const size_t bytes = static_cast<size_t>(v.extent()) * size_of(v.dtype);
    View host = v;
    for (Copy& copy : copies_) {
      // In-place calls name one block twice: both must see the same host copy.
      if (copy.device != v.data || copy.host.size() != bytes) continue;
      copy.write |= write;
      host.data = copy.host.data();
      return host;
    }
    copies_.push_back({v.data, std::vector<char>(bytes), write});
    host.data = copies_.back().host.data();
    if (bytes > 0) backend_.download(host.data, v.data, bytes);
    return host;
  }

  void warn_once(const char* kernel) {
    static std::mutex mutex;
    static std::set<std::string> warned;
    const std::lock_guard lock(mutex);
    if (warned.insert(std::string(backend_.name()) + "." + kernel).second)
      std::cerr << "warning: " << backend_.name() << " has no kernel '" << kernel
                << "'; the reference's is used, slowly (TACIT_FALLBACK=error forbids it)\n";
  }

  Backend& backend_;
  std::list<Copy> copies_;
};

namespace {
Backend& reference() { return Device("reference").backend(); }
std::vector<View> in_all(Stage& stage, std::span<const View> views) {
  std::vector<View> staged;
  for (const View& v : views) staged.push_back(stage.in(v));
  return staged;
}
std::vector<View> out_all(Stage& stage, std::span<const View> views) {
  std::vector<View> staged;
  for (const View& v : views) staged.push_back(stage.out(v));
  return staged;
}
}  // namespace

void Backend::fill(const View& out, double value) {
  Stage s(*this, "fill");
  reference().fill(s.out(out), value);
  s.finish();
}
void Backend::copy(const View& out, const View& in) {
  Stage s(*this, "copy");
  reference().copy(s.out(out), s.in(in));
  s.finish();
}
void Backend::unary(UnaryOp op, const View& out, const View& x) {
  Stage s(*this, "unary");
  reference().unary(op, s.out(out), s.in(x));
  s.finish();
}
void Backend::unary_grad(UnaryOp op, const View& dx, const View& dy, const View& x, const View& y) {
  Stage s(*this, "unary_grad");
  reference().unary_grad(op, s.out(dx), s.in(dy), s.in(x), s.in(y));
  s.finish();
}
void Backend::binary(BinaryOp op, const View& out, const View& a, const View& b) {
  Stage s(*this, "binary");
  reference().binary(op, s.out(out), s.in(a), s.in(b));
  s.finish();
}
void Backend::select(const View& out, const View& cond, const View& a, const View& b) {
  Stage s(*this, "select");
  reference().select(s.out(out), s.in(cond), s.in(a), s.in(b));
  s.finish();
}
void Backend::reduce(ReduceOp op, const View& out, const View& in) {
  Stage s(*this, "reduce");
  reference().reduce(op, s.out(out), s.in(in));
  s.finish();
}
void Backend::arg_reduce(ReduceOp op, const View& index, const View& in) {
  Stage s(*this, "arg_reduce");
  reference().arg_reduce(op, s.out(index), s.in(in));
  s.finish();
}
void Backend::top_k(const View& values, const View& index, const View& in) {
  Stage s(*this, "top_k");
  reference().top_k(s.out(values), s.out(index), s.in(in));
  s.finish();
}
void Backend::linear(const LinearArgs& a) {
  matmul(a.y, a.x, a.w);
  if (a.bias.defined()) {
    View rows = a.bias;
    rows.shape = a.y.shape;
    rows.strides = Strides{0, a.bias.strides[0]};
    binary(BinaryOp::Add, a.y, a.y, rows);
  }
  if (a.derivative.defined()) {
    fill(a.derivative, 1);
    unary_grad(UnaryOp::Gelu, a.derivative, a.derivative, a.y, {});
  }
  if (a.gelu) unary(UnaryOp::Gelu, a.y, a.y);
  if (a.factor.defined()) binary(BinaryOp::Mul, a.y, a.y, a.factor);
}

void Backend::linear_dw(const View& dw, const View& db, const View& dy, const View& x) {
  View transposed = dy, row = db;
  transposed.shape = {dy.shape[1], dy.shape[0]};
  transposed.strides = {dy.strides[1], dy.strides[0]};
  row.shape = {1, db.shape[0]};
  row.strides = {0, db.strides[0]};
  matmul(dw, transposed, x);
  reduce(ReduceOp::Sum, row, dy);
}

void Backend::matmul(const View& out, const View& a, const View& b) {
  Stage s(*this, "matmul");
  reference().matmul(s.out(out), s.in(a), s.in(b));
  s.finish();
}
void Backend::gather(const View& out, const View& in, const View& index, int dim) {
  Stage s(*this, "gather");
  reference().gather(s.out(out), s.in(in), s.in(index), dim);
  s.finish();
}
void Backend::scatter_add(const View& out, const View& index, const View& src, int dim) {
  Stage s(*this, "scatter_add");
  reference().scatter_add(s.out(out), s.in(index), s.in(src), dim);
  s.finish();
}
void Backend::index_copy(const View& out, const View& index, const View& src) {
  Stage s(*this, "index_copy");
  reference().index_copy(s.out(out), s.in(index), s.in(src));
  s.finish();
}
void Backend::random(Distribution d, const View& out, uint64_t seed, uint64_t stream, const View& step) {
  Stage s(*this, "random");
  reference().random(d, s.out(out), seed, stream, s.in(step));
  s.finish();
}
void Backend::conv2d(const View& y, const View& x, const View& w, const Window& window) {
  Stage s(*this, "conv2d");
  reference().conv2d(s.out(y), s.in(x), s.in(w), window);
  s.finish();
}
void Backend::conv2d_moments(const View& y, const View& mean, const View& var, const View& x, const View& w,
                             const Window& window) {
  conv2d(y, x, w, window);
  moments(mean, var, y);
}
void Backend::conv2d_dx(const View& dx, const View& dy, const View& w, const Window& window) {
  Stage s(*this, "conv2d_dx");
  reference().conv2d_dx(s.out(dx), s.in(dy), s.in(w), window);
  s.finish();
}
void Backend::conv2d_dw(const View& dw, const View& x, const View& dy, const Window& window) {
  Stage s(*this, "conv2d_dw");
  reference().conv2d_dw(s.out(dw), s.in(x), s.in(dy), window);
  s.finish();
}
void Backend::pool(PoolOp op, const View& y, const View& index, const View& x, const Window& window) {
  Stage s(*this, "pool");
  reference().pool(op, s.out(y), s.out(index), s.in(x), window);
  s.finish();
}
void Backend::pool_grad(PoolOp op, const View& dx, const View& dy, const View& index, const Window& window) {
  Stage s(*this, "pool_grad");
  reference().pool_grad(op, s.out(dx), s.in(dy), s.in(index), window);
  s.finish();
}
void Backend::moments(const View& mean, const View& var, const View& x) {
  Stage s(*this, "moments");
  reference().moments(s.out(mean), s.out(var), s.in(x));
  s.finish();
}
void Backend::batch_norm(const BatchNormArgs& a) {
  Stage s(*this, "batch_norm");
  reference().batch_norm({.y = s.out(a.y),
                          .x = s.in(a.x),
                          .mean = s.in(a.mean),
                          .rstd = s.in(a.rstd),
                          .gamma = s.in(a.gamma),
                          .beta = s.in(a.beta),
                          .residual = s.in(a.residual),
                          .relu = a.relu});
  s.finish();
}
void Backend::batch_norm_grad(const BatchNormGradArgs& a) {
  Stage s(*this, "batch_norm_grad");
  reference().batch_norm_grad({.dx = s.out(a.dx),
                               .dgamma = s.out(a.dgamma),
                               .dbeta = s.out(a.dbeta),
                               .dresidual = s.out(a.dresidual),
                               .dy = s.in(a.dy),
                               .x = s.in(a.x),
                               .y = s.in(a.y),
                               .mean = s.in(a.mean),
                               .rstd = s.in(a.rstd),
                               .gamma = s.in(a.gamma),
                               .beta = s.in(a.beta),
                               .relu = a.relu,
                               .training = a.training});
  s.finish();
}
void Backend::layer_norm(const LayerNormArgs& a) {
  Stage s(*this, "layer_norm");
  reference().layer_norm({.y = s.out(a.y),
                          .mean = s.out(a.mean),
                          .rstd = s.out(a.rstd),
                          .x = s.in(a.x),
                          .gamma = s.in(a.gamma),
                          .beta = s.in(a.beta),
                          .eps = a.eps});
  s.finish();
}
void Backend::layer_norm_grad(const LayerNormGradArgs& a) {
  Stage s(*this, "layer_norm_grad");
  reference().layer_norm_grad({.dx = s.out(a.dx),
                               .dgamma = s.out(a.dgamma),
                               .dbeta = s.out(a.dbeta),
                               .dy = s.in(a.dy),
                               .x = s.in(a.x),
                               .mean = s.in(a.mean),
                               .rstd = s.in(a.rstd),
                               .gamma = s.in(a.gamma)});
  s.finish();
}
void Backend::softmax(const View& y, const View& x, bool log) {
  Stage s(*this, "softmax");
  reference().softmax(s.out(y), s.in(x), log);
  s.finish();
}
void Backend::softmax_grad(const View& dx, const View& dy, const View& y, bool log) {
  Stage s(*this, "softmax_grad");
  reference().softmax_grad(s.out(dx), s.in(dy), s.in(y), log);
  s.finish();
}
void Backend::cross_entropy(const View& loss, const View& log_sum, const View& logits, const View& labels,
                            double smoothing) {
  Stage s(*this, "cross_entropy");
  reference().cross_entropy(s.out(loss), s.out(log_sum), s.in(logits), s.in(labels), smoothing);
  s.finish();
}
void Backend::cross_entropy_grad(const View& dlogits, const View& dloss, const View& logits, const View& log_sum,
                                 const View& labels, double smoothing) {
  Stage s(*this, "cross_entropy_grad");
  reference().cross_entropy_grad(s.out(dlogits), s.in(dloss), s.in(logits), s.in(log_sum), s.in(labels), smoothing);
  s.finish();
}
void Backend::contrast(const ContrastArgs& a) {
  Stage s(*this, "contrast");
  reference().contrast({.loss = s.out(a.loss),
                        .largest = s.out(a.largest),
                        .log_sum = s.out(a.log_sum),
                        .hit = s.out(a.hit),
                        .a = s.in(a.a),
                        .b = s.in(a.b),
                        .positive = s.in(a.positive),
                        .labels = s.in(a.labels),
                        .scale = a.scale,
                        .among_themselves = a.among_themselves});
  s.finish();
}
void Backend::contrast_grad(const ContrastGradArgs& a) {
  Stage s(*this, "contrast_grad");
  reference().contrast_grad({.da = s.out(a.da),
                             .a = s.in(a.a),
                             .b = s.in(a.b),
                             .positive = s.in(a.positive),
                             .labels = s.in(a.labels),
                             .largest = s.in(a.largest),
                             .log_sum = s.in(a.log_sum),
                             .scale = a.scale,
                             .among_themselves = a.among_themselves});
  s.finish();
}
void Backend::attention(const AttentionArgs& a) {
  Stage s(*this, "attention");
  reference().attention(
      {.y = s.out(a.y), .lse = s.out(a.lse), .q = s.in(a.q), .k = s.in(a.k), .v = s.in(a.v), .scale = a.scale});
  s.finish();
}
void Backend::attention_grad(const AttentionGradArgs& a) {
  // One stage an output: they may interleave, and a staged output writes back the bytes between its elements too.
  for (View AttentionGradArgs::*const output :
       {&AttentionGradArgs::dq, &AttentionGradArgs::dk, &AttentionGradArgs::dv}) {
    if (!(a.*output).defined()) continue;
    Stage s(*this, "attention_grad");
    AttentionGradArgs staged{.dq = {},
                             .dk = {},
                             .dv = {},
                             .dy = s.in(a.dy),
                             .q = s.in(a.q),
                             .k = s.in(a.k),
                             .v = s.in(a.v),
                             .y = s.in(a.y),
                             .lse = s.in(a.lse),
                             .scale = a.scale};
    staged.*output = s.out(a.*output);
    reference().attention_grad(staged);
    s.finish();
  }
}
void Backend::augment(const AugmentArgs& a) {
  Stage s(*this, "augment");
  AugmentArgs staged = a;
  staged.out = s.out(a.out);
  staged.pixels = s.in(a.pixels);
  staged.views = s.in(a.views);
  reference().augment(staged);
  s.finish();
}
void Backend::sum_squares(const View& out, std::span<const View> xs) {
  Stage s(*this, "sum_squares");
  reference().sum_squares(s.out(out), in_all(s, xs));
  s.finish();
}
void Backend::lerp(std::span<const View> targets, std::span<const View> sources, const View& weight) {
  Stage s(*this, "lerp");
  reference().lerp(out_all(s, targets), in_all(s, sources), s.in(weight));
  s.finish();
}
void Backend::update(const SgdArgs& a) {
  Stage s(*this, "update_sgd");
  const auto params = out_all(s, a.params), grads = in_all(s, a.grads), buffers = out_all(s, a.momentum_buffers);
  reference().update(SgdArgs{params, grads, buffers, s.in(a.hyper), a.momentum, a.weight_decay, a.nesterov});
  s.finish();
}
void Backend::update(const AdamWArgs& a) {
  Stage s(*this, "update_adamw");
  const auto params = out_all(s, a.params), grads = in_all(s, a.grads), m = out_all(s, a.exp_avg),
             v = out_all(s, a.exp_avg_sq);
  reference().update(AdamWArgs{params, grads, m, v, s.in(a.hyper), a.beta1, a.beta2, a.eps, a.weight_decay});
  s.finish();
}
void Backend::update(const LarsArgs& a) {
  Stage s(*this, "update_lars");
  const auto params = out_all(s, a.params), grads = in_all(s, a.grads), buffers = out_all(s, a.momentum_buffers);
  reference().update(
      LarsArgs{params, grads, buffers, s.in(a.hyper), a.momentum, a.weight_decay, a.eta, a.adapt, a.lr_in_buffer});
  s.finish();
}

}  // namespace tacit
