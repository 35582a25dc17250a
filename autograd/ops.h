// Every differentiable op. On constants, or inside NoGrad, they only compute.
// Each op's gradient stands beside its value in ops_math.cpp, ops_linear.cpp, ops_shape.cpp, ops_conv.cpp,
// ops_norm.cpp, ops_attention.cpp, ops_contrast.cpp or ops_loss.cpp. tests/op_table has a row for each name declared
// here; a test compares the two lists.
#pragma once

#include <vector>

#include "autograd/variable.h"
#include "tensor/ops.h"

namespace tacit {

// ---- element-wise (tensor/scalar_ops.h)
#define TACIT_DECLARE(Functor, name, low, high) Variable name(const Variable& x);
TACIT_FOREACH_UNARY(TACIT_DECLARE)
#undef TACIT_DECLARE

// ---- arithmetic, with broadcasting
Variable add(const Variable& a, const Variable& b);
Variable sub(const Variable& a, const Variable& b);
Variable mul(const Variable& a, const Variable& b);
Variable div(const Variable& a, const Variable& b);
/// At equal values the gradient is halved between the two, as in torch.
Variable maximum(const Variable& a, const Variable& b);
Variable minimum(const Variable& a, const Variable& b);
/// a > 0 unless b is constant.
Variable pow(const Variable& a, const Variable& b);
Variable where(const Tensor& cond, const Variable& a, const Variable& b);

inline Variable operator+(const Variable& a, const Variable& b) { return add(a, b); }
inline Variable operator-(const Variable& a, const Variable& b) { return sub(a, b); }
inline Variable operator*(const Variable& a, const Variable& b) { return mul(a, b); }
inline Variable operator/(const Variable& a, const Variable& b) { return div(a, b); }
inline Variable operator-(const Variable& x) { return neg(x); }
Variable operator+(const Variable& a, double b);
Variable operator-(const Variable& a, double b);
Variable operator*(const Variable& a, double b);
Variable operator/(const Variable& a, double b);
inline Variable operator+(double a, const Variable& b) { return b + a; }
Variable operator-(double a, const Variable& b);
inline Variable operator*(double a, const Variable& b) { return b * a; }
Variable operator/(double a, const Variable& b);

// ---- dtypes (see tensor/precision.h)
/// x as another floating type; the gradient goes back in x's.
Variable cast(const Variable& x, DType);
/// bf16 as f32, which losses compute in; anything else is itself.
Variable widen(const Variable& x);
/// x + b, b of x's dtype, or f32 (a parameter) beside bf16: then its gradient is summed in f32. b broadcasts to x.
Variable add_bias(const Variable& x, const Variable& b);

// ---- reductions. No dims: over everything.
Variable sum(const Variable& x, std::initializer_list<int> dims = {}, bool keepdim = false);
Variable mean(const Variable& x, std::initializer_list<int> dims = {}, bool keepdim = false);
/// The gradient is shared equally among equal maxima, as in torch.amax.
Variable amax(const Variable& x, std::initializer_list<int> dims = {}, bool keepdim = false);
Variable amin(const Variable& x, std::initializer_list<int> dims = {}, bool keepdim = false);
/// Biased variance; f32 of bf16.
Variable var(const Variable& x, std::initializer_list<int> dims = {}, bool keepdim = false);

// ---- products; bf16 under PrecisionScope(BF16) where the device computes with it, with f32 gradients of f32 inputs
Variable matmul(const Variable& a, const Variable& b);
/// x wᵀ + b; x (…, D_in), w (D_out, D_in), b (D_out) or undefined.
Variable linear(const Variable& x, const Variable& w, const Variable& b = {});
/// gelu(x w1ᵀ + b1) w2ᵀ + b2, the exact GELU: a transformer's MLP (Vaswani et al. 2017, section 3.3). All five defined.
Variable feed_forward(const Variable& x, const Variable& w1, const Variable& b1, const Variable& w2,
                      const Variable& b2);

// ---- shapes
Variable reshape(const Variable& x, const Shape& shape);
Variable flatten(const Variable& x, int from = 0, int to = -1);
Variable permute(const Variable& x, std::initializer_list<int> order);
Variable transpose(const Variable& x, int a, int b);
Variable slice(const Variable& x, int dim, int64_t lo, int64_t hi, int64_t step = 1);
Variable select(const Variable& x, int dim, int64_t index);
Variable broadcast_to(const Variable& x, const Shape& shape);
Variable unsqueeze(const Variable& x, int dim);
Variable squeeze(const Variable& x, int dim);
Variable concatenate(const std::vector<Variable>& xs, int dim);
Variable stack(const std::vector<Variable>& xs, int dim);
Variable gather(const Variable& x, int dim, const Tensor& index);
Variable index_select(const Variable& x, int dim, const Tensor& index);

// ---- convolution and pooling over (N, H, W, C)
/// `moments`: those of the result, as in tensor/ops.h; no gradient goes through them.
Variable conv2d(const Variable& x, const Variable& w, const Conv2dOptions& = {}, Moments* moments = nullptr);
Variable max_pool2d(const Variable& x, const PoolOptions& = {});
Variable avg_pool2d(const Variable& x, const PoolOptions& = {});
Variable adaptive_avg_pool2d(const Variable& x, int64_t out_h, int64_t out_w);
/// Mean over H and W: (N, H, W, C) -> (N, C).
Variable global_avg_pool(const Variable& x);

// ---- normalisation. Beside bf16 activations gamma, beta and statistics are f32.
/// Statistics of a batch norm layer that live across steps; undefined tensors: none are kept.
struct RunningStats {
  Tensor mean, var;
  double momentum = 0.1;  ///< new = (1 - momentum) old + momentum batch; the variance enters unbiased (torch)
};
/// How training cuts a batch into groups of samples (dimension 0) that are normalised apart from each other; `groups`
/// divides the batch. strided: sample i belongs to group i mod groups, else groups are consecutive samples.
struct BatchSplit {
  int64_t groups = 1;
  bool strided = false;
};
/// Batch norm over the last dimension. training: by the batch's own statistics, updating `running`; else by `running`.
/// gamma and beta may be undefined (1 and 0). With several groups `running` receives the mean of their statistics, as
/// if each had updated a copy and the copies were averaged (SplitBatchNorm of MoCo's CIFAR demo).
Variable batch_norm(const Variable& x, const Variable& gamma, const Variable& beta, const RunningStats& running,
                    bool training, double eps = 1e-5, const BatchSplit& split = {});
/// relu(batch_norm(x) + residual), residual (of x's shape) may be undefined; one kernel pair where the backend has it.
Variable batch_norm_relu(const Variable& x, const Variable& gamma, const Variable& beta, const Variable& residual,
                         const RunningStats& running, bool training, double eps = 1e-5, const BatchSplit& split = {});
/// What batch_norm does, then + residual and relu if told.
struct BatchNormAct {
  Variable gamma, beta;
  RunningStats running;
  bool training = true;
  double eps = 1e-5;
  BatchSplit split;
  bool relu = false;
  Variable residual;  ///< of the input's shape; may be undefined, and is without relu
};
/// batch_norm or batch_norm_relu, as it says.
Variable batch_norm(const Variable& x, const BatchNormAct&);
/// The same of conv2d(x, w), recorded as the two. Where the backend can, the convolution sums up
/// the statistics of what it writes, instead of a pass over it; not with several groups.
Variable conv_bn_act(const Variable& x, const Variable& w, const Conv2dOptions&, const BatchNormAct&);
/// How often a fused op was composed of others because the backend has no kernels for it (process-wide).
int64_t composites();
/// Over the last dimension. gamma and beta may be undefined.
Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta, double eps = 1e-5);
/// Rows (last dimension) divided by max(their Euclidean norm, eps); f32 of bf16.
Variable l2_normalize(const Variable& x, double eps = 1e-12);

// ---- attention: softmax(scale q kᵀ) v, with memory linear in the number of tokens. scale 0 stands for 1 / sqrt(D).
/// q (N, heads, T, D), k (N, heads, S, D), v (N, heads, S, E) -> (N, heads, T, E); torch's
/// scaled_dot_product_attention.
Variable attention(const Variable& q, const Variable& k, const Variable& v, double scale = 0);
/// The same for tokens among themselves, from one fused projection without copies: qkv (N, T, 3 C), whose last
/// dimension is [q | k | v] x heads x C / heads (timm's order) -> (N, T, C).
Variable self_attention(const Variable& qkv, int64_t heads, double scale = 0);

// ---- softmax and losses; f32 of bf16
Variable softmax(const Variable& x);
Variable log_softmax(const Variable& x);
/// Mean over rows of -log softmax(logits)[label]; logits (N, C), labels (N) i64. smoothing as torch's label_smoothing.
Variable cross_entropy(const Variable& logits, const Tensor& labels, double smoothing = 0);
/// NT-Xent (Chen et al. 2020, eq. 1) over unit rows z (2N, D): row i and row i + N are views of one image. By
/// log-sum-exp; self-similarity masked. The similarities are never all in memory. `top1`, if given, receives the
/// fraction of rows whose most similar other row is their partner. The gradient is made at once, with the value.
Variable nt_xent(const Variable& z, double temperature, Tensor* top1 = nullptr);
/// Mean over rows i of -log softmax(logits_i)[labels[i]], logits_ij = q_i . k_j / temperature (van den Oord et al.
/// 2018, eq. 4); q (N, D), k (M, D). With `positive` (N, D) the logits begin with q_i . positive_i / temperature, which
/// is then column 0. The gradient is q's, made at once: k may be written to before backward(). `top1`: as above.
Variable info_nce(const Variable& q, const Tensor& k, const Tensor& positive, const std::vector<int64_t>& labels,
                  double temperature, Tensor* top1 = nullptr);
/// Each element is 0 with probability p (0 <= p < 1), else divided by 1 - p. The mask is a function of
/// (seed, stream, step) and of the element's position.
Variable dropout(const Variable& x, double p, uint64_t seed, uint64_t stream, int64_t step);
/// Stochastic depth (Huang et al. 2016, as in timm): each sample (first dimension) is 0 with probability p, else
/// divided by 1 - p. The mask is a function of (seed, stream, step) and of the sample's position.
Variable drop_path(const Variable& x, double p, uint64_t seed, uint64_t stream, int64_t step);

}  // namespace tacit
