#include "ssl/train/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tacit::ssl::TrainConfig config;
  tacit::ssl::Settings settings = tacit::ssl::settings_of(config);
  try {
    settings.apply_toml(std::string(reinterpret_cast<const char*>(data), size), "fuzz.toml");
    // What was understood must survive being written and read again.
    const std::string text = settings.toml();
    settings.apply_toml(text, "again.toml");
    if (settings.toml() != text) __builtin_trap();
  } catch (const tacit::Error&) {
  }
  return 0;
}
