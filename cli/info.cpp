// tacit info [RUN | FILE.safetensors]: this machine, or what a run or a file holds.
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "backends/cpu/backend.h"
#include "cli/command.h"
#include "cli/provenance.h"
#include "ssl/data/decode.h"
#include "ssl/data/printable.h"
#include "ssl/train/checkpoint.h"
#include "ssl/train/memory.h"
#include "tensor/join.h"
#include "tensor/memory_limit.h"
#include "tensor/safetensors.h"

namespace tacit::cli {

namespace {

class Info final : public Command {
 public:
  const char* name() const override { return "info"; }
  const char* summary() const override { return "this machine, or what a run or a safetensors file holds"; }
  const char* example() const override { return "  tacit info\n  tacit info run\n  tacit info encoder.safetensors"; }
  std::vector<Positional> arguments() override {
    return {{"what", "[RUN | FILE]", "a run directory or a safetensors file (default: the machine)", &what_, false}};
  }
  int run() override {
    start(common_);
    const nlohmann::ordered_json facts = what_.empty() ? machine() : contents();
    for (const auto& fact : facts.items())
      if (!fact.value().is_object()) print_result(common_, ssl::printable(fact.key()) + ": " + text_of(fact.value()));
    if (facts.contains("tensors"))
      for (const auto& tensor : facts["tensors"].items())
        print_result(common_, "  " + ssl::printable(tensor.key()) + "  " + tensor.value().get<std::string>());
    write_json(common_, facts);
    return 0;
  }

 private:
  /// A value for people: strings without quotes, lists with commas.
  static std::string text_of(const nlohmann::ordered_json& value) {
    if (value.is_string()) return ssl::printable(value.get<std::string>());
    if (!value.is_array()) return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return join(value, text_of);
  }

  nlohmann::ordered_json machine() const {
    const ssl::MemoryLimit memory = ssl::memory_limit(common_.memory_limit);
    nlohmann::ordered_json facts = versions();
    facts["jpeg_decoder"] = ssl::jpeg_decoder();
    facts["devices"] = device_names();
    facts["best_device"] = best_device();
    facts["threads"] = cpu::threads();
    facts["memory_limit_bytes"] = memory.bytes;
    facts["memory_limit"] = readable_bytes(memory.bytes) + " (" + memory.reason + ")";
    if (!why_no_cuda().empty()) facts["cuda"] = why_no_cuda();
    if (const std::string warning = cpu::blas_report().warning; !warning.empty()) facts["warning"] = warning;
    return facts;
  }

  nlohmann::ordered_json contents() const {
    const std::string path = std::filesystem::is_directory(what_) ? ssl::checkpoint_path(what_) : what_;
    std::map<std::string, std::string> metadata;
    const std::map<std::string, std::string> tensors = list_safetensors(path, &metadata);
    nlohmann::ordered_json facts = {{"file", path}};
    for (const auto& entry : metadata) {  // safetensors has only strings: numbers and lists of them are read
      const auto value = nlohmann::ordered_json::parse(entry.second, nullptr, false);
      facts[entry.first] = value.is_number() || value.is_array() ? value : nlohmann::ordered_json(entry.second);
    }
    facts["tensor_count"] = tensors.size();
    facts["tensors"] = tensors;
    return facts;
  }

  std::string what_;
};

}  // namespace

std::unique_ptr<Command> make_info() { return std::make_unique<Info>(); }

}  // namespace tacit::cli
