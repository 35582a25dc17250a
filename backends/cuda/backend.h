// The CUDA backend: one stream of one device, cuBLASLt for products, cuDNN where it is found for
// convolutions of f32 and bf16, own kernels for the rest.
// The rule that makes a run repeat bit by bit: no float atomics; sums are cut into pieces whose number depends on the
// shapes only, and partial sums are added in a fixed order. Sums of f32 are taken in f64 wherever memory is the limit.
#pragma once

#include <memory>

#include "tensor/backend.h"

struct CUstream_st;
struct CUevent_st;

namespace tacit::cuda {

struct Fault;
struct IndexCheck;

class CudaBackend final : public Backend {
 public:
  /// Throws Error when there is no such device, naming the driver's reason.
  explicit CudaBackend(int index);
  ~CudaBackend() override;
  const char* name() const override { return "cuda"; }
  void* allocate(size_t bytes) override;
  void deallocate(void*, size_t bytes) noexcept override;
  void upload(void* dst, const void* host, size_t bytes) override;
  void download(void* host, const void* src, size_t bytes) override;
  void synchronize() override;
  std::unique_ptr<Download> start_download(std::span<const View> views) override;
  int64_t available_memory() const override;
  bool supports(Fused) const override { return true; }
  bool computes_bf16() const override { return true; }
  bool checks_indices() const override { return true; }
  bool can_capture() const override { return true; }
  std::unique_ptr<Graph> capture(const std::function<void()>& work) override;

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
  void contrast(const ContrastArgs&) override;
  void contrast_grad(const ContrastGradArgs&) override;
  void attention(const AttentionArgs&) override;
  void attention_grad(const AttentionGradArgs&) override;
  void augment(const AugmentArgs&) override;
  void sum_squares(const View& out, std::span<const View> xs) override;
  void lerp(std::span<const View> targets, std::span<const View> sources, const View& weight) override;
  void update(const SgdArgs&) override;
  void update(const AdamWArgs&) override;
  void update(const LarsArgs&) override;

  /// The stream that every kernel runs on; makes the device the current one of this thread. Throws Error while another
  /// thread captures a step.
  CUstream_st* stream() const;

 private:
  struct State;
  struct Epilogue;
  /// out = a b with what the epilogue adds; false, with nothing done, where cuBLASLt has no such algorithm.
  bool product(const View& out, const View& a, const View& b, const Epilogue&);
  /// For a kernel that is launched next.
  IndexCheck index_check(Indexed, int64_t size);
  /// Waits for the stream; throws what kernels found of indices.
  void wait(const char* what);
  void wait_for(CUevent_st* event);
  /// Throws while this thread captures a step, which can do no such thing.
  void not_captured(const char* what) const;
  /// Throws its Error if there is one, and forgets it.
  void report(const Fault&);

  std::unique_ptr<State> state_;
};

}  // namespace tacit::cuda
