// The CPU backend: oneTBB for threads, OpenBLAS and own vector kernels (kernels/) for the work.
// The rule that makes a run repeat bit by bit: work is cut into pieces whose number depends on the shapes only, never
// on the threads, and partial sums are added in a fixed order.
#pragma once

#include "tensor/backend.h"

namespace tacit::cpu {

/// One for the process: "cpu".
class CpuBackend final : public Backend {
 public:
  CpuBackend();
  const char* name() const override { return "cpu"; }
  void* allocate(size_t bytes) override;
  void deallocate(void*, size_t bytes) noexcept override;
  size_t joins_from() const override;
  void deallocate_joined(void*, size_t bytes) noexcept override;
  void upload(void* dst, const void* host, size_t bytes) override;
  void download(void* host, const void* src, size_t bytes) override;
  bool host_accessible() const override { return true; }
  int64_t workspace_bytes() const override;
  bool supports(Fused op) const override { return op == Fused::BatchNormAct; }

  void fill(const View& out, double value) override;
  void copy(const View& out, const View& in) override;
  void unary(UnaryOp, const View& out, const View& x) override;
  void unary_grad(UnaryOp, const View& dx, const View& dy, const View& x, const View& y) override;
  void binary(BinaryOp, const View& out, const View& a, const View& b) override;
  void select(const View& out, const View& cond, const View& a, const View& b) override;
  void reduce(ReduceOp, const View& out, const View& in) override;
  void arg_reduce(ReduceOp, const View& index, const View& in) override;
  void top_k(const View& values, const View& index, const View& in) override;
  void matmul(const View& out, const View& a, const View& b) override;
  void linear(const LinearArgs&) override;
  void linear_dw(const View& dw, const View& db, const View& dy, const View& x) override;
  void gather(const View& out, const View& in, const View& index, int dim) override;
  void scatter_add(const View& out, const View& index, const View& src, int dim) override;
  void index_copy(const View& out, const View& index, const View& src) override;
  void random(Distribution, const View& out, uint64_t seed, uint64_t stream, const View& step) override;
  void conv2d(const View& y, const View& x, const View& w, const Window&) override;
  void conv2d_moments(const View& y, const View& mean, const View& var, const View& x, const View& w,
                      const Window&) override;
  void conv2d_dx(const View& dx, const View& dy, const View& w, const Window&) override;
  void conv2d_dw(const View& dw, const View& x, const View& dy, const Window&) override;
  void pool(PoolOp, const View& y, const View& index, const View& x, const Window&) override;
  void pool_grad(PoolOp, const View& dx, const View& dy, const View& index, const Window&) override;
  void moments(const View& mean, const View& var, const View& x) override;
  void batch_norm(const BatchNormArgs&) override;
  void batch_norm_grad(const BatchNormGradArgs&) override;
  void layer_norm(const LayerNormArgs&) override;
  void layer_norm_grad(const LayerNormGradArgs&) override;
  void softmax(const View& y, const View& x, bool log) override;
  void softmax_grad(const View& dx, const View& dy, const View& y, bool log) override;
  void cross_entropy(const View& loss, const View& log_sum, const View& logits, const View& labels,
                     double smoothing) override;
  void cross_entropy_grad(const View& dlogits, const View& dloss, const View& logits, const View& log_sum,
                          const View& labels, double smoothing) override;
  void attention(const AttentionArgs&) override;
  void attention_grad(const AttentionGradArgs&) override;
  void augment(const AugmentArgs&) override;
  void sum_squares(const View& out, std::span<const View> xs) override;
  void lerp(std::span<const View> targets, std::span<const View> sources, const View& weight) override;
  void update(const SgdArgs&) override;
  void update(const AdamWArgs&) override;
  void update(const LarsArgs&) override;
};

/// Threads used from now on by every kernel and loader (default: all cores); n >= 1.
void set_threads(int n);
/// How many threads those are.
int threads();

/// What OpenBLAS runs as, and whether that is far below what the CPU can do (with the remedy); for `tacit info`.
struct BlasReport {
  std::string library, core, warning;
};
BlasReport blas_report();

}  // namespace tacit::cpu
