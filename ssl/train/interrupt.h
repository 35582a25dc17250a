// SIGINT and SIGTERM: the first asks for a clean end (save, status 130), the second ends the process at once.
// The rule: nothing is asked of a process that has nothing to save: outside an InterruptScope the first one ends it.
#pragma once

namespace tacit::ssl {

/// Exit status of a process that the user interrupted.
inline constexpr int kInterruptedStatus = 130;

/// Installs the handlers, and ignores SIGPIPE and SIGXFSZ so that a closed pipe or a full disk is an error that can be
/// reported. Call once, at the start of a command.
void install_signal_handlers();

/// While one of these lives, a first signal only sets interrupted().
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;
};

/// Whether a signal has come.
bool interrupted();

}  // namespace tacit::ssl
