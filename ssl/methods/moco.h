// MoCo (He, Fan, Wu, Xie, Girshick: "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020; v2:
// Chen, Fan, Girshick, He 2020; v3: Chen, Xie, He, "An Empirical Study of Training Self-Supervised Vision
// Transformers", ICCV 2021).
//   q = online(view 1) / |.|;  key encoder = m key encoder + (1 - m) online;  k = key encoder(view 2) / |.|
//   logits = [q . k, q . queue] / temperature;  loss = -log softmax(logits)[0]
//   the keys replace the oldest in the queue
// v3 has no queue: loss = 2 T (CE(q1 k2ᵀ / T) + CE(q2 k1ᵀ / T)), q through a predictor, labels the diagonal.
// Variants chosen here: v1 and v2 differ by head, temperature and augmentation (recipes); the keys' batch is shuffled,
// so that with split batch norm (EncoderOptions::bn_splits, and bn_splits here for the heads) no statistics tell which
// key belongs to a query; the average runs over parameters, with those of before this step's update, and the key
// encoder keeps its own batch norm statistics; `symmetric` adds the loss with the views exchanged and puts both views'
// keys into the queue, after both losses. v3's heads have no bias and end in a batch norm without weight and bias, but
// for the predictor of ResNets, which ends in its linear layer (the official code). `stop_grad_conv1` is v3's trick
// against dips in a ViT's training: the patch embedding is a random projection that nothing updates, neither a gradient
// nor weight decay.
#pragma once

#include <optional>

#include "ssl/methods/branch.h"
#include "ssl/methods/method.h"

namespace tacit::ssl {

struct MoCoOptions {
  std::string variant = "v2";  ///< v1, v2 (one loss) or v3
  double temperature = 0.2;
  int64_t queue_size = 65536;  ///< keys kept; a multiple of the keys a step makes
  double momentum = 0.999;     ///< of the key encoder; v3: rises to 1 by a cosine
  bool symmetric = false;
  std::vector<int64_t> projector = {0, 128};
  bool projector_batch_norm = false;             ///< after the head's hidden layers; v3 always has it
  std::vector<int64_t> predictor = {4096, 256};  ///< v3
  bool predictor_last_batch_norm = false;        ///< v3: true for ViTs
  bool stop_grad_conv1 = false;                  ///< of a ViT: its patch embedding stays as it was drawn
  int64_t bn_splits = 0;                         ///< of the heads' batch norms: BatchNormOptions::splits
  uint64_t seed = 0;
};

class MoCo : public Method {
 public:
  MoCo(nn::Encoder encoder, MoCoOptions options);
  Variable loss(const std::vector<Tensor>& views, const Progress&) override;
  nn::Encoder& encoder() override { return online_.encoder; }
  nn::Encoder* teacher() override { return &key_.module().encoder; }
  void encoder_replaced() override { key_.module() = online_; }
  Variable project(const Variable& features) override { return online_.projector(features); }
  /// log(1 + queue), v3: 4 T log(batch).
  Chance chance(int64_t batch_size) const override;
  std::map<std::string, Tensor> metrics() const override { return metrics_; }
  std::string why_not_captured() const override;
  std::vector<std::string> describe(int64_t images, int64_t batch_size) const override;
  void visit(nn::Visitor& v) override;
  void state_loaded() override { queue_at_.reset(); }

 private:
  bool v3() const { return options_.variant == "v3"; }
  /// A view's features h and unit queries.
  Variable query(const Tensor& view, Tensor* h);
  /// Unit keys of a view; their batch is in random order on its way through the key encoder (v3: in its own).
  Tensor keys(const Tensor& view, const Progress&, uint64_t which);
  /// -log softmax([q . k, q . queue] / T)[0], mean over the batch; v3: 2 T CE(q kᵀ / T) with the diagonal as labels.
  Variable contrast(const Variable& q, const Tensor& k, Tensor* top1) const;
  void enqueue(const Tensor& k);

  MoCoOptions options_;
  Branch online_;
  nn::Frozen<Branch> key_;
  std::optional<nn::MLP> predictor_;  // v3
  nn::Buffer queue_, queue_ptr_;      // (K, D) unit rows; the row that the next key replaces
  std::optional<int64_t> queue_at_;   // queue_ptr_'s number, once it was read: a step does not wait for it
  std::map<std::string, Tensor> metrics_;
};

}  // namespace tacit::ssl
