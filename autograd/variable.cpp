#include "autograd/variable.h"

#include <atomic>
#include <queue>
#include <unordered_map>
#include <utility>

#include "autograd/node.h"
#include "tensor/ops.h"

namespace tacit {

namespace {

std::atomic<uint64_t> next_order{0};
thread_local bool recording = true;

// sum += term, in place where nobody else can see the buffer.
void accumulate(Tensor& sum, const Tensor& term) {
  if (!sum.defined()) {
    sum = term;
  } else if (sum.unshared() && sum.contiguous()) {
    sum.add_(term);
  } else {
    sum = sum + term;
  }
}

}  // namespace

Node::Node(const char* op_name) : op(op_name), order(next_order++) {}

Node::~Node() {
  std::vector<std::shared_ptr<Node>> doomed;
  const auto take_edges = [&doomed](Node& node) {
    for (Edge& edge : node.edges) {
      if (edge.input.use_count() == 1) doomed.push_back(std::move(edge.input));
      edge.input.reset();  // now, so that the second edge to the same node (x * x) finds itself to be the last
    }
    node.edges.clear();
  };
  take_edges(*this);
  while (!doomed.empty()) {
    const std::shared_ptr<Node> node = std::move(doomed.back());
    doomed.pop_back();
    take_edges(*node);
  }
}

// ---- Variable

Variable Variable::leaf(Tensor value) {
  TACIT_CHECK(value.defined() && is_floating(value.dtype()), "[leaf] gradients exist for floating tensors only");
  Variable v(std::move(value));
  v.node_ = std::make_shared<Node>("leaf");
  v.node_->is_leaf = true;
  v.node_->shape = v.shape();
  v.node_->dtype = v.dtype();
  return v;
}

bool Variable::is_leaf() const { return node_ && node_->is_leaf; }

const Tensor& Variable::grad() const {
  TACIT_CHECK(is_leaf(), "[grad] only leaves keep a gradient; this is ", node_ ? node_->op : "a constant");
  return node_->grad;
}

void Variable::set_grad(Tensor grad) const {
  TACIT_CHECK(is_leaf(), "[set_grad] only leaves keep a gradient; this is ", node_ ? node_->op : "a constant");
  TACIT_CHECK(!grad.defined() || (grad.shape() == shape() && grad.dtype() == dtype()),
              "[set_grad] a gradient of shape ", grad.shape(), " for a leaf of shape ", shape());
  node_->grad = std::move(grad);
}

void Variable::assign_(const Tensor& value) const {
  TACIT_CHECK(value.shape() == shape(), "[assign_] a value of shape ", value.shape(), " for a leaf of shape ", shape());
  Tensor(value_).copy_(value);
}

// ---- recording

NoGrad::NoGrad() : before_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() { recording = before_; }
bool grad_enabled() { return recording; }

/// Builds a node: the one friend that may set a Variable's place in the graph.
class Recorder {
 public:
  static Variable finish(Tensor y, std::shared_ptr<Node> node) {
    Variable result(std::move(y));
    if (node && !node->edges.empty()) {
      node->shape = result.shape();
      node->dtype = result.dtype();
      result.node_ = std::move(node);
    }
    return result;
  }
};

Variable record(const char* op, Tensor y, std::initializer_list<RecordedInput> inputs) {
  std::shared_ptr<Node> node;
  if (recording) {
    for (const RecordedInput& in : inputs) {
      if (!in.input.requires_grad()) continue;
      if (!node) node = std::make_shared<Node>(op);
      node->edges.push_back({in.input.node(), in.input.shape(), in.vjp});
    }
  }
  return Recorder::finish(std::move(y), std::move(node));
}

Variable record_joint(const char* op, Tensor y, const std::vector<Variable>& inputs, JointVjp vjp) {
  std::shared_ptr<Node> node;
  if (recording) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!inputs[i].requires_grad()) continue;
      if (!node) node = std::make_shared<Node>(op);
      node->edges.push_back({inputs[i].node(), inputs[i].shape(), {}, static_cast<int>(i)});
    }
    if (node) {
      node->joint = std::move(vjp);
      node->joint_inputs = static_cast<int>(inputs.size());
    }
  }
  return Recorder::finish(std::move(y), std::move(node));
}

void can_remake(const Variable& y, Remake remake) {
  if (y.requires_grad()) y.node()->remake = std::move(remake);
}

Remake keep(const Variable& input) {
  if (input.requires_grad() && input.node()->remake) return input.node()->remake;
  return [value = input.value()] { return value; };
}

void on_grad(const Variable& leaf, std::function<void(const Tensor& grad)> f) {
  TACIT_CHECK(leaf.is_leaf(), "[on_grad] not a leaf");
  leaf.node()->hooks.push_back(std::move(f));
}

// ---- the backward pass

namespace {

// One backward pass. Nodes are run in falling order of creation, so that when one is reached every gradient that flows
// into it has been added. Sums live here, not in the nodes: a pass nested in a formula never meets this one's.
class BackwardPass {
 public:
  void run(const std::shared_ptr<Node>& root, const Tensor& dy) {
    add(root, dy);
    while (!pending_.empty()) {
      const std::shared_ptr<Node> node = std::move(const_cast<std::shared_ptr<Node>&>(pending_.top()));
      pending_.pop();
      const auto found = sums_.find(node.get());
      const Tensor gradient = std::move(found->second);
      sums_.erase(found);
      if (node->is_leaf) {
        finish_leaf(*node, gradient);
      } else {
        differentiate(*node, gradient);
      }
    }
  }

 private:
  struct OlderFirstOut {
    bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
      return a->order < b->order;
    }
  };

  void add(const std::shared_ptr<Node>& node, const Tensor& gradient) {
    const auto [slot, first] = sums_.try_emplace(node.get());
    accumulate(slot->second, gradient);
    if (first) pending_.push(node);
  }

  static void finish_leaf(Node& leaf, const Tensor& gradient) {
    // Two leaves of a sum receive one and the same buffer; each needs its own, since optimisers and clipping write it.
    const Tensor own = gradient.unshared() && gradient.contiguous() ? gradient : gradient.clone();
    accumulate(leaf.grad, own);
    for (const auto& hook : leaf.hooks) hook(leaf.grad);
  }

  void differentiate(Node& node, const Tensor& dy) {
    TACIT_CHECK(!node.freed, "[backward] '", node.op,
                "' was differentiated before and its activations are freed; run the forward pass again");
    // The formulas go with this scope: what they captured is freed as soon as the node is done.
    const std::vector<Node::Edge> edges = std::move(node.edges);
    const JointVjp joint = std::move(node.joint);
    node.edges.clear();
    node.joint = nullptr;
    node.remake = nullptr;
    node.freed = true;

    std::vector<Tensor> gradients;
    if (joint) {
      std::vector<bool> needed(static_cast<size_t>(node.joint_inputs));
      for (const Node::Edge& edge : edges) needed[static_cast<size_t>(edge.position)] = true;
      gradients = joint(dy, needed);
      TACIT_CHECK(gradients.size() == needed.size(), "[", node.op, "] the formula gave ", gradients.size(),
                  " gradients for ", needed.size(), " inputs");
    }
    // Several formulas read dy one after the other: none may take its memory (autograd/over.h).
    const Tensor held = edges.size() > 1 && !joint ? dy : Tensor();
    for (const Node::Edge& edge : edges) {
      const Tensor dx = joint ? gradients[static_cast<size_t>(edge.position)] : edge.vjp(dy);
      TACIT_CHECK(dx.defined() && dx.dtype() == edge.input->dtype, "[", node.op, "] the formula of input ",
                  edge.position, " gave no gradient of its dtype");
      add(edge.input, sum_to(dx, edge.shape));
    }
  }

  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, OlderFirstOut> pending_;
  std::unordered_map<Node*, Tensor> sums_;
};

}  // namespace

void Variable::backward() const {
  TACIT_CHECK(value_.numel() == 1, "[backward] needs a scalar, got shape ", shape(),
              "; or give backward() its gradient");
  backward(Tensor::full(shape(), 1, dtype(), value_.device()));
}

void Variable::backward(const Tensor& dy) const {
  TACIT_CHECK(requires_grad(),
              "[backward] no leaf leads here: every input was a constant, detached, or made under NoGrad");
  TACIT_CHECK(dy.shape() == shape() && dy.dtype() == dtype(), "[backward] a gradient of shape ", dy.shape(), " and ",
              name_of(dy.dtype()), " for a value of shape ", shape(), " and ", name_of(dtype()));
  BackwardPass().run(node_, dy);
}

}  // namespace tacit
