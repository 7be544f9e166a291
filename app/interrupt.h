// SPDX-License-Identifier: GPL-3.0-or-later
// Turns SIGINT and SIGTERM into a stop token. The signals are blocked in every thread and waited for in one of its own, because
// a handler may not touch a stop source. Construct it before any other thread starts. A second signal ends the program at once.
#pragma once
#include <stop_token>
#include <thread>

namespace nibble::cli {

class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  [[nodiscard]] std::stop_token token() const { return m_source.get_token(); }

 private:
  void wait();
  std::stop_source m_source;
  std::thread m_waiter;
};

}  // namespace nibble::cli
