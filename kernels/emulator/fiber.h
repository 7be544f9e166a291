// SPDX-License-Identifier: GPL-3.0-or-later
// One thread of an emulated block: a stack of its own that runs until it pauses. By Boost.Context where it is installed
// (tens of nanoseconds a switch), else by the C library's ucontext (a system call a switch). Address and thread sanitizers are
// told about every switch. A fiber belongs to the operating system thread that made it.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>

namespace nibble::emulator {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  // The body must not throw; the fiber must have finished what it was given before.
  void start(std::function<void()> body);
  // Runs it until it pauses or finishes.
  void resume();
  // From within: back to who resumed it.
  void pause();
  [[nodiscard]] bool finished() const;

 private:
  struct Machine;
  std::unique_ptr<Machine> m_machine;
};

}  // namespace nibble::emulator
