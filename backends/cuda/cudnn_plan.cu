// The documentation of each descriptor and its attributes is in NVIDIA's "cuDNN backend API" and, from version 9.20 on,
// in cudnn_graph.h.
#include "backends/cuda/cudnn_plan.h"

#include <algorithm>
#include <array>
#include <vector>

namespace tacit::cuda {

void check_cudnn(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::array<char, 512> why{};
  cudnnGetLastErrorString(why.data(), why.size());
  detail::fail("[conv2d] cuDNN ", what, ": ", cudnnGetErrorString(status), " ", why.data());
}

namespace {

cudnnBackendDescriptor_t make(cudnnBackendDescriptorType_t type) {
  cudnnBackendDescriptor_t descriptor = nullptr;
  check_cudnn(cudnnBackendCreateDescriptor(type, &descriptor), "descriptor");
  return descriptor;
}

enum Id : int64_t { kX = 1, kW, kY };  // by which a plan tells its tensors

/// (N,H,W,C), in cuDNN's order of dimensions: N, C, H, W.
CudnnDescriptor tensor(Id id, const Convolution& of, const Shape& s) {
  CudnnDescriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, static_cast<int64_t>(id));
  d.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, of.dtype == bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT);
  d.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, of.alignment);
  const int64_t sizes[] = {s[0], s[3], s[1], s[2]}, strides[] = {s[1] * s[2] * s[3], 1, s[2] * s[3], s[3]};
  d.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, sizes);
  d.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
  return d;
}

CudnnDescriptor window_of(const Window& w) {
  CudnnDescriptor d(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const int64_t dilation[] = {w.dilation_h, w.dilation_w}, stride[] = {w.stride_h, w.stride_w},
                padding[] = {w.padding_h, w.padding_w};
  d.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  d.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION);
  d.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, int64_t{2});
  d.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation);
  d.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
  d.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, padding);
  d.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, padding);
  return d;
}

/// How cuDNN calls one of the products and what it is made of.
struct Operation {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t x, w, y, window, alpha, beta;
};
constexpr std::array kOperations = {  // in the order of Convolution::Product
    Operation{CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    Operation{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    Operation{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};

/// The product as a graph of one operation; nothing where cuDNN has none such.
std::optional<CudnnDescriptor> graph_of(const Convolution& c, const CudnnTarget& target) {
  const Operation& names = kOperations[static_cast<size_t>(c.product)];
  CudnnDescriptor x = tensor(kX, c, c.x), w = tensor(kW, c, c.w), y = tensor(kY, c, c.y), window = window_of(c.window);
  if (!x.finalize() || !w.finalize() || !y.finalize() || !window.finalize()) return {};
  CudnnDescriptor operation(names.type);
  operation.set(names.x, x);
  operation.set(names.w, w);
  operation.set(names.y, y);
  operation.set(names.window, window);
  operation.set(names.alpha, CUDNN_TYPE_FLOAT, 1.0f);
  operation.set(names.beta, CUDNN_TYPE_FLOAT, 0.0f);
  if (!operation.finalize()) return {};
  CudnnDescriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  if (target.handle != nullptr) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, target.handle);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
  if (!graph.finalize()) return {};
  return graph;
}

/// Engines with their settings, best first, as the heuristic sees them.
std::vector<CudnnDescriptor> candidates(const CudnnDescriptor& graph, const CudnnTarget& target,
                                        cudnnBackendHeurMode_t mode) {
  CudnnDescriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
#if CUDNN_VERSION >= 90800
  if (target.properties != nullptr) heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target.properties);
#endif
  if (!heuristic.finalize()) return {};
  const auto results = [&](int64_t most, void* to) {
    return heuristic.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, to);
  };
  std::vector<CudnnDescriptor> list;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (int64_t left = results(0, nullptr); left > 0; --left)
    raw.push_back(list.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
  const int64_t given = raw.empty() ? 0 : results(static_cast<int64_t>(raw.size()), raw.data());
  list.erase(list.begin() + std::min<int64_t>(given, static_cast<int64_t>(list.size())), list.end());
  return list;
}

/// Whether an engine gives the same bits each time, and rounds no more than c's types do.
bool suits(const CudnnDescriptor& engine, const Convolution& c) {
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes;
  const auto most = static_cast<int64_t>(notes.size());  // a later library may know more of them
  const int64_t count =
      std::min(most, engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, most, notes.data()));
  return std::none_of(notes.begin(), notes.begin() + count, [&](cudnnBackendNumericalNote_t note) {
    if (note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE) return !c.tensor_cores;
    return note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC || note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
           note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION;
  });
}

}  // namespace

CudnnDescriptor::CudnnDescriptor(cudnnBackendDescriptorType_t type)
    : owner_(make(type), &cudnnBackendDestroyDescriptor) {}

void CudnnDescriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                          const void* values) {
  check_cudnn(cudnnBackendSetAttribute(owner_.get(), name, type, count, values), "attribute");
}

int64_t CudnnDescriptor::get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t most,
                             void* values) const {
  int64_t count = 0;
  check_cudnn(cudnnBackendGetAttribute(owner_.get(), name, type, most, &count, values), "attribute");
  return count;
}

bool CudnnDescriptor::finalize() {
  const cudnnStatus_t status = cudnnBackendFinalize(owner_.get());
  // A shortage that passes must not change the plan. An engine that cannot be made here, for whatever other reason, is
  // none.
  for (const cudnnStatus_t passing :
       {CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED, CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED})
    if (status == passing) check_cudnn(status, "descriptor");
  return status == CUDNN_STATUS_SUCCESS;
}

std::optional<ConvolutionPlan> ConvolutionPlan::find(const Convolution& c, const CudnnTarget& target, int64_t first) {
  constexpr int64_t kMostWorkspace = int64_t{1} << 30;
  const std::optional<CudnnDescriptor> graph = graph_of(c, target);
  if (!graph) return {};
  int64_t place = -1;
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
    for (const CudnnDescriptor& candidate : candidates(*graph, target, mode)) {
      if (++place < first) continue;
      CudnnDescriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
      cudnnBackendDescriptor_t raw = engine;
      candidate.get(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw);
      if (!suits(engine, c)) continue;
      CudnnDescriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      if (target.handle != nullptr) plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, target.handle);
#if CUDNN_VERSION >= 90800
      if (target.properties != nullptr) plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target.properties);
#endif
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, candidate);
      if (!plan.finalize()) continue;  // the heuristic may promise too much
      int64_t workspace = 0, index = 0;
      plan.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &workspace);
      engine.get(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index);
      if (workspace <= kMostWorkspace) return ConvolutionPlan(std::move(plan), workspace, index, place);
    }
  return {};
}

bool ConvolutionPlan::run(cudnnHandle_t handle, void* x, void* w, void* y, void* workspace) const {
  const int64_t ids[] = {kX, kW, kY};
  void* const pointers[] = {x, w, y};
  CudnnDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, ids);
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, pointers);
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace);
  TACIT_CHECK(pack.finalize(), "[conv2d] cuDNN does not take the tensors");
  const cudnnStatus_t status = cudnnBackendExecute(handle, plan_, pack);
  if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) return false;  // for whatever reason
  check_cudnn(status, "convolution");
  return true;
}

}  // namespace tacit::cuda
