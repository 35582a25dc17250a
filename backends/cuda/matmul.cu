// Matrix products and linear maps by cuBLASLt, in f32 (with tf32 factors where a PrecisionScope allows them), of bf16
// factors with sums in f32, or in f64. Row-major out = a b is, in cuBLAS's column-major words, outᵀ = bᵀ aᵀ, and a
// row-major matrix read by columns is its transpose: so b and a are passed in that order, as they lie. The rule: a plan
// depends on the shape, the layout and the alignments only, never on a timing.
#include "backends/cuda/backend.h"
#include "backends/cuda/launch.h"
#include "backends/cuda/pack.h"
#include "backends/cuda/state.h"
#include "tensor/precision.h"

namespace tacit::cuda {

namespace {

void check_blas(cublasStatus_t status, const char* what) {
  TACIT_CHECK(status == CUBLAS_STATUS_SUCCESS, "[matmul] cuBLASLt ", what, ": ", cublasLtGetStatusString(status));
}

/// A row-major matrix as cuBLAS may read it.
struct Matrix {
  void* data;
  int64_t rows, columns;  // of the column-major matrix that lies there
  int64_t leading;
  bool transposed;  // the product wants its transpose
  int64_t batch_stride;
};

/// A view of rank 2 or more whose last two dimensions cuBLAS can read: itself, or else a dense copy in `scratch`.
class Operand {
 public:
  Operand(CudaBackend& backend, Scratch& scratch, const View& view) : view_(view) {
    const int64_t rows = view.shape[-2], columns = view.shape[-1];
    row_major_ = (view.strides[-1] == 1 || columns == 1) && (view.strides[-2] >= columns || rows == 1);
    column_major_ = !row_major_ && (view.strides[-2] == 1 || rows == 1) && (view.strides[-1] >= rows || columns == 1);
    if (row_major_ || column_major_) return;
    view_.data = scratch.take<char>(view.numel() * static_cast<int64_t>(size_of(view.dtype)));
    view_.strides = row_major(view.shape);
    backend.copy(view_, view);
    row_major_ = true;
  }

  const Strides& strides() const { return view_.strides; }

  Matrix matrix(int64_t offset, int64_t batch_stride) const {
    const int64_t rows = view_.shape[-2], columns = view_.shape[-1];
    char* const data = view_.ptr<char>() + offset * static_cast<int64_t>(size_of(view_.dtype));
    if (row_major_) return {data, columns, rows, rows == 1 ? columns : view_.strides[-2], false, batch_stride};
    return {data, rows, columns, columns == 1 ? rows : view_.strides[-1], true, batch_stride};
  }

 private:
  View view_;
  bool row_major_, column_major_;
};

inline constexpr uintptr_t kMostAlignment = 256;  // that an algorithm asks for

int64_t alignment_of(const Matrix& m, size_t element) {
  return common_alignment(
      reinterpret_cast<uintptr_t>(m.data) | static_cast<uintptr_t>(m.leading | m.batch_stride) * element,
      kMostAlignment);
}

/// A matrix layout of cuBLASLt for the length of a call.
class Layout {
 public:
  Layout(cudaDataType_t type, const Matrix& m, int32_t batch) {
    check_blas(cublasLtMatrixLayoutCreate(&layout_, type, static_cast<uint64_t>(m.rows),
                                          static_cast<uint64_t>(m.columns), m.leading),
               "layout");
    check_blas(cublasLtMatrixLayoutSetAttribute(layout_, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch),
               "batch");
    check_blas(cublasLtMatrixLayoutSetAttribute(layout_, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &m.batch_stride,
                                                sizeof m.batch_stride),
               "batch stride");
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(layout_); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  operator cublasLtMatrixLayout_t() const { return layout_; }

 private:
  cublasLtMatrixLayout_t layout_ = nullptr;
};

/// What follows a linear map in one pass, V neighbours a thread: gelu and its derivative, which share their
/// exponential, or a factor.
template <class S, int V>
struct Finish {
  S *y, *derivative;
  const S* factor;
  bool gelu;
  __device__ void operator()(int64_t pack) const {
    const int64_t i = pack * V;
    Pack<S, V> of_y = load_pack<V>(y + i, true), by{}, slope{};
    if (factor != nullptr) by = load_pack<V>(factor + i, true);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      float value = convert<float>(of_y.at[v]);
      if (derivative != nullptr) slope.at[v] = convert<S>(Gelu::df(value, 0.0f));
      if (gelu) value = Gelu::f(value);
      of_y.at[v] = convert<S>(factor != nullptr ? value * convert<float>(by.at[v]) : value);
    }
    if (derivative != nullptr) store_pack(derivative + i, slope, true);
    store_pack(y + i, of_y, true);
  }
};

/// What a product of factors of a type is computed in. In a scope of bf16 too f32 factors keep tf32's bits: they are
/// those of losses and evaluation.
cublasComputeType_t compute_type_of(DType factors) {
  if (factors == f64) return CUBLAS_COMPUTE_64F;
  return factors == f32 && precision() != Precision::F32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

cudaDataType_t type_of(DType t) { return t == f64 ? CUDA_R_64F : t == f32 ? CUDA_R_32F : CUDA_R_16BF; }

/// cuBLASLt's algorithms for a product with that workspace and pointers of those alignments, best first; none where it
/// has no such product.
std::vector<ProductAlgorithm> algorithms_for(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                                             cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                             cublasLtMatrixLayout_t c, size_t workspace, int64_t align_a,
                                             int64_t align_b, int64_t align_c) {
  cublasLtMatmulPreference_t preference = nullptr;
  check_blas(cublasLtMatmulPreferenceCreate(&preference), "preference");
  const std::unique_ptr<std::remove_pointer_t<cublasLtMatmulPreference_t>, decltype(&cublasLtMatmulPreferenceDestroy)>
      owner(preference, &cublasLtMatmulPreferenceDestroy);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto value) {
    check_blas(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value), "preference");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(align_a));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(align_b));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(align_c));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(align_c));
  // A long sum may be cut into pieces, but they are added in f32 and in one order: not in the result's own type and
  // place, whoever comes first.
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  constexpr int kMost = 8;
  cublasLtMatmulHeuristicResult_t found[kMost]{};
  int n = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle, product, a, b, c, c, preference, kMost, found, &n);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return {};
  check_blas(status, "heuristic");  // a passing trouble is not remembered as "there is none"
  std::vector<ProductAlgorithm> algorithms;
  for (int i = 0; i < n; ++i)
    if (found[i].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back({found[i].algo});
  return algorithms;
}

/// Whether an epilogue may read or write it as it lies.
bool fits_epilogue(const View& bias) {
  return (bias.strides[0] == 1 || bias.shape[0] == 1) && reinterpret_cast<uintptr_t>(bias.data) % 16 == 0;
}

}  // namespace

bool CudaBackend::product(const View& out, const View& a, const View& b, const Epilogue& epilogue) {
  Scratch scratch(stream());
  const bool direct = out.strides[-1] == 1 && out.strides[-2] >= out.shape[-1];
  View y = out;
  if (!direct) {
    y.data = scratch.take<char>(out.numel() * static_cast<int64_t>(size_of(out.dtype)));
    y.strides = row_major(out.shape);
  }
  const Operand left(*this, scratch, a), right(*this, scratch, b), result(*this, scratch, y);
  visit_activations("matmul", a.dtype, [](auto) {});
  const bool wide = out.dtype == f64;
  const size_t factor_bytes = size_of(a.dtype), result_bytes = size_of(out.dtype);
  const cudaDataType_t factors = type_of(a.dtype), results = type_of(out.dtype);
  const cublasComputeType_t arithmetic = compute_type_of(a.dtype);

  // The innermost leading dimension that is left after merging is a batch; the others are walked.
  const Strided<3> at(leading(out.shape, 2),
                      {leading(result.strides(), 2), leading(left.strides(), 2), leading(right.strides(), 2)});
  const int last = at.rank - 1;
  const int64_t batch = at.rank == 0 ? 1 : at.size[last];
  const auto stride = [&](int k) { return at.rank == 0 ? int64_t{0} : at.stride[k][last]; };

  cublasLtMatmulDesc_t product = nullptr;
  check_blas(cublasLtMatmulDescCreate(&product, arithmetic, wide ? CUDA_R_64F : CUDA_R_32F), "product");
  const std::unique_ptr<std::remove_pointer_t<cublasLtMatmulDesc_t>, decltype(&cublasLtMatmulDescDestroy)> owner(
      product, &cublasLtMatmulDescDestroy);

  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto value) {
    check_blas(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value), "description");
  };
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue.kind);
  if (epilogue.bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, epilogue.bias);

  for (int64_t first = 0; first < at.count; first += batch) {
    int64_t offsets[3];
    at.offsets(first, offsets);
    const Matrix c = result.matrix(offsets[0], stride(0)), right_matrix = right.matrix(offsets[2], stride(2)),
                 left_matrix = left.matrix(offsets[1], stride(1));
    const cublasOperation_t op_right = right_matrix.transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                            op_left = left_matrix.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    set(CUBLASLT_MATMUL_DESC_TRANSA, op_right);
    set(CUBLASLT_MATMUL_DESC_TRANSB, op_left);
    const auto count = static_cast<int32_t>(batch);
    const Layout layout_a(factors, right_matrix, count), layout_b(factors, left_matrix, count),
        layout_c(results, c, count);

    const std::lock_guard lock(state_->mutex);
    const int64_t align_a = alignment_of(right_matrix, factor_bytes), align_b = alignment_of(left_matrix, factor_bytes),
                  align_c = alignment_of(c, result_bytes);
    const ProductKey key = {arithmetic,
                            factors,
                            results,
                            c.rows,
                            c.columns,
                            a.shape[-1],
                            batch,
                            right_matrix.leading,
                            left_matrix.leading,
                            c.leading,
                            right_matrix.transposed,
                            left_matrix.transposed,
                            right_matrix.batch_stride,
                            left_matrix.batch_stride,
                            c.batch_stride,
                            align_a,
                            align_b,
                            align_c,
                            common_alignment(reinterpret_cast<uintptr_t>(epilogue.bias), kMostAlignment),
                            epilogue.kind};
    auto plan = state_->plans.find(key);
    if (plan == state_->plans.end())
      plan = state_->plans
                 .emplace(key, algorithms_for(state_->blas, product, layout_a, layout_b, layout_c,
                                              State::kWorkspaceBytes, align_a, align_b, align_c))
                 .first;
    std::vector<ProductAlgorithm>& algorithms = plan->second;
    const double one_wide = 1, zero_wide = 0;
    const float one = 1, zero = 0;
    for (;; algorithms.erase(algorithms.begin())) {  // the heuristic may promise too much
      if (algorithms.empty()) return false;
      const cublasStatus_t status = cublasLtMatmul(
          state_->blas, product, wide ? static_cast<const void*>(&one_wide) : &one, right_matrix.data, layout_a,
          left_matrix.data, layout_b, wide ? static_cast<const void*>(&zero_wide) : &zero, c.data, layout_c, c.data,
          layout_c, &algorithms.front().value, state_->workspace, State::kWorkspaceBytes, stream());
      if (status == CUBLAS_STATUS_NOT_SUPPORTED) continue;
      check_blas(status, "product");
      break;
    }
  }
  if (!direct) copy(out, y);
  return true;
}

// out[…, m, n] = sum over k of a[…, m, k] b[…, k, n]
void CudaBackend::matmul(const View& out, const View& a, const View& b) {
  if (out.numel() == 0) return;
  if (a.shape[-1] == 0) return fill(out, 0);
  TACIT_CHECK(product(out, a, b, {}), "[matmul] cuBLASLt has no algorithm for ", a.shape, " times ", b.shape);
}

// y = gelu?(x w + bias) * factor?. (cuBLASLt's own GELU is the approximation by tanh.)
void CudaBackend::linear(const LinearArgs& a) {
  const bool simple =
      a.y.dtype != f64 && a.y.numel() > 0 && a.x.shape[1] > 0 && a.bias.defined() && fits_epilogue(a.bias);
  if (!simple || !product(a.y, a.x, a.w, {CUBLASLT_EPILOGUE_BIAS, a.bias.data})) return Backend::linear(a);
  const auto finish = [&](auto zero) {
    using S = decltype(zero);
    constexpr int V = kPack<S>;
    S *const y = a.y.ptr<S>(), *const derivative = a.derivative.ptr<S>();
    const S* const factor = a.factor.ptr<const S>();
    if (a.y.numel() % V == 0 && aligned<V>(y) && aligned<V>(derivative) && aligned<V>(factor))
      for_each_index(stream(), a.y.numel() / V, Finish<S, V>{y, derivative, factor, a.gelu});
    else
      for_each_index(stream(), a.y.numel(), Finish<S, 1>{y, derivative, factor, a.gelu});
  };
  if (!a.gelu && !a.factor.defined()) return;
  if (a.y.dtype == bf16)
    finish(BFloat16{});
  else
    finish(float{});
}

// dw = dyᵀ x, and beside it the sums of dyᵀ's rows.
void CudaBackend::linear_dw(const View& dw, const View& db, const View& dy, const View& x) {
  // dy of one row or column is its own transpose, and taken as such; BGRADB wants it as the transpose of what lies
  // there.
  const bool simple = dw.dtype == f32 && dw.numel() > 0 && dy.shape[0] > 1 && dy.shape[1] > 1 && fits_epilogue(db);
  View left = dy;
  left.shape = {dy.shape[1], dy.shape[0]};
  left.strides = {dy.strides[1], dy.strides[0]};
  if (!simple || !product(dw, left, x, {CUBLASLT_EPILOGUE_BGRADB, db.data})) Backend::linear_dw(dw, db, dy, x);
}

}  // namespace tacit::cuda
