#include "nn/mlp.h"

#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/simple.h"

namespace tacit::nn {

MLP::MLP(int64_t in, const std::vector<int64_t>& sizes, MLPOptions options) {
  const int64_t features = in;
  TACIT_CHECK(!sizes.empty(), "[MLP] needs the size of at least one layer");
  const DeferInit defer;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const bool last = i + 1 == sizes.size(), norm = last ? options.last_batch_norm : options.batch_norm;
    const int64_t out = sizes[i] > 0 ? sizes[i] : features;
    layers_.add(Linear(in, out, {.bias = !norm && (!last || options.last_bias)}));
    if (norm) layers_.add(BatchNorm1d(out, {.affine = !last, .splits = options.splits}));
    if (!last) layers_.add(ReLU());
    in = out;
  }
  initialize(*this, options.seed, options.path);
}

}  // namespace tacit::nn
