#include "tensor/npy.h"

#include <sstream>

#include "tensor/atomic_file.h"

namespace tacit {

namespace {
const char* descriptor_of(DType t) {
  switch (t) {
    case DType::f32:
      return "<f4";
    case DType::f64:
      return "<f8";
    case DType::i64:
      return "<i8";
    case DType::i32:
      return "<i4";
    case DType::u8:
      return "|u1";
    case DType::bf16:
      break;
  }
  detail::fail("[npy] NumPy has no ", name_of(t), "; convert with to(f32)");
}
}  // namespace

void write_npy(const std::string& path, const Tensor& tensor) {
  TACIT_CHECK(tensor.defined(), "[npy] ", path, ": the tensor is undefined");
  std::ostringstream description;
  description << "{'descr': '" << descriptor_of(tensor.dtype())
              << "', 'fortran_order': False, 'shape': " << tensor.shape() << ", }";
  // Magic, version 1.0, a u16 length, then the description: padded with spaces and a newline so that data begins at a
  // multiple of 64.
  std::string header = description.str();
  constexpr size_t kPrefix = 10;
  header.append(63 - (kPrefix + header.size()) % 64, ' ');
  header += '\n';
  const char prefix[kPrefix] = {'\x93',
                                'N',
                                'U',
                                'M',
                                'P',
                                'Y',
                                1,
                                0,
                                static_cast<char>(header.size() & 0xff),
                                static_cast<char>(header.size() >> 8)};
  AtomicFile file(path);
  file.write(prefix, kPrefix);
  file.write(header);
  file.write(tensor);
  file.commit();
}

}  // namespace tacit
