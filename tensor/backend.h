// Backend: everything a device must do. Five functions are required; every kernel family has a default that stages
// through the reference backend (slow, correct, counted by fallbacks()).
//
// The contract of every kernel: shapes and dtypes were checked by the caller; outputs were allocated by the caller and
// are disjoint from the inputs, except that element-wise kernels (fill, copy, unary, unary_grad, binary, select) may
// write to exactly an input's view, and the gradients of norms dx to that of dy. Views may be strided or broadcast
// (stride 0) unless a family says "dense". Kernels may run asynchronously, in order, on one stream; upload and download
// return when the host buffer is free.
//
// bf16: fill, copy, select and gather move it everywhere. Where computes_bf16(), activations and their gradients (x, y,
// dx, dy, residuals, q, k, v, a product's factors, w, bias, gelu's derivative) may be bf16 too in unary, unary_grad,
// binary, reduce, matmul, linear, linear_dw, scatter_add, conv2d…, pool…, moments, batch_norm…, layer_norm…,
// attention…, which compute and sum in f32 or better and round once. What stands beside them is f32: means, variances,
// rstd, gamma, beta and their gradients, lse, dw and db (a library may round dw once on its way). One operand of binary
// may be f32, and the result of reduce and matmul.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/augment_args.h"
#include "tensor/scalar_ops.h"
#include "tensor/view.h"

namespace tacit {

/// What reduce() makes of many values.
enum class ReduceOp : uint8_t { Sum, Mean, Max, Min };
/// What a pool makes of a window.
enum class PoolOp : uint8_t { Max, Average };
/// i32 words; numbers in [0, 1); numbers of mean 0 and std 1.
enum class Distribution : uint8_t { Bits, Uniform, Normal };

/// True when `value` takes the place of `best` in a search: it is the first NaN, or strictly larger (smaller).
template <class T>
TACIT_HD bool beats(ReduceOp op, T value, T best) {
  if (best != best) return false;
  return value != value || (op == ReduceOp::Max ? value > best : value < best);
}

/// Ops that a backend may offer in one kernel pair; where it does not, autograd composes them from others.
enum class Fused : uint8_t { BatchNormAct, Contrast };

/// The ops whose kernels read positions from memory.
enum class Indexed : uint8_t { Gather, ScatterAdd, IndexCopy, CrossEntropy };
/// What their Error says of a position that is not in [0, size).
std::string out_of_range(Indexed, int64_t index, int64_t size);

/// How a convolution is computed, for backends that know several ways: by size; by plain products; by Winograd's
/// minimal filtering with tiles of 2 x 2 or 4 x 4 outputs (3x3 taps, stride 1; elsewhere they mean Direct).
enum class ConvAlgorithm { Auto, Direct, F2, F4 };

/// Geometry of a convolution or pooling window over (N, H, W, C).
struct Window {
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t padding_h = 0, padding_w = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  ConvAlgorithm algorithm = ConvAlgorithm::Auto;  // convolution
  bool adaptive = false;  // pooling: window i of n over size s is [floor(i s / n), ceil((i + 1) s / n)); rest ignored
};

/// y = relu?((x - mean) * rstd * gamma + beta + residual?), per channel (the last dimension). All dense.
struct BatchNormArgs {
  View y, x, mean, rstd, gamma, beta;
  View residual;  // undefined: none
  bool relu = false;
};
/// Gradients of the above. Undefined outputs are not wanted. `training`: mean and rstd depended on x. What relu let
/// through is read from y or, where y is undefined, made again from x and beta; then there was no residual.
struct BatchNormGradArgs {
  View dx, dgamma, dbeta, dresidual;
  View dy, x, y, mean, rstd, gamma, beta;  // y and beta are read only when relu is set
  bool relu = false, training = true;
};
/// y = (x - mean) * rstd * gamma + beta over the last dimension; mean and rstd are outputs of shape x.shape[:-1].
/// Dense.
struct LayerNormArgs {
  View y, mean, rstd, x, gamma, beta;
  double eps = 1e-5;
};
/// dy to dx, dgamma and dbeta, from what the forward pass kept.
struct LayerNormGradArgs {
  View dx, dgamma, dbeta;  // undefined: not wanted
  View dy, x, mean, rstd, gamma;
};
/// y = x w + bias: dense y (N, D_out), x (N, D_in), w (D_in, D_out) of any strides, bias (D_out) or undefined. gelu: y
/// is gelu of that, and `derivative`, an output like y, receives gelu's derivative unless it is undefined. `factor`,
/// like y: y is multiplied by it, element by element, unless it is undefined.
struct LinearArgs {
  View y, x, w, bias;
  bool gelu = false;
  View derivative, factor;
};
/// y = softmax(scale q kᵀ) v for each sample and head (Vaswani et al. 2017, eq. 1): q (N, heads, T, D), k (N, heads, S,
/// D), v (N, heads, S, E), y (N, heads, T, E); lse (N, heads, T), dense, is an output too: the log-sum-exp of each row
/// of scale q kᵀ. Nothing of size T x S is kept (Dao et al. 2022). The last dimension of q, k, v, y has stride 1; the
/// others are free, so that all three may lie in one fused tensor. D, E, S are at least 1, scale > 0.
struct AttentionArgs {
  View y, lse, q, k, v;
  double scale = 1;
};
/// Gradients of the above, with the same freedom of strides: dq, dk, dv may interleave in one block. Undefined outputs
/// are not wanted.
struct AttentionGradArgs {
  View dq, dk, dv;
  View dy, q, k, v, y, lse;
  double scale = 1;
};
/// Each row of a (R, D) against the rows of b (C, D): s_ij = scale a_i · b_j, loss_i = log(sum over j of exp(s_ij)) -
/// s_i,label(i). With `positive` (R, D) a column s_i0 = scale a_i · positive_i comes before b's, and labels count from
/// it. `among_themselves`: b is a, there is no positive, and s_ii is left out. Outputs (R): the loss, a row's largest
/// s_ij, log_sum = log(sum of exp(s_ij - largest)), and hit (f32): 1 where the largest is the label's (the first of
/// equals), else 0. Labels (R) are i64 and were checked. All dense. Nothing of size R x C is kept.
struct ContrastArgs {
  View loss, largest, log_sum, hit;
  View a, b, positive, labels;
  double scale = 1;
  bool among_themselves = false;
};
/// da = d mean(loss) / d a, through b as well where rows are compared among themselves.
struct ContrastGradArgs {
  View da;
  View a, b, positive, labels, largest, log_sum;
  double scale = 1;
  bool among_themselves = false;
};
/// One step of SGD over many parameters (torch.optim.SGD's order of operations). All dense.
/// hyper is an f64 tensor on the device: {lr}.
struct SgdArgs {
  std::span<const View> params, grads, momentum_buffers;
  View hyper;
  double momentum = 0, weight_decay = 0;
  bool nesterov = false;
};
/// One step of AdamW over many parameters (Loshchilov & Hutter 2019, torch.optim.AdamW's order of operations). All
/// dense. hyper is an f64 tensor on the device: {lr, 1 - beta1^t, 1 - beta2^t}.
struct AdamWArgs {
  std::span<const View> params, grads, exp_avg, exp_avg_sq;
  View hyper;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};
/// One step of LARS over many parameters (You et al. 2017). With d = grad + weight_decay p, and for each tensor
/// q = eta |p| / |d| (1 where a norm is 0 or `adapt` is false; the norms in f64, in a fixed order):
/// m = momentum m + q d, p -= lr m; lr_in_buffer: m = momentum m + lr q d, p -= m. All dense.
/// hyper is an f64 tensor on the device: {lr}.
struct LarsArgs {
  std::span<const View> params, grads, momentum_buffers;
  View hyper;
  double momentum = 0.9, weight_decay = 0, eta = 1e-3;
  bool adapt = true, lr_in_buffer = false;
};

/// Values on their way from a device to the host (Backend::start_download).
class Download {
 public:
  Download() = default;
  Download(const Download&) = delete;
  Download& operator=(const Download&) = delete;
  virtual ~Download() = default;
  /// Waits for them, and for nothing that the device was given later. The bytes of the views, one after another; they
  /// live as long as this.
  virtual const char* bytes() = 0;
};

/// Work for a device that can be done again and again (Backend::capture).
class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  virtual ~Graph() = default;
  /// Does it once, in the order of the stream.
  virtual void launch() = 0;
};

class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  // ---- required
  virtual const char* name() const = 0;
  /// At least `bytes` bytes, aligned to 64; throws Error when there are none. Pointers may be opaque to the host, but
  /// adding a byte offset to one must address that byte.
  virtual void* allocate(size_t bytes) = 0;
  virtual void deallocate(void*, size_t bytes) noexcept = 0;
  virtual void upload(void* dst, const void* host, size_t bytes) = 0;
  virtual void download(void* host, const void* src, size_t bytes) = 0;

  // ---- optional
  virtual void synchronize() {}
  /// Starts to copy dense views, of 4 KiB together at most, to the host. The default is done when it returns.
  virtual std::unique_ptr<Download> start_download(std::span<const View> views);
  /// How often the host has waited for this device: in download(), synchronize(), Download::bytes(), and wherever else.
  int64_t waits() const { return waits_.load(); }
  /// Blocks of at least so many bytes may be joined where they lie side by side, and cut: deallocate_joined() gives
  /// them back in other pieces than they were taken in, down to one kJoinStep. allocate() goes on where its last block
  /// ended, if it can. Requests and pieces are multiples of kJoinStep.
  virtual size_t joins_from() const { return SIZE_MAX; }
  virtual void deallocate_joined(void*, size_t /*bytes*/) noexcept {}
  static constexpr size_t kJoinStep = size_t{64} << 10;
  /// Bytes that allocate() can still give out in the device's own memory; 0 when tensors lie in main memory.
  virtual int64_t available_memory() const { return 0; }
  /// Bytes that kernels keep beside the tensors, to work in; known from the first steps on.
  virtual int64_t workspace_bytes() const { return 0; }
  /// Whether capture() works.
  virtual bool can_capture() const { return false; }
  /// What `work` gives the device to do, as a graph, and not done yet. It must not wait for the device, nor need memory
  /// beyond what CachingAllocator::open_pool() keeps for it. Throws what it throws, or Error.
  virtual std::unique_ptr<Graph> capture(const std::function<void()>& work);
  /// True when the host may dereference the pointers; saves copies.
  virtual bool host_accessible() const { return false; }
  virtual bool supports(Fused) const { return false; }
  /// True when activations may be bf16: see "bf16" below. Where they may not, autograd keeps them in f32.
  virtual bool computes_bf16() const { return false; }
  /// True when the kernels of Indexed ops look at each position themselves: one out of range reads zero (NaN, for a
  /// label) and writes nothing, and the Error of out_of_range() comes when the host next waits. Where it is false the
  /// ops read every position on the host first, which throws at once, but waits.
  virtual bool checks_indices() const { return false; }

  // ---- element-wise
  virtual void fill(const View& out, double value);
  /// Strided copy; converts between dtypes (to integers by truncation, to u8 modulo 256 of the truncated value).
  virtual void copy(const View& out, const View& in);
  virtual void unary(UnaryOp, const View& out, const View& x);
  /// dx = dy * df(x, y); x or y is undefined when the functor does not save it.
  virtual void unary_grad(UnaryOp, const View& dx, const View& dy, const View& x, const View& y);
  /// out is u8 when compares(op); a, b have one dtype (but see bf16), which is out's.
  virtual void binary(BinaryOp, const View& out, const View& a, const View& b);
  /// out = cond != 0 ? a : b; cond is u8.
  virtual void select(const View& out, const View& cond, const View& a, const View& b);

  // ---- reductions: over every dimension d with out.shape[d] == 1
  virtual void reduce(ReduceOp, const View& out, const View& in);
  /// Index (i64) of the largest or smallest element along the last dimension; the lowest index among equals; NaN wins.
  virtual void arg_reduce(ReduceOp, const View& index, const View& in);
  /// The k = values.shape[-1] largest of the last dimension, in falling order, with their indices (i64); ties by index.
  virtual void top_k(const View& values, const View& index, const View& in);

  // ---- products
  /// out (…, M, N) = a (…, M, K) b (…, K, N), same leading dimensions; transposes and broadcasts arrive as strides.
  virtual void matmul(const View& out, const View& a, const View& b);
  /// Made of matmul and element-wise kernels where a backend has nothing better.
  virtual void linear(const LinearArgs&);
  /// dw (D_out, D_in) = dyᵀ x and db (D_out) = the sum of dy's rows; dense dy (N, D_out), x (N, D_in). Likewise.
  virtual void linear_dw(const View& dw, const View& db, const View& dy, const View& x);

  // ---- indexing; index (i64) was checked against the bounds, unless checks_indices()
  /// out[…, i, …] = in[…, index[…, i, …], …] along dim; out and index have one shape.
  virtual void gather(const View& out, const View& in, const View& index, int dim);
  /// out[…, index[…, i, …], …] += src[…, i, …] along dim, in the order of i.
  virtual void scatter_add(const View& out, const View& index, const View& src, int dim);
  /// out[index[i], …] = src[i, …]; the indices, (src.shape[0]), differ from each other.
  virtual void index_copy(const View& out, const View& index, const View& src);

  // ---- random numbers: element i is word i % 4 of random_block(seed, stream, step[0], i / 4); dense.
  /// Normals: words (0,1) and (2,3) of a block make two each. step is an i64 tensor of one element on the device.
  virtual void random(Distribution, const View& out, uint64_t seed, uint64_t stream, const View& step);

  // ---- convolution: x (N,H,W,C), w (K, kernel_h, kernel_w, C/groups), y (N,H',W',K). Dense.
  virtual void conv2d(const View& y, const View& x, const View& w, const Window&);
  /// conv2d, y not empty, and y's moments (see below), which a backend may sum up while it writes y.
  virtual void conv2d_moments(const View& y, const View& mean, const View& var, const View& x, const View& w,
                              const Window&);
  virtual void conv2d_dx(const View& dx, const View& dy, const View& w, const Window&);
  virtual void conv2d_dw(const View& dw, const View& x, const View& dy, const Window&);

  // ---- pooling. index (i64, shape of y; h * W + w of the chosen pixel) exists for Max only. Averages divide by the
  // whole window, padding included (torch's count_include_pad), adaptive ones by their own size. Dense.
  virtual void pool(PoolOp, const View& y, const View& index, const View& x, const Window&);
  virtual void pool_grad(PoolOp, const View& dx, const View& dy, const View& index, const Window&);

  // ---- normalisation
  /// Mean and biased variance of each channel (last dimension) over all other dimensions. Dense.
  virtual void moments(const View& mean, const View& var, const View& x);
  virtual void batch_norm(const BatchNormArgs&);
  virtual void batch_norm_grad(const BatchNormGradArgs&);
  virtual void layer_norm(const LayerNormArgs&);
  virtual void layer_norm_grad(const LayerNormGradArgs&);

  // ---- softmax over the last dimension. Dense. A -inf input gives exactly 0 (log: -inf).
  virtual void softmax(const View& y, const View& x, bool log);
  virtual void softmax_grad(const View& dx, const View& dy, const View& y, bool log);
  /// loss (N) = m + log_sum - (1 - smoothing) logit[label] - smoothing mean(logits), where m is a row's largest logit;
  /// also writes log_sum (N) = log(sum of exp(logit - m)).
  virtual void cross_entropy(const View& loss, const View& log_sum, const View& logits, const View& labels,
                             double smoothing);
  virtual void cross_entropy_grad(const View& dlogits, const View& dloss, const View& logits, const View& log_sum,
                                  const View& labels, double smoothing);

  // ---- contrastive losses: called only where supports(Fused::Contrast)
  virtual void contrast(const ContrastArgs&);
  virtual void contrast_grad(const ContrastGradArgs&);

  // ---- attention
  virtual void attention(const AttentionArgs&);
  virtual void attention_grad(const AttentionGradArgs&);

  // ---- images
  /// Views of 8-bit images: cropped and resized, shifted, flipped, coloured, blurred, normalised, erased, in this order
  /// (ssl/data/augment.h). Values differ between backends by less than 1/255 of a pixel's range.
  virtual void augment(const AugmentArgs&);

  // ---- many tensors at once
  /// out (f64, one element) = sum of squares of every element of every tensor, in a fixed order. Dense.
  virtual void sum_squares(const View& out, std::span<const View> xs);
  /// target += weight[0] * (source - target); weight is f64 on the device (EMA: 1 - momentum). Dense.
  virtual void lerp(std::span<const View> targets, std::span<const View> sources, const View& weight);
  virtual void update(const SgdArgs&);
  virtual void update(const AdamWArgs&);
  virtual void update(const LarsArgs&);

  /// How often a kernel of this backend was staged through the reference backend.
  int64_t fallbacks() const { return fallbacks_.load(); }

 protected:
  void count_wait() { ++waits_; }

 private:
  friend class Stage;
  std::atomic<int64_t> fallbacks_{0}, waits_{0};
};

/// Thrown by a backend's maker for a device number that this machine does not have.
class NoSuchDevice : public Error {
 public:
  using Error::Error;
};

/// A row of the backend table: "cpu" -> how to make one. `index` is the device number in "cuda:1".
struct BackendEntry {
  std::string name;
  std::function<std::unique_ptr<Backend>(int index)> make;
};
/// The built-in backends (backends/builtin.cpp), best first.
std::span<const BackendEntry> builtin_backends();
/// Makes a backend that lives outside this project known by name. Throws if the name is taken.
void add_backend(const std::string& name, std::function<std::unique_ptr<Backend>(int index)> make);

}  // namespace tacit
