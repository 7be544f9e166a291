// SPDX-License-Identifier: GPL-3.0-or-later
// A device without a device: DeviceRuntime over host memory and the emulator. Work waits in its stream until it is awaited, so
// that who looks too early sees old memory; kernels may touch only what was allocated. Any call can be made to fail, launches
// included, and everything that is held is counted.
#pragma once
#include "kernels/cuda/runtime.h"
#include "kernels/emulator/emulator.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>

namespace nibble::test {

using namespace emulator;
using kernels::Outcome;  // not core's

// Outlives the device.
struct DeviceLedger {
  std::atomic<std::size_t> calls{0}, launches{0}, failures{0};
  std::atomic<long> memory{0}, pinned{0}, streams{0}, events{0};  // held now
  std::atomic<std::size_t> deviceBytes{0}, mostDeviceBytes{0};
  [[nodiscard]] bool holdsNothing() const { return memory == 0 && pinned == 0 && streams == 0 && events == 0; }
};

struct FakePlan {
  Fault opening = Fault::None;
  std::size_t memoryBytes = std::size_t{64} << 20;
  std::size_t failAt = 0;  // the number of the call that fails, from 1; 0: none
  Fault fault = Fault::Lost;
  bool forEver = false;  // and all calls after it
  bool hasGemm = true;
};

// Queued as a library's products are; `fault` is what each of them reports.
std::unique_ptr<kernels::DeviceGemm> plainGemm(Fault fault = Fault::None);

class FakeDevice final : public kernels::DeviceRuntime {
 public:
  FakeDevice(const FakePlan& plan, std::shared_ptr<DeviceLedger> ledger) : m_plan(plan), m_ledger(std::move(ledger)) {}
  Outcome open(kernels::DeviceFacts* facts) override;
  Outcome freeBytes(std::size_t* bytes) override;
  Outcome allocate(std::size_t bytes, void** memory) override;
  void release(void* memory) override;
  Outcome allocatePinned(std::size_t bytes, void** memory) override;
  void releasePinned(void* memory) override;
  Outcome createStream(Stream* stream) override;
  void destroyStream(Stream stream) override;
  Outcome createEvent(kernels::Event* event) override;
  void destroyEvent(kernels::Event event) override;
  Outcome copyIn(void* device, const void* pinned, std::size_t bytes, Stream stream) override;
  Outcome copyOut(void* pinned, const void* device, std::size_t bytes, Stream stream) override;
  Outcome copyWithin(void* to, const void* from, std::size_t bytes, Stream stream) override;
  Outcome record(kernels::Event event, Stream stream) override;
  Outcome await(kernels::Event event) override;
  Outcome drain(Stream stream) override;
  // Plain loops in place of a maker's library; not there where the plan says so.
  Outcome openGemm(std::unique_ptr<kernels::DeviceGemm>* gemm) override;
  // Refused: no time passes on this device.
  Outcome milliseconds(kernels::Event from, kernels::Event to, float* elapsed) override;

 private:
  Outcome step(const char* doing);
  FakePlan m_plan;
  std::shared_ptr<DeviceLedger> m_ledger;
  std::mutex m_mutex;
  std::map<void*, std::size_t> m_sizes;
};

}  // namespace nibble::test
