// SPDX-License-Identifier: GPL-3.0-or-later
// Memory, streams and events of a device, owned: each gives back what it holds when it goes. The runtime outlives them. Moving
// leaves an empty one; making one again gives the former back first.
#pragma once
#include "kernels/cuda/runtime.h"

#include <utility>

namespace nibble::kernels {

// Handle: what is held; free: how it is given back.
template <class Handle, void (DeviceRuntime::*giveBack)(Handle)>
class DeviceOwned {
 public:
  DeviceOwned() = default;
  DeviceOwned(DeviceOwned&& other) noexcept
      : m_runtime(std::exchange(other.m_runtime, nullptr)), m_handle(std::exchange(other.m_handle, nullptr)) {}
  DeviceOwned& operator=(DeviceOwned&& other) noexcept {
    std::swap(m_runtime, other.m_runtime);
    std::swap(m_handle, other.m_handle);
    return *this;
  }
  DeviceOwned(const DeviceOwned&) = delete;
  DeviceOwned& operator=(const DeviceOwned&) = delete;
  ~DeviceOwned() { reset(); }
  void reset() {
    if (m_handle != nullptr) (m_runtime->*giveBack)(m_handle);
    m_handle = nullptr;
  }
  [[nodiscard]] Handle get() const { return m_handle; }
  // Calls make(&handle), a function of the runtime.
  template <class Make>
  Outcome fill(DeviceRuntime& runtime, const Make& make) {
    reset();
    m_runtime = &runtime;
    Outcome outcome = make(&m_handle);
    if (!outcome.ok()) m_handle = nullptr;
    return outcome;
  }

 private:
  DeviceRuntime* m_runtime = nullptr;
  Handle m_handle = nullptr;
};

class DeviceBuffer : public DeviceOwned<void*, &DeviceRuntime::release> {
 public:
  Outcome make(DeviceRuntime& runtime, std::size_t bytes) {
    return fill(runtime, [&](void** memory) { return runtime.allocate(bytes, memory); });
  }
};

class PinnedBuffer : public DeviceOwned<void*, &DeviceRuntime::releasePinned> {
 public:
  Outcome make(DeviceRuntime& runtime, std::size_t bytes) {
    return fill(runtime, [&](void** memory) { return runtime.allocatePinned(bytes, memory); });
  }
};

class OwnedStream : public DeviceOwned<Stream, &DeviceRuntime::destroyStream> {
 public:
  Outcome make(DeviceRuntime& runtime) {
    return fill(runtime, [&](Stream* stream) { return runtime.createStream(stream); });
  }
};

class OwnedEvent : public DeviceOwned<Event, &DeviceRuntime::destroyEvent> {
 public:
  Outcome make(DeviceRuntime& runtime) {
    return fill(runtime, [&](Event* event) { return runtime.createEvent(event); });
  }
};

}  // namespace nibble::kernels
