// A block of a network under activation checkpointing.
#pragma once

#include "autograd/checkpoint.h"
#include "nn/norm.h"

namespace tacit::nn {

/// block(x), its activations kept or, with `checkpointed`, computed again in the backward pass, which then leaves
/// running statistics alone. The block must live until then.
template <class Block>
Variable run_block(Block& block, const Variable& x, bool checkpointed) {
  if (!checkpointed) return block(x);
  return checkpoint([&block](const Variable& v) { return block(v); }, x,
                    [&block](const Variable& v) {
                      const KeepRunningStatistics second_pass;
                      return block(v);
                    });
}

}  // namespace tacit::nn
