// SimCLR (Chen, Kornblith, Norouzi, Hinton: "A Simple Framework for Contrastive Learning of Visual Representations",
// ICML 2020).
//   for each image draw two views; h = encoder(view); z = projector(h) / |projector(h)|
//   s[i][j] = z_i . z_j / temperature over all 2N views, s[i][i] removed
//   loss = mean over i of -log softmax(s[i])[the other view of i's image]          (NT-Xent, eq. 1)
// Variants chosen here: the loss is the mean over 2N rows (the official code sums the two directions: twice this);
// no batch norm follows the head's last layer (there one without offset); negatives come from this process's batch;
// batch norm statistics are those of both views together.
// Large batches: with chunk_size the encoder sees that many images at a time, and the loss all of them (Gao, Zhang, Han
// & Callan, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021). A first pass makes z
// without a graph, the loss gives dz, a second pass sends each chunk's dz back: the gradient of the whole batch's loss,
// exactly, for one more forward pass. Batch norm statistics are those of a chunk.
#pragma once

#include "nn/mlp.h"
#include "ssl/methods/method.h"

namespace tacit::ssl {

struct SimCLROptions {
  double temperature = 0.5;
  std::vector<int64_t> projector = {0, 128};  ///< hidden and output sizes; 0: the encoder's features
  bool projector_batch_norm = true;           ///< after every hidden layer (then that layer has no bias)
  int64_t chunk_size = 0;                     ///< images the encoder sees at a time, a divisor of the batch; 0: all
  uint64_t seed = 0;
};

class SimCLR : public Method {
 public:
  SimCLR(nn::Encoder encoder, SimCLROptions options);
  /// With chunks, backward() makes the second pass, so that it needs this method and its parameters as they are now.
  Variable loss(const std::vector<Tensor>& views, const Progress&) override;
  nn::Encoder& encoder() override { return encoder_; }
  Variable project(const Variable& features) override;
  /// log(2N - 1); one of the 2N - 1 others is the partner.
  Chance chance(int64_t batch_size) const override;
  std::string why_not_captured() const override { return ""; }
  std::map<std::string, Tensor> metrics() const override;
  void visit(nn::Visitor& v) override;

 private:
  Variable chunked_loss(const std::vector<Tensor>& views);

  SimCLROptions options_;
  nn::Encoder encoder_;
  nn::MLP projector_;
  Tensor feature_std_, top1_;
};

}  // namespace tacit::ssl
