#include "nn/module.h"
#include "tensor/join.h"

#include <atomic>
#include <set>

namespace tacit::nn {

namespace {

std::atomic<int64_t> live_parameters{0};

// The memory order of `layout` from the order of files, and back.
Tensor from_file_order(const Tensor& t, Layout layout) {
  return layout == Layout::ConvOHWI && t.rank() == 4 ? t.permute({0, 2, 3, 1}) : t;
}
Tensor to_file_order(const Tensor& t, Layout layout) {
  return layout == Layout::ConvOHWI ? t.permute({0, 3, 1, 2}) : t;
}

// A visitor made of up to two functions.
template <class OnParameter, class OnBuffer>
class Each final : public Visitor {
 public:
  Each(OnParameter p, OnBuffer b) : on_parameter_(std::move(p)), on_buffer_(std::move(b)) {}

 protected:
  void parameter(const std::string& path, Parameter& p) override { on_parameter_(path, p); }
  void buffer(const std::string& path, Buffer& b) override { on_buffer_(path, b); }

 private:
  OnParameter on_parameter_;
  OnBuffer on_buffer_;
};

constexpr auto kIgnore = [](const std::string&, auto&) {};

template <class OnParameter, class OnBuffer = decltype(kIgnore)>
void for_each(Module& m, OnParameter on_parameter, OnBuffer on_buffer = kIgnore) {
  Each<OnParameter, OnBuffer> visitor(std::move(on_parameter), std::move(on_buffer));
  visitor("", m);
}

class StateLoadedVisitor final : public Visitor {
 protected:
  void module(const std::string&, Module& m) override { m.state_loaded(); }
};

std::string listed(const std::vector<std::string>& names) { return names.empty() ? "none" : join(names); }

}  // namespace

// ---- Parameter

Parameter::Parameter(Tensor value, Layout layout) : variable_(Variable::leaf(std::move(value))), layout_(layout) {
  TACIT_CHECK(layout != Layout::ConvOHWI || variable_.rank() == 4,
              "[parameter] a convolution's weight has rank 4, got ", variable_.shape());
  ++live_parameters;
}

Parameter::Parameter(const Parameter& other) { assign(other); }

Parameter::Parameter(Parameter&& other) noexcept
    : variable_(std::exchange(other.variable_, Variable())), layout_(other.layout_) {}

Parameter& Parameter::operator=(const Parameter& other) {
  assign(other);
  return *this;
}

Parameter& Parameter::operator=(Parameter&& other) {
  assign(other);
  return *this;
}

Parameter::~Parameter() {
  if (defined()) --live_parameters;
}

void Parameter::assign(const Parameter& other) {
  if (this == &other) return;
  if (defined()) {
    TACIT_CHECK(other.defined(), "[parameter] nothing is assigned to a parameter of shape ", shape(),
                "; the two modules differ");
    variable_.assign_(other.value());
  } else if (other.defined()) {
    layout_ = other.layout_;
    const Tensor copy = other.value().clone();
    variable_ = other.variable_.requires_grad() ? Variable::leaf(copy) : Variable(copy);
    ++live_parameters;
  }
}

void Parameter::replace(Tensor value) {
  variable_ = variable_.requires_grad() ? Variable::leaf(std::move(value)) : Variable(std::move(value));
}

void Parameter::freeze() { variable_ = variable_.detach(); }
void Parameter::to(const Device& device) { replace(value().to(device)); }
void Parameter::to(DType dtype) { replace(value().to(dtype)); }
int64_t Parameter::live_count() { return live_parameters; }

// ---- Buffer

Buffer::Buffer(const Buffer& other) { assign(other); }

Buffer& Buffer::operator=(const Buffer& other) {
  assign(other);
  return *this;
}

Buffer& Buffer::operator=(Buffer&& other) {
  assign(other);
  return *this;
}

void Buffer::assign(const Buffer& other) {
  if (this == &other) return;
  if (!defined()) {
    if (other.defined()) value_ = other.value_.clone();
    return;
  }
  TACIT_CHECK(other.defined() && other.value_.shape() == value_.shape(), "[buffer] a buffer of shape ", value_.shape(),
              " is assigned ", other.defined() ? "one of another shape" : "nothing", "; the two modules differ");
  value_.copy_(other.value_);
}

// ---- Visitor

std::string Visitor::join(const std::string& name) const {
  return prefix_.empty() || name.empty() ? prefix_ + name : prefix_ + "." + name;
}

void Visitor::operator()(const std::string& name, Parameter& p) {
  if (p.defined()) parameter(join(name), p);
}

void Visitor::operator()(const std::string& name, Buffer& b) {
  if (b.defined()) buffer(join(name), b);
}

void Visitor::operator()(const std::string& name, Module& m) {
  const std::string above = std::exchange(prefix_, join(name));
  module(prefix_, m);
  m.visit(*this);
  prefix_ = above;
}

// ---- Module

class TrainVisitor final : public Visitor {
 public:
  explicit TrainVisitor(bool on) : on_(on) {}

 protected:
  void module(const std::string&, Module& m) override { m.training_ = on_; }

 private:
  bool on_;
};

void Module::train(bool on) {
  TrainVisitor visitor(on);
  visitor("", *this);
}

std::vector<std::pair<std::string, Parameter*>> Module::named_parameters() {
  std::vector<std::pair<std::string, Parameter*>> list;
  for_each(*this, [&](const std::string& path, Parameter& p) { list.emplace_back(path, &p); });
  return list;
}

std::vector<std::pair<std::string, Buffer*>> Module::named_buffers() {
  std::vector<std::pair<std::string, Buffer*>> list;
  for_each(*this, kIgnore, [&](const std::string& path, Buffer& b) { list.emplace_back(path, &b); });
  return list;
}

int64_t Module::parameter_count() {
  int64_t count = 0;
  for_each(*this, [&](const std::string&, Parameter& p) { count += p.value().numel(); });
  return count;
}

void Module::zero_grad() {
  for_each(*this, [](const std::string&, Parameter& p) {
    if (p.variable().requires_grad()) p.variable().zero_grad();
  });
}

void Module::freeze() {
  for_each(*this, [](const std::string&, Parameter& p) { p.freeze(); });
}

void Module::to(const Device& device) {
  const auto move = [&](const std::string&, auto& member) { member.to(device); };
  for_each(*this, move, move);
}

void Module::to(DType dtype) {
  TACIT_CHECK(is_floating(dtype), "[module] parameters must be floating, not ", dtype);
  for_each(
      *this, [&](const std::string&, Parameter& p) { p.to(dtype); },
      [&](const std::string&, Buffer& b) {
        if (is_floating(b.value().dtype())) b.value() = b.value().to(dtype);
      });
}

// ---- state

std::vector<std::pair<std::string, Tensor>> file_views(Module& module) {
  std::vector<std::pair<std::string, Tensor>> views;
  for_each(
      module,
      [&](const std::string& path, Parameter& p) { views.emplace_back(path, to_file_order(p.value(), p.layout())); },
      [&](const std::string& path, Buffer& b) { views.emplace_back(path, b.value()); });
  return views;
}

StateDict state_dict(Module& module) {
  StateDict state;
  const Device host("cpu");
  // clone(): the caller's copy must not change when training goes on.
  for (const auto& [path, t] : file_views(module))
    TACIT_CHECK(state.emplace(path, t.to(host).clone()).second, "[state_dict] two members are called ", path);
  return state;
}

LoadReport load_state(Module& module, const StateDict& state, bool strict) {
  LoadReport report;
  std::vector<std::pair<Tensor, Tensor>> copies;  // {target, source}
  std::set<std::string> known;
  const auto match = [&](const std::string& path, const Tensor& target, Layout layout) {
    known.insert(path);
    const auto found = state.find(path);
    if (found == state.end()) {
      report.missing.push_back(path);
      return;
    }
    const Tensor source = from_file_order(found->second, layout);
    TACIT_CHECK(source.shape() == target.shape(), "[load_state] ", path, " has shape ", found->second.shape(),
                ", the module needs ", to_file_order(target, layout).shape());
    TACIT_CHECK(source.dtype() == target.dtype(), "[load_state] ", path, " is ", source.dtype(), ", the module needs ",
                target.dtype());
    copies.emplace_back(target, source);
    report.matched.push_back(path);
  };
  for_each(
      module, [&](const std::string& path, Parameter& p) { match(path, p.value(), p.layout()); },
      [&](const std::string& path, Buffer& b) { match(path, b.value(), Layout::Plain); });
  for (const auto& entry : state)
    if (!known.count(entry.first)) report.unexpected.push_back(entry.first);

  TACIT_CHECK(!strict || (report.missing.empty() && report.unexpected.empty()),
              "[load_state] the names do not fit: ", report.matched.size(), " match; missing: ", listed(report.missing),
              "; unexpected: ", listed(report.unexpected));
  TACIT_CHECK(!report.matched.empty() || known.empty(), "[load_state] none of the ", state.size(),
              " names fits; the module has, for example, ", known.empty() ? "none" : *known.begin());
  for (auto& copy : copies) copy.first.copy_(copy.second);
  StateLoadedVisitor tell;
  tell("", module);
  return report;
}

}  // namespace tacit::nn
