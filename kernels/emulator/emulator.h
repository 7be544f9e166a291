// SPDX-License-Identifier: GPL-3.0-or-later
// Runs CUDA kernels on the CPU: what kernels/cuda/device_host.h asks for. The threads of a block are fibers; blocks run one
// after another. A launch fails, with thread and place named, on
//   global memory outside what was allocated (or read-only memory written), misaligned accesses, shared memory outside the
//   block's or outside an array, shared memory nobody wrote before it is read, two threads at one shared byte without a barrier
//   between them, a barrier that some threads never reach or leave by another one, warp operations without all lanes of their
//   mask.
// A seed decides in which order threads and blocks run; 0 is the plain order. On request it counts what performance on a GPU
// depends on: 32-byte sectors of each warp's accesses, shared memory's bank conflicts, barriers.
// Not seen: races of different blocks over global memory, and what a GPU's caches do. No time is measured.
#pragma once
#include "kernels/cuda/outcome.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace nibble::emulator {

using kernels::Fault;
using kernels::Outcome;
using kernels::Stream;

struct Traffic {
  std::uint64_t sectors = 0;  // of 32 bytes, each warp access by itself
  std::uint64_t bytes = 0;    // different bytes the warps asked for
  std::uint64_t accesses = 0;
  [[nodiscard]] std::uint64_t moved() const { return 32 * sectors; }
  [[nodiscard]] double efficiency() const {
    return sectors == 0 ? 1.0 : static_cast<double>(bytes) / (32.0 * static_cast<double>(sectors));
  }
  Traffic& operator+=(const Traffic& more);
};

struct Counters {
  std::map<std::string, Traffic> read, written;  // by the memory's name
  std::uint64_t sharedWavefronts = 0;            // passes through shared memory
  std::uint64_t bankConflicts = 0;               // of those, passes more than one access needs
  std::uint64_t sharedAtomics = 0, globalAtomics = 0, barriers = 0, warpOperations = 0;
  std::size_t largestShared = 0;  // bytes a launch asked for
  unsigned launches = 0;
  [[nodiscard]] Traffic total() const;
  [[nodiscard]] double conflictShare() const;
};

// Memory kernels may touch, by the name it has in failures and counters. Process-wide; thread-safe.
void allowMemory(const void* begin, std::size_t bytes, const std::string& name, bool writable = true);
void forgetMemory(const void* begin);

// A vector kernels may touch. `shift` elements from an aligned start; a guard of forbidden bytes around.
template <class T>
class DeviceArray {
 public:
  DeviceArray(const std::string& name, std::size_t count, std::size_t shift = 0, bool writable = true)
      : m_bytes((count + shift) * sizeof(T) + 256), m_count(count) {
    const auto start = (reinterpret_cast<std::uintptr_t>(m_bytes.data()) + 127) / 128 * 128 + shift * sizeof(T);
    m_data = reinterpret_cast<T*>(start);
    allowMemory(m_data, count * sizeof(T), name, writable);
  }
  DeviceArray(const std::string& name, const std::vector<T>& values, std::size_t shift = 0)
      : DeviceArray(name, values.size(), shift, false) {
    for (std::size_t i = 0; i < values.size(); ++i) m_data[i] = values[i];
  }
  ~DeviceArray() { forgetMemory(m_data); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  [[nodiscard]] T* data() { return m_data; }
  [[nodiscard]] const T* data() const { return m_data; }
  [[nodiscard]] std::size_t size() const { return m_count; }
  [[nodiscard]] std::vector<T> values() const { return std::vector<T>(m_data, m_data + m_count); }

 private:
  std::vector<unsigned char> m_bytes;
  std::size_t m_count;
  T* m_data = nullptr;
};

// A queue: work happens when it is waited for, so that host code which looks too early sees old memory.
class EmulatedStream {
 public:
  [[nodiscard]] Stream handle() { return reinterpret_cast<Stream>(this); }
  void queue(std::function<Outcome()> work) { m_work.push_back(std::move(work)); }
  // Asked before each launch, which fails as it says.
  std::function<Outcome()> gate;
  void drop() { m_work.clear(); }
  // Runs what is queued; the first failure ends it, drops the rest and is returned.
  Outcome wait();
  static EmulatedStream& of(Stream stream) { return *reinterpret_cast<EmulatedStream*>(stream); }

 private:
  std::deque<std::function<Outcome()>> m_work;
};

// How launches run from now on, on this operating system thread.
struct EmulatorSettings {
  unsigned seed = 0;
  bool counting = false;
};
EmulatorSettings& emulatorSettings();
Counters& emulatorCounters();  // of this operating system thread, since they were last set to {}

}  // namespace nibble::emulator
