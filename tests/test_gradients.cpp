// Every row of the op table: its gradients against central differences in f64, for each layout, on each backend; and
// whether the table has a row for every op that autograd/ops.h declares.
#include <doctest/doctest.h>

#include <cctype>
#include <fstream>
#include <iterator>
#include <set>

#include "autograd/gradcheck.h"
#include "op_table.h"

using namespace tacit;
using namespace tacit::testing;

namespace {

const Layout kLayouts[] = {Layout::Contiguous, Layout::Strided, Layout::Broadcast};

void check_gradients(const Device& device, Layout layout) {
  const DeviceScope scope(device);
  for (const OpRow& row : op_table()) {
    if (layout == Layout::Broadcast && !row.broadcast) continue;
    CAPTURE(row.label());
    std::vector<Tensor> inputs = make_inputs(row, row.shapes(), f64, device, layout);
    // What the row calls constant must look so to gradcheck, which differentiates by every f64 tensor.
    std::vector<Tensor> differentiable;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (row.inputs[i].differentiable) differentiable.push_back(inputs[i]);
    const auto f = [&](const std::vector<Variable>& given) {
      std::vector<Variable> all;
      size_t next = 0;
      for (size_t i = 0; i < inputs.size(); ++i)
        all.push_back(row.inputs[i].differentiable ? given[next++] : Variable(inputs[i]));
      return row.f(all);
    };
    CHECK(gradcheck(f, differentiable) == "");
  }
}

std::string read(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The f of every "Variable f(" in a header.
std::set<std::string> functions_returning_variable(const std::string& header) {
  const std::string type = "Variable ";
  std::set<std::string> names;
  for (size_t at = header.find(type); at != std::string::npos; at = header.find(type, at + 1)) {
    const size_t begin = at + type.size(), end = header.find_first_of("(,);\n ", begin);
    const bool whole_word = at == 0 || std::isspace(static_cast<unsigned char>(header[at - 1]));
    if (whole_word && end != std::string::npos && header[end] == '(') names.insert(header.substr(begin, end - begin));
  }
  return names;
}

}  // namespace

TEST_CASE("gradients on the reference backend: contiguous") { check_gradients(Device("reference"), kLayouts[0]); }
TEST_CASE("gradients on the reference backend: strided") { check_gradients(Device("reference"), kLayouts[1]); }
TEST_CASE("gradients on the reference backend: broadcast") { check_gradients(Device("reference"), kLayouts[2]); }
TEST_CASE("gradients on the default device: contiguous") { check_gradients(default_device(), kLayouts[0]); }
TEST_CASE("gradients on the default device: strided") { check_gradients(default_device(), kLayouts[1]); }
TEST_CASE("gradients on the default device: broadcast") { check_gradients(default_device(), kLayouts[2]); }

TEST_CASE("the op table has a row for every op that autograd/ops.h declares") {
  const std::string header = read(std::string(TACIT_SOURCE_DIR) + "/autograd/ops.h");
  REQUIRE(!header.empty());
  std::set<std::string> declared = functions_returning_variable(header), listed;
  CHECK(declared.erase("name") == 1);  // the macro that declares the element-wise functions
#define TACIT_NAME(Functor, name, low, high) declared.insert(#name);
  TACIT_FOREACH_UNARY(TACIT_NAME)
#undef TACIT_NAME
  CHECK(declared.size() > 60);
  for (const OpRow& row : op_table()) listed.insert(row.name);
  for (const std::string& name : declared) {
    CAPTURE(name);
    CHECK(listed.count(name) == 1);
  }
  for (const std::string& name : listed) {
    CAPTURE(name);
    CHECK(declared.count(name) == 1);
  }
}

TEST_CASE("gradcheck finds a wrong gradient and names its place") {
  const auto wrong = [](const std::vector<Variable>& v) {
    return record("wrong", square(v[1].value()),
                  {{v[1], [x = v[1].value()](const Tensor& dy) { return dy * x * 1.999; }}});
  };
  const Tensor unused = Tensor::ones({2}, f64), x = Tensor::from(std::vector<double>{1, 2, 3}, {3});
  const std::string problem = gradcheck(wrong, {unused, x});
  CHECK(problem.find("input 1, entry ") == 0);
  CHECK(problem.find("input 0") == std::string::npos);
}

TEST_CASE("gradcheck reports a result that leads to no input, and refuses f32") {
  const std::vector<Tensor> x = {Tensor::ones({2}, f64)};
  CHECK(gradcheck([](const std::vector<Variable>& v) { return v[0].detach() * 2.0; }, x) ==
        "the result leads back to none of the inputs");
  CHECK_THROWS_AS(gradcheck([](const std::vector<Variable>& v) { return v[0]; }, {Tensor::ones({2}, f32)}), Error);
}

TEST_CASE("gradcheck sees a NaN") {
  const auto nan = [](const std::vector<Variable>& v) {
    return record("nan", v[0].value(), {{v[0], [](const Tensor& dy) { return log(dy * 0.0 - 1.0); }}});
  };
  CHECK(gradcheck(nan, {Tensor::ones({2}, f64)}).find("nan") != std::string::npos);
}
