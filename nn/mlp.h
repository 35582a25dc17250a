// MLP: linear layers with ReLU between them, and batch norm before each ReLU if wanted: a projection or prediction
// head. The rule: a layer that batch norm follows has no bias (the norm would remove it).
#pragma once

#include "nn/sequential.h"

namespace tacit::nn {

/// Where norms and biases are: the papers' projectors differ in nothing else.
struct MLPOptions {
  bool batch_norm = true;        ///< after every hidden layer
  bool last_batch_norm = false;  ///< after the last layer too, without weight and bias; that layer then has no bias
  bool last_bias = true;         ///< where no norm follows the last layer
  int64_t splits = 0;            ///< of the batch norms: BatchNormOptions::splits
  uint64_t seed = 0;             ///< of the initial weights (torch's defaults)
  std::string path = {};         ///< where the head sits in its model; its initial weights are keyed by it
};

/// x (N, in) -> (N, sizes.back()); a size of 0 means `in`. Named like torch's Sequential(Linear, BatchNorm1d, ReLU, …):
/// "0.weight", "1.weight", …
class MLP : public Module {
 public:
  MLP(int64_t in, const std::vector<int64_t>& sizes, MLPOptions options = {});
  Variable operator()(const Variable& x) { return layers_(x); }
  void visit(Visitor& v) override { v("", layers_); }

 private:
  Sequential layers_;
};

}  // namespace tacit::nn
