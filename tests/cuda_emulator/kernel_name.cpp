// A kernel's name for a message, from the symbol table of the running program.
#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

#include "tests/cuda_emulator/internal.h"

namespace emulator {

namespace {
std::string demangled(const char* symbol) {
  char* const text = abi::__cxa_demangle(symbol, nullptr, nullptr, nullptr);
  const std::string name = text != nullptr ? text : symbol;
  std::free(text);
  return name;
}
}  // namespace

std::string name_of_kernel(const void* kernel) {
  std::ostringstream address;
  address << "kernel " << kernel;
  Dl_info loaded{};
  if (dladdr(kernel, &loaded) == 0) return address.str();
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::vector<char> program{std::istreambuf_iterator<char>(file), {}};
  if (program.size() < sizeof(ElfW(Ehdr))) return address.str();
  const auto* const header = reinterpret_cast<const ElfW(Ehdr)*>(program.data());
  const auto* const sections = reinterpret_cast<const ElfW(Shdr)*>(program.data() + header->e_shoff);
  const auto base = header->e_type == ET_DYN ? reinterpret_cast<uintptr_t>(loaded.dli_fbase) : 0;
  for (int s = 0; s < header->e_shnum; ++s) {
    if (sections[s].sh_type != SHT_SYMTAB) continue;
    const auto* const symbols = reinterpret_cast<const ElfW(Sym)*>(program.data() + sections[s].sh_offset);
    const char* const names = program.data() + sections[sections[s].sh_link].sh_offset;
    for (size_t i = 0; i < sections[s].sh_size / sizeof(ElfW(Sym)); ++i)
      if (base + symbols[i].st_value == reinterpret_cast<uintptr_t>(kernel) && (symbols[i].st_info & 0xf) == STT_FUNC)
        return demangled(names + symbols[i].st_name);
  }
  return address.str();
}

}  // namespace emulator
