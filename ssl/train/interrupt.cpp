#include "ssl/train/interrupt.h"

#include <unistd.h>

#include <csignal>

namespace tacit::ssl {

namespace {

volatile std::sig_atomic_t g_scopes = 0;
volatile std::sig_atomic_t g_signals = 0;

void on_signal(int) {
  if (g_scopes == 0 || g_signals > 0) _exit(kInterruptedStatus);
  g_signals = 1;
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;  // a write that was under way goes on
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

InterruptScope::InterruptScope() { g_scopes = g_scopes + 1; }
InterruptScope::~InterruptScope() { g_scopes = g_scopes - 1; }

bool interrupted() { return g_signals > 0; }

}  // namespace tacit::ssl
