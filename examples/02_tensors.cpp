// Tensors: shapes, views that share memory, broadcasting and its gradient, random numbers, errors, files.
//   example_02_tensors
#include <iostream>

#include "tacit.h"

using namespace tacit;

int main() {
  // 2 rows, 3 columns, in one block of memory: element (i, j) is number 3 i + j of it.
  Tensor a = Tensor::arange(6, f32).reshape({2, 3});
  std::cout << a << '\n';

  // A transpose moves no number: it is the same block, read with other strides.
  std::cout << "strides " << a.strides()[0] << ", " << a.strides()[1] << "; of the transpose " << a.t().strides()[0]
            << ", " << a.t().strides()[1] << '\n'
            << a.t() << '\n';

  // Copying a Tensor or taking a view shares memory. Writes end in an underscore, and are seen through every view.
  const Tensor copy = a.clone();
  Tensor column = a.slice(1, 0, 1);  // a view, (2, 1)
  column.fill_(10);
  std::cout << "after column.fill_(10): " << a << "\nthe clone kept its own: " << copy << '\n';

  // (2, 3) + (3): the shorter shape is repeated. Mixed dtypes would be an error, never a silent conversion.
  const Tensor bias = Tensor::from(std::vector<float>{1, 2, 3}, {3});
  std::cout << "plus (1, 2, 3): " << a + bias << "\nmean of each row: " << mean(a, {1}) << '\n';

  // What was repeated in the sum is summed in its gradient: each entry of b was used once a row.
  const Variable b = Variable::leaf(bias);
  sum(Variable(a) * b).backward();
  std::cout << "d sum(a * b) / db: " << b.grad() << '\n';

  // Random numbers are a function of (seed, stream, position): the same on every device and with any number of threads.
  std::cout << "random: " << Tensor::uniform({4}, /*seed=*/0, random_stream("example")) << '\n';

  // Errors name the op, what is wrong, and the values.
  const auto shown = [](const auto& f) {
    try {
      f();
    } catch (const Error& e) {
      std::cout << "error: " << e.what() << '\n';
    }
  };
  shown([&] { matmul(a, a); });
  shown([&] { a + Tensor::arange(3, i64); });

  // Files: safetensors, as PyTorch's libraries read them, and numpy's.
  write_safetensors("tensors.safetensors", {{{"a", a}, {"bias", bias}}, {}});
  const SafeTensors read = read_safetensors("tensors.safetensors");
  for (const auto& [name, tensor] : read.tensors) std::cout << "read back: " << name << ' ' << tensor.shape() << '\n';
}
