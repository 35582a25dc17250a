#include "nn/mlp.h"

#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/simple.h"

namespace tacit::nn {

MLP::MLP(int64_t in, const std::vector<int64_t>& sizes, MLPOptions options) {
  TACIT_CHECK(!sizes.empty(), "[MLP] needs the size of at least one layer");
  const DeferInit defer;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const bool last = i + 1 == sizes.size(), norm = last ? options.last_batch_norm : options.batch_norm;
    layers_.add(Linear(in, sizes[i], {.bias = !norm}));
    if (norm) layers_.add(BatchNorm1d(sizes[i], {.affine = !last}));
    if (!last) layers_.add(ReLU());
    in = sizes[i];
  }
  initialize(*this, options.seed, options.path);
}

}  // namespace tacit::nn
