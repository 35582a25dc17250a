// Device: a handle to one backend and its allocator. Devices live as long as the process; copying one is free.
#pragma once

#include <string>
#include <vector>

#include "tensor/backend.h"
#include "tensor/caching_allocator.h"

namespace tacit {

class Device {
 public:
  /// Makes the backend on first use: "cpu", "reference", "cuda", "cuda:1", or a name given to add_backend.
  /// Throws Error for an unknown name (listing the known ones) or when the backend cannot start.
  explicit Device(const std::string& name);

  const std::string& name() const;
  Backend& backend() const;
  CachingAllocator& allocator() const;
  friend bool operator==(const Device&, const Device&) = default;

 private:
  struct State;
  State* state_;
};

/// Where new tensors go unless told otherwise: "cpu" at start.
Device default_device();
/// For the whole process, from now on.
void set_default_device(const Device&);

/// The best device that starts on this machine: "cuda" where a GPU works and tacit was built for it, else "cpu". Asked
/// once in a process, which takes a moment where there is a GPU.
std::string best_device();
/// Why best_device() is not "cuda"; empty where it is, or where tacit was built without.
std::string why_no_cuda();

/// Names that Device() accepts, best first.
std::vector<std::string> device_names();
/// Whether one of them is `name`.
bool is_device_name(const std::string& name);

/// Sets the default device for a scope.
class DeviceScope {
 public:
  explicit DeviceScope(const Device& d) : before_(default_device()) { set_default_device(d); }
  ~DeviceScope() { set_default_device(before_); }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  Device before_;
};

}  // namespace tacit
