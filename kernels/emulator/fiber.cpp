// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/emulator/fiber.h"

#include <utility>
#include <vector>

#if defined(NIBBLE_BOOST_CONTEXT)
#include <boost/context/detail/fcontext.hpp>
#else
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define NIBBLE_FIBER_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/common_interface_defs.h>
#define NIBBLE_FIBER_ASAN
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define NIBBLE_FIBER_TSAN
#endif

namespace nibble::emulator {
namespace {
constexpr std::size_t stackBytes = 128 << 10;
}

struct Fiber::Machine {
  std::vector<unsigned char> stack = std::vector<unsigned char>(stackBytes);
  std::function<void()> body;
  bool done = true;
#if defined(NIBBLE_BOOST_CONTEXT)
  boost::context::detail::fcontext_t inside = nullptr, outside = nullptr;
#else
  ucontext_t inside{}, outside{};
#endif
  // What the sanitizers want to know: the stack left behind, and where it was.
  void* leftOutside = nullptr;
  void* leftInside = nullptr;
  const void* outsideBottom = nullptr;
  std::size_t outsideSize = 0;
#if defined(NIBBLE_FIBER_TSAN)
  void* tsanInside = nullptr;
  void* tsanOutside = nullptr;
  ~Machine() {
    if (tsanInside != nullptr) __tsan_destroy_fiber(tsanInside);
  }
#endif

  void leaving(bool inwards, bool forGood) {
#if defined(NIBBLE_FIBER_ASAN)
    if (inwards)
      __sanitizer_start_switch_fiber(&leftOutside, stack.data(), stack.size());
    else
      __sanitizer_start_switch_fiber(forGood ? nullptr : &leftInside, outsideBottom, outsideSize);
#endif
#if defined(NIBBLE_FIBER_TSAN)
    if (inwards) tsanOutside = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(inwards ? tsanInside : tsanOutside, 0);
#endif
    (void)inwards, (void)forGood;
  }
  void arrived(bool inwards, bool first) {
#if defined(NIBBLE_FIBER_ASAN)
    if (inwards)
      __sanitizer_finish_switch_fiber(first ? nullptr : leftInside, &outsideBottom, &outsideSize);
    else
      __sanitizer_finish_switch_fiber(leftOutside, nullptr, nullptr);
#endif
    (void)inwards, (void)first;
  }
  void run() {
    arrived(true, true);
    body();
    done = true;
    leaving(false, true);
  }
#if defined(NIBBLE_BOOST_CONTEXT)
  static void entry(boost::context::detail::transfer_t from) {
    auto* self = static_cast<Machine*>(from.data);
    self->outside = from.fctx;
    self->run();
    boost::context::detail::jump_fcontext(self->outside, nullptr);
  }
  void prepare() {
    inside = boost::context::detail::make_fcontext(stack.data() + stack.size(), stack.size(), &Machine::entry);
  }
  void enter() {
    inside = boost::context::detail::jump_fcontext(inside, this).fctx;
  }
  void leave() {
    outside = boost::context::detail::jump_fcontext(outside, nullptr).fctx;
  }
#else
  static void entry(unsigned high, unsigned low) {
    auto* self = reinterpret_cast<Machine*>(static_cast<std::uintptr_t>(high) << 32 | low);
    self->run();
    setcontext(&self->outside);
  }
  void prepare() {
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack.data();
    inside.uc_stack.ss_size = stack.size();
    inside.uc_link = nullptr;
    const auto address = reinterpret_cast<std::uintptr_t>(this);
    makecontext(&inside, reinterpret_cast<void (*)()>(&Machine::entry), 2, static_cast<unsigned>(address >> 32),
                static_cast<unsigned>(address));
  }
  void enter() {
    swapcontext(&outside, &inside);
  }
  void leave() {
    swapcontext(&inside, &outside);
  }
#endif
};

Fiber::Fiber() : m_machine(std::make_unique<Machine>()) {}
Fiber::~Fiber() = default;

void Fiber::start(std::function<void()> body) {
  m_machine->body = std::move(body);
  m_machine->done = false;
#if defined(NIBBLE_FIBER_TSAN)
  if (m_machine->tsanInside != nullptr) __tsan_destroy_fiber(m_machine->tsanInside);
  m_machine->tsanInside = __tsan_create_fiber(0);
#endif
  m_machine->prepare();
}

void Fiber::resume() {
  m_machine->leaving(true, false);
  m_machine->enter();
  m_machine->arrived(false, false);
}

void Fiber::pause() {
  m_machine->leaving(false, false);
  m_machine->leave();
  m_machine->arrived(true, false);
}

bool Fiber::finished() const {
  return m_machine->done;
}

}  // namespace nibble::emulator
