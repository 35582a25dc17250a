// Registers a backend of five functions and runs the op table on it: values and gradients must be the reference's.
#include <iostream>

#include "../op_table.h"
#include "../toy_backend.h"

using namespace tacit;
using namespace tacit::testing;

int main() {
  add_toy_backend();
  const Device toy("toy"), reference("reference");
  int passed = 0, failed = 0;
  for (const OpRow& row : op_table()) {
    const auto check = [&](Layout layout, int only) {
      const auto run_on = [&](const Device& device) {
        const DeviceScope scope(device);
        return run(row, make_inputs(row, row.shapes(), f32, device, layout, only));
      };
      const std::string fault = compare(row, run_on(toy), run_on(reference));
      ++(fault.empty() ? passed : failed);
      if (!fault.empty()) std::cout << row.label() << ": " << fault << '\n';
    };
    check(Layout::Contiguous, -1);
    check(Layout::Strided, -1);
    if (!row.broadcast) continue;
    for (size_t i = 0; i < row.inputs.size(); ++i) check(Layout::Broadcast, static_cast<int>(i));  // one at a time
  }
  std::cout << "op table on '" << toy.name() << "': " << passed << " passed, " << failed << " failed; "
            << toy.backend().fallbacks() << " kernels were staged through the reference\n";
  return failed == 0 && passed > 0 && toy.backend().fallbacks() > 0 ? 0 : 1;
}
