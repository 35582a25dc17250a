#include "tensor/device.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <mutex>

#include "tensor/join.h"

namespace tacit {

struct Device::State {
  std::string name;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<CachingAllocator> allocator;
};

namespace {

struct Registry {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<void>> states;  // Device::State by full name
  std::vector<BackendEntry> added;
};

// Never destroyed: tensors in static storage may outlive main().
Registry& registry() {
  static Registry* const r = new Registry;
  return *r;
}

std::vector<BackendEntry> all_entries(const Registry& r) {
  const auto builtin = builtin_backends();
  std::vector<BackendEntry> entries(builtin.begin(), builtin.end());
  entries.insert(entries.end(), r.added.begin(), r.added.end());
  return entries;
}

// "cuda:1" -> {"cuda", 1}; the index must be a plain number.
std::pair<std::string, int> split_name(const std::string& name) {
  const size_t colon = name.find(':');
  if (colon == std::string::npos) return {name, 0};
  int index = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + colon + 1, end, index);
  TACIT_CHECK(error == std::errc() && stop == end && index >= 0, "[device] '", name, "' is not NAME or NAME:NUMBER");
  return {name.substr(0, colon), index};
}

}  // namespace

Device::Device(const std::string& full_name) {
  const auto [base, index] = split_name(full_name);
  const std::string name = index == 0 ? base : full_name;
  Registry& r = registry();
  const std::lock_guard lock(r.mutex);
  auto& slot = r.states[name];
  if (!slot) {
    const auto entries = all_entries(r);
    for (const BackendEntry& entry : entries) {
      if (entry.name != base) continue;
      auto state = std::make_shared<State>();
      state->name = name;
      state->backend = entry.make(index);
      state->allocator = std::make_unique<CachingAllocator>(*state->backend);
      slot = state;
    }
    TACIT_CHECK(slot, "[device] there is no device '", full_name, "'; known: ", join(entries, &BackendEntry::name));
  }
  state_ = static_cast<State*>(slot.get());
}

const std::string& Device::name() const { return state_->name; }
Backend& Device::backend() const { return *state_->backend; }
CachingAllocator& Device::allocator() const { return *state_->allocator; }

std::vector<std::string> device_names() {
  Registry& r = registry();
  const std::lock_guard lock(r.mutex);
  std::vector<std::string> names;
  for (const BackendEntry& entry : all_entries(r)) names.push_back(entry.name);
  return names;
}

bool is_device_name(const std::string& name) {
  const std::vector<std::string> names = device_names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string why_no_cuda() {
  static const std::string reason = []() -> std::string {
    if (!is_device_name("cuda")) return "";
    try {
      Device("cuda");
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }();
  return reason;
}

std::string best_device() { return is_device_name("cuda") && why_no_cuda().empty() ? "cuda" : "cpu"; }

void add_backend(const std::string& name, std::function<std::unique_ptr<Backend>(int index)> make) {
  Registry& r = registry();
  const std::lock_guard lock(r.mutex);
  TACIT_CHECK(!name.empty() && name.find(':') == std::string::npos, "[device] '", name, "' cannot name a backend");
  for (const BackendEntry& entry : all_entries(r))
    TACIT_CHECK(entry.name != name, "[device] the name '", name, "' is taken");
  r.added.push_back({name, std::move(make)});
}

namespace {
Device& default_slot() {
  static Device device("cpu");
  return device;
}
}  // namespace

Device default_device() { return default_slot(); }
void set_default_device(const Device& device) { default_slot() = device; }

}  // namespace tacit
