// TEMPORARY (lead): forwards to the reference until cpurest delivers; delete this file and its CMake line then.
#include "backends/cpu/backend.h"
#include "backends/reference/backend.h"
namespace tacit::cpu {
namespace {
reference::ReferenceBackend& r() {
  static reference::ReferenceBackend b;
  return b;
}
}  // namespace
void CpuBackend::fill(const View& a0, double a1) { r().fill(a0, a1); }
void CpuBackend::copy(const View& a0, const View& a1) { r().copy(a0, a1); }
void CpuBackend::unary(UnaryOp a0, const View& a1, const View& a2) { r().unary(a0, a1, a2); }
void CpuBackend::unary_grad(UnaryOp a0, const View& a1, const View& a2, const View& a3, const View& a4) {
  r().unary_grad(a0, a1, a2, a3, a4);
}
void CpuBackend::binary(BinaryOp a0, const View& a1, const View& a2, const View& a3) { r().binary(a0, a1, a2, a3); }
void CpuBackend::select(const View& a0, const View& a1, const View& a2, const View& a3) { r().select(a0, a1, a2, a3); }
void CpuBackend::reduce(ReduceOp a0, const View& a1, const View& a2) { r().reduce(a0, a1, a2); }
void CpuBackend::arg_reduce(ReduceOp a0, const View& a1, const View& a2) { r().arg_reduce(a0, a1, a2); }
void CpuBackend::top_k(const View& a0, const View& a1, const View& a2) { r().top_k(a0, a1, a2); }
void CpuBackend::gather(const View& a0, const View& a1, const View& a2, int a3) { r().gather(a0, a1, a2, a3); }
void CpuBackend::scatter_add(const View& a0, const View& a1, const View& a2, int a3) {
  r().scatter_add(a0, a1, a2, a3);
}
void CpuBackend::random(Distribution a0, const View& a1, uint64_t a2, uint64_t a3, const View& a4) {
  r().random(a0, a1, a2, a3, a4);
}
void CpuBackend::pool(PoolOp a0, const View& a1, const View& a2, const View& a3, const Window& a4) {
  r().pool(a0, a1, a2, a3, a4);
}
void CpuBackend::pool_grad(PoolOp a0, const View& a1, const View& a2, const View& a3, const Window& a4) {
  r().pool_grad(a0, a1, a2, a3, a4);
}
void CpuBackend::moments(const View& a0, const View& a1, const View& a2) { r().moments(a0, a1, a2); }
void CpuBackend::batch_norm(const BatchNormArgs& a0) { r().batch_norm(a0); }
void CpuBackend::batch_norm_grad(const BatchNormGradArgs& a0) { r().batch_norm_grad(a0); }
void CpuBackend::layer_norm(const LayerNormArgs& a0) { r().layer_norm(a0); }
void CpuBackend::layer_norm_grad(const LayerNormGradArgs& a0) { r().layer_norm_grad(a0); }
void CpuBackend::softmax(const View& a0, const View& a1, bool a2) { r().softmax(a0, a1, a2); }
void CpuBackend::softmax_grad(const View& a0, const View& a1, const View& a2, bool a3) {
  r().softmax_grad(a0, a1, a2, a3);
}
void CpuBackend::cross_entropy(const View& a0, const View& a1, const View& a2, const View& a3, double a4) {
  r().cross_entropy(a0, a1, a2, a3, a4);
}
void CpuBackend::cross_entropy_grad(const View& a0, const View& a1, const View& a2, const View& a3, const View& a4,
                                    double a5) {
  r().cross_entropy_grad(a0, a1, a2, a3, a4, a5);
}
void CpuBackend::sum_squares(const View& a0, std::span<const View> a1) { r().sum_squares(a0, a1); }
void CpuBackend::lerp(std::span<const View> a0, std::span<const View> a1, const View& a2) { r().lerp(a0, a1, a2); }
void CpuBackend::update(const SgdArgs& a0) { r().update(a0); }
void CpuBackend::update(const AdamWArgs& a0) { r().update(a0); }
}  // namespace tacit::cpu
