// What attention's two ways share: plain kernels (attention.cu), for any head, and those of the tensor cores
// (attention_tensor_core*.cu), for the usual sizes of bf16, and of f32 where a PrecisionScope allows less.
// The rule: a block follows some rows of one head of one sample (queries; keys for dk and dv) through tiles of the
// others (where a head's gradients are made by one block: all of them); blocks are numbered head by head in blockIdx.x,
// of which there may be 2^31.
#pragma once

#include "backends/cuda/combine.h"

namespace tacit::cuda {

/// One tensor (N, heads, tokens, size) whose last dimension is dense; an undefined one has no data.
template <class T>
struct Heads {
  T* data;
  int64_t sample, head, token;
  int heads;
  explicit Heads(const View& v)
      : data(v.defined() ? v.ptr<T>() : nullptr),
        sample(v.defined() ? v.strides[0] : 0),
        head(v.defined() ? v.strides[1] : 0),
        token(v.defined() ? v.strides[2] : 0),
        heads(v.defined() ? static_cast<int>(v.shape[1]) : 1) {}
  TACIT_HD T* row(int64_t nh, int64_t t) const { return data + nh / heads * sample + nh % heads * head + t * token; }
};

/// The rows that a block follows: those from `first` of head `nh`.
struct BlockRows {
  int64_t nh, first;
  __device__ BlockRows(int64_t tokens, int rows_a_block) {
    const int64_t blocks = divide_up(tokens, rows_a_block);
    nh = blockIdx.x / blocks;
    first = blockIdx.x % blocks * rows_a_block;
  }
};

/// What all of an attention's kernels are told.
template <class T>
struct AttentionSizes {
  int64_t heads, queries, keys;  ///< heads of all samples together
  int D, E;
  T scale;
  template <class Args>
  explicit AttentionSizes(const Args& a)
      : heads(a.q.shape[0] * a.q.shape[1]),
        queries(a.q.shape[2]),
        keys(a.k.shape[2]),
        D(static_cast<int>(a.q.shape[3])),
        E(static_cast<int>(a.v.shape[3])),
        scale(static_cast<T>(a.scale)) {}
};

/// Bytes of shared memory that a block can have on this GPU.
inline size_t most_shared_memory() {
  int device = 0, most = 0;
  check(cudaGetDevice(&device), "device");
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "device");
  return static_cast<size_t>(most);
}

/// By the tensor cores; false, with nothing done, where the type, the scope or the sizes are not for them.
bool tensor_core_attention(cudaStream_t, const AttentionArgs&);
bool tensor_core_attention_grad(cudaStream_t, const AttentionGradArgs&);

}  // namespace tacit::cuda
