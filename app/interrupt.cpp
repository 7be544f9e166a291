// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/interrupt.h"

#include "app/program.h"

#include <csignal>
#include <cstdlib>

namespace nibble::cli {
namespace {

// SIGUSR2 is how the destructor wakes the waiting thread.
sigset_t watchedSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGUSR2);
  return signals;
}

}  // namespace

Interrupt::Interrupt() {
  // A file-size limit then shows as a failed write with its reason instead of a killed program.
  std::signal(SIGXFSZ, SIG_IGN);
  const sigset_t signals = watchedSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  m_waiter = std::thread([this] { wait(); });
}

Interrupt::~Interrupt() {
  pthread_kill(m_waiter.native_handle(), SIGUSR2);
  m_waiter.join();
}

void Interrupt::wait() {
  const sigset_t signals = watchedSignals();
  for (;;) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0 || signal == SIGUSR2) return;
    if (!m_source.request_stop()) std::_Exit(static_cast<int>(ExitStatus::Cancelled));
  }
}

}  // namespace nibble::cli
