// SPDX-License-Identifier: GPL-3.0-or-later
// A device's life as the CUDA backend sees it: opened when it is first asked for, lent in slots, lost perhaps. Work comes in
// strips; a strip that a device does not do, for whatever reason, is done on the host, so every call ends with its results.
// What happened is kept as a notice for people. Thread-safe.
#pragma once
#include "kernels/cuda/slots.h"

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace nibble::kernels {

class DeviceWork {
 public:
  DeviceWork(std::unique_ptr<DeviceRuntime> runtime, SlotSettings settings)
      : m_runtime(std::move(runtime)), m_pool(*m_runtime, settings) {}

  // Opens the device at the first call. Empty: it can be used.
  std::string_view unusableReason();
  std::string_view description();
  // Empty, or what was not done by the device and why.
  std::string notice();
  // Notes that a call was done on the host, for the reason given.
  void note(const Outcome& outcome);

  // Of a device that can be used.
  [[nodiscard]] const DeviceFacts& facts() const { return m_facts; }
  [[nodiscard]] DeviceRuntime& runtime() const { return *m_runtime; }
  // Null: there is no library for products on it.
  DeviceGemm* gemm();

  // What a strip may take. 0: the host does everything.
  std::size_t stripBytes();
  // Strips 0 .. count - 1, each by onDevice, which fills a slot, queues it and sets what collects the results; or else by
  // onHost, with no slot held: its own threads must not wait for one.
  void run(std::size_t count, const std::function<Outcome(Slot&, std::size_t)>& onDevice,
           const std::function<void(std::size_t)>& onHost);

 private:
  void open();
  std::unique_ptr<DeviceRuntime> m_runtime;
  std::unique_ptr<DeviceGemm> m_gemm;
  SlotPool m_pool;
  DeviceFacts m_facts;
  std::once_flag m_opened, m_gemmOpened;
  std::string m_closedReason, m_description = "NVIDIA GPU";  // set while opening
  std::mutex m_mutex;
  std::string m_notice;
  std::string m_lostReason;  // set once, before m_lost
  std::atomic<bool> m_lost{false};
};

}  // namespace nibble::kernels
