// Node: one result's place in the graph: which results it was made from, and the formulas that lead back to them.
// A node owns its inputs' nodes, never their values: memory held is what the formulas captured.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "autograd/variable.h"

namespace tacit {

struct Node {
  struct Edge {
    std::shared_ptr<Node> input;
    Shape shape;       // of the input: a gradient of the broadcast shape is summed to it
    Vjp vjp;           // empty when `joint` makes the gradients
    int position = 0;  // among the inputs given to record_joint
  };

  explicit Node(const char* op_name);
  /// Frees long chains with a work list: recursion would overflow the stack at some 100,000 ops.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const char* op;
  uint64_t order;  // of creation, process-wide: a topological order of every graph
  std::vector<Edge> edges;
  JointVjp joint;
  Remake remake;  // of the value, if its op said how
  int joint_inputs = 0;
  bool is_leaf = false;
  bool freed = false;  // a backward pass went through
  Shape shape;         // of the value
  DType dtype = f32;
  Tensor grad;  // of a leaf: what the user reads
  std::vector<std::function<void(const Tensor&)>> hooks;
};

}  // namespace tacit
