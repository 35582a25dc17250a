// Tensors: shapes, views that share memory, broadcasting, and where numbers live.
#include <iostream>

#include "tacit.h"

using namespace tacit;

int main() {
  // 2 rows, 3 columns. Copying a Tensor or taking a view shares memory.
  Tensor a = Tensor::arange(6, f32).reshape({2, 3});
  std::cout << a << '\n' << a.t() << '\n';

  Tensor column = a.slice(1, 0, 1);  // a view, (2, 1)
  column.fill_(10);                  // writes end in an underscore, and are seen through every view
  std::cout << a << '\n';

  // (2, 3) + (3): the shorter shape is repeated. Mixed dtypes would be an error, never a silent conversion.
  std::cout << a + Tensor::ones({3}) << '\n' << mean(a, {1}) << '\n';

  // Random numbers are a function of (seed, stream, position): the same on every device and with any number of threads.
  std::cout << Tensor::uniform({4}, /*seed=*/0, random_stream("example")) << '\n';

  try {
    matmul(a, a);
  } catch (const Error& e) {
    std::cout << e.what() << '\n';
  }
}
