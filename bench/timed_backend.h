// A backend that passes every kernel on to another one and notes how long each took, how many operations and bytes it
// stands for. It shows what a backend outside the library needs: forwarding, and a name.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "tensor/backend.h"

namespace tacit::bench {

struct KernelTime {
  int64_t calls = 0;
  double seconds = 0, operations = 0, bytes = 0;  ///< operations: 0 where a kernel is bound by memory
};

class TimedBackend final : public Backend {
 public:
  explicit TimedBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  /// By kernel, and for convolutions and products by their sizes.
  static std::map<std::string, KernelTime>& times() {
    static std::map<std::string, KernelTime> times;
    return times;
  }

  const char* name() const override { return "timed"; }
  void* allocate(size_t bytes) override { return inner_->allocate(bytes); }
  void deallocate(void* p, size_t bytes) noexcept override { inner_->deallocate(p, bytes); }
  size_t joins_from() const override { return inner_->joins_from(); }
  void deallocate_joined(void* p, size_t bytes) noexcept override { inner_->deallocate_joined(p, bytes); }
  void upload(void* dst, const void* host, size_t bytes) override { inner_->upload(dst, host, bytes); }
  void download(void* host, const void* src, size_t bytes) override { inner_->download(host, src, bytes); }
  int64_t workspace_bytes() const override { return inner_->workspace_bytes(); }
  bool host_accessible() const override { return inner_->host_accessible(); }
  bool supports(Fused f) const override { return inner_->supports(f); }
  bool computes_bf16() const override { return inner_->computes_bf16(); }

  void fill(const View& out, double value) override {
    time("fill", {out}, [&] { inner_->fill(out, value); });
  }
  void copy(const View& out, const View& in) override {
    time("copy", {out, in}, [&] { inner_->copy(out, in); });
  }
  void unary(UnaryOp op, const View& out, const View& x) override {
    time("unary", {out, x}, [&] { inner_->unary(op, out, x); });
  }
  void unary_grad(UnaryOp op, const View& dx, const View& dy, const View& x, const View& y) override {
    time("unary_grad", {dx, dy, x, y}, [&] { inner_->unary_grad(op, dx, dy, x, y); });
  }
  void binary(BinaryOp op, const View& out, const View& a, const View& b) override {
    time("binary", {out, a, b}, [&] { inner_->binary(op, out, a, b); });
  }
  void select(const View& out, const View& cond, const View& a, const View& b) override {
    time("select", {out, cond, a, b}, [&] { inner_->select(out, cond, a, b); });
  }
  void reduce(ReduceOp op, const View& out, const View& in) override {
    time("reduce", {out, in}, [&] { inner_->reduce(op, out, in); });
  }
  void arg_reduce(ReduceOp op, const View& index, const View& in) override {
    time("arg_reduce", {index, in}, [&] { inner_->arg_reduce(op, index, in); });
  }
  void top_k(const View& values, const View& index, const View& in) override {
    time("top_k", {values, index, in}, [&] { inner_->top_k(values, index, in); });
  }
  void matmul(const View& out, const View& a, const View& b) override {
    time(
        product("matmul", out, a.shape[-1]), {out, a, b}, [&] { inner_->matmul(out, a, b); },
        product_operations(out, a));
  }
  void linear(const LinearArgs& a) override {
    time(
        product("linear", a.y, a.x.shape[1]), {a.y, a.x, a.w, a.derivative, a.factor}, [&] { inner_->linear(a); },
        product_operations(a.y, a.x));
  }
  void linear_dw(const View& dw, const View& db, const View& dy, const View& x) override {
    time(
        product("linear_dw", dw, x.shape[0]), {dw, dy, x}, [&] { inner_->linear_dw(dw, db, dy, x); },
        2.0 * static_cast<double>(dw.numel() * x.shape[0]));
  }
  void gather(const View& out, const View& in, const View& index, int dim) override {
    time("gather", {out, out, index}, [&] { inner_->gather(out, in, index, dim); });
  }
  void scatter_add(const View& out, const View& index, const View& src, int dim) override {
    time("scatter_add", {src, src, index}, [&] { inner_->scatter_add(out, index, src, dim); });
  }
  void index_copy(const View& out, const View& index, const View& src) override {
    time("index_copy", {src, src, index}, [&] { inner_->index_copy(out, index, src); });
  }
  void random(Distribution d, const View& out, uint64_t seed, uint64_t stream, const View& step) override {
    time("random", {out}, [&] { inner_->random(d, out, seed, stream, step); });
  }
  void conv2d(const View& y, const View& x, const View& w, const Window& window) override {
    time(
        convolution("conv2d", x, w, window), {y, x, w}, [&] { inner_->conv2d(y, x, w, window); }, operations(y, w));
  }
  void conv2d_moments(const View& y, const View& mean, const View& var, const View& x, const View& w,
                      const Window& window) override {
    time(
        convolution("conv2d", x, w, window) + " and moments", {y, x, w},
        [&] { inner_->conv2d_moments(y, mean, var, x, w, window); }, operations(y, w));
  }
  void conv2d_dx(const View& dx, const View& dy, const View& w, const Window& window) override {
    time(
        convolution("conv2d_dx", dx, w, window), {dx, dy, w}, [&] { inner_->conv2d_dx(dx, dy, w, window); },
        operations(dy, w));
  }
  void conv2d_dw(const View& dw, const View& x, const View& dy, const Window& window) override {
    time(
        convolution("conv2d_dw", x, dw, window), {dw, x, dy}, [&] { inner_->conv2d_dw(dw, x, dy, window); },
        operations(dy, dw));
  }
  void pool(PoolOp op, const View& y, const View& index, const View& x, const Window& window) override {
    time("pool", {y, index, x}, [&] { inner_->pool(op, y, index, x, window); });
  }
  void pool_grad(PoolOp op, const View& dx, const View& dy, const View& index, const Window& window) override {
    time("pool_grad", {dx, dy, index}, [&] { inner_->pool_grad(op, dx, dy, index, window); });
  }
  void moments(const View& mean, const View& var, const View& x) override {
    time("moments", {x}, [&] { inner_->moments(mean, var, x); });
  }
  void batch_norm(const BatchNormArgs& a) override {
    time("batch_norm", {a.y, a.x, a.residual}, [&] { inner_->batch_norm(a); });
  }
  void batch_norm_grad(const BatchNormGradArgs& a) override {
    time("batch_norm_grad", {a.dx, a.dresidual, a.dy, a.x, a.y}, [&] { inner_->batch_norm_grad(a); });
  }
  void layer_norm(const LayerNormArgs& a) override {
    time("layer_norm", {a.y, a.x}, [&] { inner_->layer_norm(a); });
  }
  void layer_norm_grad(const LayerNormGradArgs& a) override {
    time("layer_norm_grad", {a.dx, a.dy, a.x}, [&] { inner_->layer_norm_grad(a); });
  }
  void softmax(const View& y, const View& x, bool log) override {
    time("softmax", {y, x}, [&] { inner_->softmax(y, x, log); });
  }
  void softmax_grad(const View& dx, const View& dy, const View& y, bool log) override {
    time("softmax_grad", {dx, dy, y}, [&] { inner_->softmax_grad(dx, dy, y, log); });
  }
  void cross_entropy(const View& loss, const View& log_sum, const View& logits, const View& labels,
                     double smoothing) override {
    time("cross_entropy", {logits}, [&] { inner_->cross_entropy(loss, log_sum, logits, labels, smoothing); });
  }
  void cross_entropy_grad(const View& dlogits, const View& dloss, const View& logits, const View& log_sum,
                          const View& labels, double smoothing) override {
    time("cross_entropy_grad", {dlogits, logits},
         [&] { inner_->cross_entropy_grad(dlogits, dloss, logits, log_sum, labels, smoothing); });
  }
  void attention(const AttentionArgs& a) override {
    time(
        "attention", {a.y, a.q, a.k, a.v}, [&] { inner_->attention(a); }, 2 * scores(a.q, a.k));
  }
  void attention_grad(const AttentionGradArgs& a) override {
    time(
        "attention_grad", {a.dq, a.dk, a.dv, a.q, a.k, a.v}, [&] { inner_->attention_grad(a); }, 5 * scores(a.q, a.k));
  }
  void sum_squares(const View& out, std::span<const View> xs) override {
    time("sum_squares", {xs.begin(), xs.end()}, [&] { inner_->sum_squares(out, xs); });
  }
  void lerp(std::span<const View> targets, std::span<const View> sources, const View& weight) override {
    time("lerp", {targets, targets, sources}, [&] { inner_->lerp(targets, sources, weight); });
  }
  void update(const SgdArgs& a) override {
    time("update (SGD)", {a.params, a.params, a.grads, a.momentum_buffers, a.momentum_buffers},
         [&] { inner_->update(a); });
  }
  void update(const AdamWArgs& a) override {
    time("update (AdamW)", {a.params, a.params, a.grads, a.exp_avg, a.exp_avg, a.exp_avg_sq, a.exp_avg_sq},
         [&] { inner_->update(a); });
  }
  void update(const LarsArgs& a) override {
    time("update (LARS)", {a.params, a.params, a.grads, a.momentum_buffers, a.momentum_buffers},
         [&] { inner_->update(a); });
  }

 private:
  /// Bytes of the views, each read or written once; undefined ones are nothing.
  struct Moved {
    Moved(std::initializer_list<View> views) {
      for (const View& v : views) add(v);
    }
    Moved(std::initializer_list<std::span<const View>> lists) {
      for (const auto& list : lists)
        for (const View& v : list) add(v);
    }
    template <class Iterator>
    Moved(Iterator begin, Iterator end) {
      for (; begin != end; ++begin) add(*begin);
    }
    void add(const View& v) {
      if (v.defined()) bytes += static_cast<double>(v.numel()) * static_cast<double>(size_of(v.dtype));
    }
    double bytes = 0;
  };

  template <class F>
  void time(const std::string& kernel, const Moved& moved, F&& f, double operations = 0) {
    const auto start = std::chrono::steady_clock::now();
    f();
    KernelTime& t = times()[kernel];
    t.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    t.operations += operations;
    t.bytes += moved.bytes;
    ++t.calls;
  }

  static double product_operations(const View& out, const View& a) {
    return 2.0 * static_cast<double>(out.numel()) * static_cast<double>(a.shape[-1]);
  }
  static std::string product(const char* name, const View& out, int64_t summed) {
    std::ostringstream text;
    text << name << " " << out.numel() / out.shape[-1] << " x " << summed << " x " << out.shape[-1];
    return text.str();
  }
  static double operations(const View& y, const View& w) {
    return 2.0 * static_cast<double>(y.numel()) * static_cast<double>(w.numel() / w.shape[0]);
  }
  static std::string convolution(const char* name, const View& x, const View& w, const Window& window) {
    std::ostringstream text;
    text << name << " " << window.kernel_h << "x" << window.kernel_w << "/" << window.stride_h << ", " << x.shape[3]
         << " to " << w.shape[0] << " at " << x.shape[1] << " x " << x.shape[2];
    return text.str();
  }
  /// Operations of q kᵀ.
  static double scores(const View& q, const View& k) {
    return 2.0 * static_cast<double>(q.numel()) * static_cast<double>(k.shape[2]);
  }

  std::unique_ptr<Backend> inner_;
};

}  // namespace tacit::bench
