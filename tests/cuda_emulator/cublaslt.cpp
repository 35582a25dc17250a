// Products as cuBLASLt would do them, in plain loops, with every description checked first.
#include <cublasLt.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "tensor/dtype.h"
#include "tests/cuda_emulator/internal.h"

using tacit::BFloat16, tacit::convert;

struct cublasLtContext {};
struct cublasLtMatmulDescOpaque_t {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;
};
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType_t type;
  int64_t rows, columns, leading;
  int32_t batch = 1;
  int64_t batch_stride = 0;

  size_t element() const {
    return type == CUDA_R_64F ? sizeof(double) : type == CUDA_R_32F ? sizeof(float) : sizeof(BFloat16);
  }
  bool valid() const { return rows > 0 && columns > 0 && leading >= rows && batch > 0 && batch_stride >= 0; }
  bool in_memory(const void* data) const {
    const int64_t elements = (batch - 1) * batch_stride + (columns - 1) * leading + rows;
    return emulator::on_device(data, static_cast<size_t>(elements) * element());
  }
  int64_t rows_of(cublasOperation_t op) const { return op == CUBLAS_OP_N ? rows : columns; }
  int64_t columns_of(cublasOperation_t op) const { return op == CUBLAS_OP_N ? columns : rows; }
};
struct cublasLtMatmulPreferenceOpaque_t {
  uint64_t workspace = 0;
  uint32_t reductions = ~0u, align_a = 256, align_b = 256, align_c = 256, align_d = 256;
};

namespace {

template <class T>
cublasStatus_t store(T& to, const void* value, size_t bytes) {
  if (value == nullptr || bytes != sizeof to) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

bool agree(const cublasLtMatmulDescOpaque_t& op, const cublasLtMatrixLayoutOpaque_t& a,
           const cublasLtMatrixLayoutOpaque_t& b, const cublasLtMatrixLayoutOpaque_t& c,
           const cublasLtMatrixLayoutOpaque_t& d) {
  const cudaDataType_t type = op.compute == CUBLAS_COMPUTE_64F ? CUDA_R_64F : CUDA_R_32F;
  if (op.scale != type || c.type != d.type || a.type != b.type) return false;
  const bool narrow = a.type == CUDA_R_16BF && op.compute == CUBLAS_COMPUTE_32F;
  if (!(narrow ? d.type == CUDA_R_16BF || d.type == CUDA_R_32F : a.type == type && d.type == type)) return false;
  for (const auto* m : {&a, &b, &c, &d})
    if (!m->valid() || m->batch != d.batch) return false;
  return a.rows_of(op.a) == d.rows && b.columns_of(op.b) == d.columns && a.columns_of(op.a) == b.rows_of(op.b) &&
         c.rows == d.rows && c.columns == d.columns;
}

// All that a plan depends on, in one number (FNV-1a), and then its workspace and its alignments.
cublasLtMatmulAlgo_t plan_for(const cublasLtMatmulDescOpaque_t& op, const cublasLtMatrixLayoutOpaque_t& a,
                              const cublasLtMatrixLayoutOpaque_t& b, const cublasLtMatrixLayoutOpaque_t& d) {
  uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&](int64_t value) { hash = (hash ^ static_cast<uint64_t>(value)) * 0x100000001b3u; };
  for (const int64_t value : {int64_t{op.compute}, int64_t{op.a}, int64_t{op.b}, int64_t{op.epilogue}}) add(value);
  for (const auto* m : {&a, &b, &d})
    for (const int64_t value : {int64_t{m->type}, m->rows, m->columns, m->leading, int64_t{m->batch}, m->batch_stride})
      add(value);
  return {{hash}};
}

bool aligned(const void* pointer, uint64_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

// Bits of fraction that the operands of a product lose.
int lost_bits(cublasComputeType_t compute) { return compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? 13 : 0; }

// To the nearest number without the last `lost` bits of fraction, ties to even.
float rounded(float value, int lost) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  if (lost == 0 || (bits & 0x7f800000u) == 0x7f800000u) return value;
  bits = (bits + (1u << (lost - 1)) - 1 + (bits >> lost & 1)) & ~((1u << lost) - 1);
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// op(matrix) number `batch` as dense doubles, column by column.
template <class T>
std::vector<double> dense(const T* data, const cublasLtMatrixLayoutOpaque_t& m, cublasOperation_t op, int64_t batch,
                          int lost) {
  const int64_t rows = m.rows_of(op), columns = m.columns_of(op);
  std::vector<double> result(static_cast<size_t>(rows * columns));
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t i = 0; i < rows; ++i) {
      const auto value =
          convert<double>(data[batch * m.batch_stride + (op == CUBLAS_OP_N ? j * m.leading + i : i * m.leading + j)]);
      result[static_cast<size_t>(j * rows + i)] = lost > 0 ? rounded(static_cast<float>(value), lost) : value;
    }
  return result;
}

template <class F, class T>
void multiply(const cublasLtMatmulDescOpaque_t& op, double alpha, const F* a, const cublasLtMatrixLayoutOpaque_t& la,
              const F* b, const cublasLtMatrixLayoutOpaque_t& lb, double beta, const T* c,
              const cublasLtMatrixLayoutOpaque_t& lc, T* d, const cublasLtMatrixLayoutOpaque_t& ld) {
  const int lost = lost_bits(op.compute);
  const auto rows = static_cast<size_t>(ld.rows), depth = static_cast<size_t>(la.columns_of(op.a));
  std::vector<double> sums(rows);
  for (int64_t batch = 0; batch < ld.batch; ++batch) {
    const std::vector<double> left = dense(a, la, op.a, batch, lost), right = dense(b, lb, op.b, batch, lost);
    for (int64_t j = 0; j < ld.columns; ++j) {
      if (op.epilogue == CUBLASLT_EPILOGUE_BGRADB) {
        const auto column = right.begin() + j * static_cast<int64_t>(depth);
        static_cast<T*>(op.bias)[j] = convert<T>(std::accumulate(column, column + static_cast<int64_t>(depth), 0.0));
      }
      std::fill(sums.begin(), sums.end(), 0.0);
      for (size_t k = 0; k < depth; ++k) {
        const double factor = right[static_cast<size_t>(j) * depth + k];
        for (size_t i = 0; i < rows; ++i) sums[i] += left[k * rows + i] * factor;
      }
      for (size_t i = 0; i < rows; ++i) {
        const int64_t at = j * ld.leading + static_cast<int64_t>(i);
        const T* const before = c + batch * lc.batch_stride + j * lc.leading + static_cast<int64_t>(i);
        const double old = beta == 0 ? 0 : beta * convert<double>(*before);
        const double bias =
            op.epilogue == CUBLASLT_EPILOGUE_BIAS ? convert<double>(static_cast<const T*>(op.bias)[i]) : 0;
        d[batch * ld.batch_stride + at] = convert<T>(alpha * sums[i] + old + bias);
      }
    }
  }
}

}  // namespace

const char* cublasLtGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* op, cublasComputeType_t compute, cudaDataType_t scale) {
  *op = new cublasLtMatmulDescOpaque_t{compute, scale};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t op) {
  delete op;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t op, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return store(op->a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return store(op->b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return store(op->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return store(op->bias, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* m, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t leading) {
  *m = new cublasLtMatrixLayoutOpaque_t{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), leading};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t m) {
  delete m;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t m, cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t bytes) {
  return attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT ? store(m->batch, value, bytes)
                                                         : store(m->batch_stride, value, bytes);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return store(preference->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return store(preference->reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return store(preference->align_a, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return store(preference->align_b, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return store(preference->align_c, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return store(preference->align_d, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t op, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
                                              int wanted, cublasLtMatmulHeuristicResult_t* found, int* count) {
  *count = 0;
  // What adds pieces of a sum in the result's place would not repeat its bits.
  if (wanted < 1 || !agree(*op, *a, *b, *c, *d) || preference->reductions != CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (op->epilogue == CUBLASLT_EPILOGUE_BGRADB && op->b != CUBLAS_OP_T) return CUBLAS_STATUS_NOT_SUPPORTED;
  cublasLtMatmulHeuristicResult_t right{plan_for(*op, *a, *b, *d), CUBLAS_STATUS_SUCCESS};
  const uint64_t rest[] = {preference->workspace, preference->align_a, preference->align_b, preference->align_c,
                           preference->align_d};
  std::copy(std::begin(rest), std::end(rest), right.algo.data + 1);
  cublasLtMatmulHeuristicResult_t broken = right, missing = right;
  ++broken.algo.data[0];
  missing = {{}, CUBLAS_STATUS_NOT_SUPPORTED};
  for (const auto& result : {missing, broken, right})
    if (*count < wanted) found[(*count)++] = result;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t op, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t la, const void* b, cublasLtMatrixLayout_t lb, const void* beta,
                              const void* c, cublasLtMatrixLayout_t lc, void* d, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t* plan, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  if (!agree(*op, *la, *lb, *lc, *ld) || !la->in_memory(a) || !lb->in_memory(b) || !ld->in_memory(d))
    return CUBLAS_STATUS_INVALID_VALUE;
  const int64_t vector = op->epilogue == CUBLASLT_EPILOGUE_BGRADB ? ld->columns : ld->rows;
  if (op->epilogue != CUBLASLT_EPILOGUE_DEFAULT &&
      (ld->batch != 1 || !emulator::on_device(op->bias, static_cast<size_t>(vector) * ld->element())))
    return CUBLAS_STATUS_INVALID_VALUE;
  const uint64_t* const p = plan->data;
  if (p[0] == 0) return CUBLAS_STATUS_INVALID_VALUE;
  if (p[0] != plan_for(*op, *la, *lb, *ld).data[0] || workspace_bytes < p[1] ||
      !emulator::on_device(workspace, workspace_bytes))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  if (!aligned(a, p[2]) || !aligned(b, p[3]) || !aligned(c, p[4]) || !aligned(d, p[5]))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto run = [&](auto scale, auto factor_type, auto result) {
    using Scale = decltype(scale);
    using F = decltype(factor_type);
    using T = decltype(result);
    const auto factor = static_cast<double>(*static_cast<const Scale*>(alpha)),
               keep = static_cast<double>(*static_cast<const Scale*>(beta));
    emulator::enqueue(stream, [=, op = *op, la = *la, lb = *lb, lc = *lc, ld = *ld] {
      multiply(op, factor, static_cast<const F*>(a), la, static_cast<const F*>(b), lb, keep, static_cast<const T*>(c),
               lc, static_cast<T*>(d), ld);
    });
  };
  if (ld->type == CUDA_R_64F)
    run(double{}, double{}, double{});
  else if (la->type == CUDA_R_32F)
    run(float{}, float{}, float{});
  else if (ld->type == CUDA_R_32F)
    run(float{}, BFloat16{}, float{});
  else
    run(float{}, BFloat16{}, BFloat16{});
  return CUBLAS_STATUS_SUCCESS;
}
