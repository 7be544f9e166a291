// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/fake_device.h"

#include "kernels/math/minifloat.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace nibble::test {

struct FakeEvent {
  Stream stream = nullptr;
};

Outcome FakeDevice::step(const char* doing) {
  const std::size_t call = ++m_ledger->calls;
  const bool fails = m_plan.failAt != 0 && (m_plan.forEver ? call >= m_plan.failAt : call == m_plan.failAt);
  if (!fails) return {};
  ++m_ledger->failures;
  return Outcome::failed(m_plan.fault, std::string(doing) + " failed, call " + std::to_string(call));
}

Outcome FakeDevice::open(kernels::DeviceFacts* facts) {
  if (m_plan.opening != Fault::None) return Outcome::failed(m_plan.opening, "there is no such thing");
  *facts = {"Fake", m_plan.memoryBytes, 1};
  return step("opening");
}

Outcome FakeDevice::freeBytes(std::size_t* bytes) {
  *bytes = m_plan.memoryBytes - std::min<std::size_t>(m_plan.memoryBytes, m_ledger->deviceBytes);
  return step("asking for free memory");
}

Outcome FakeDevice::allocate(std::size_t bytes, void** memory) {
  if (Outcome outcome = step("taking device memory"); !outcome.ok()) return outcome;
  const std::lock_guard lock(m_mutex);
  if (m_ledger->deviceBytes + bytes > m_plan.memoryBytes) return Outcome::failed(Fault::NoMemory, "the device is full");
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  // Words that differ: a list read beyond its end must not look empty.
  for (std::size_t i = 0; i < bytes; ++i) static_cast<unsigned char*>(*memory)[i] = static_cast<unsigned char>(0xA5 + i / 4);
  allowMemory(*memory, bytes, "slot");
  m_sizes[*memory] = bytes;
  m_ledger->deviceBytes += bytes;
  m_ledger->mostDeviceBytes = std::max<std::size_t>(m_ledger->mostDeviceBytes, m_ledger->deviceBytes);
  ++m_ledger->memory;
  return {};
}

void FakeDevice::release(void* memory) {
  const std::lock_guard lock(m_mutex);
  m_ledger->deviceBytes -= m_sizes.at(memory);
  m_sizes.erase(memory);
  forgetMemory(memory);
  std::free(memory);
  --m_ledger->memory;
}

Outcome FakeDevice::allocatePinned(std::size_t bytes, void** memory) {
  if (Outcome outcome = step("taking pinned memory"); !outcome.ok()) return outcome;
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(*memory, 0x5A, bytes);
  ++m_ledger->pinned;
  return {};
}

void FakeDevice::releasePinned(void* memory) {
  std::free(memory);
  --m_ledger->pinned;
}

Outcome FakeDevice::createStream(Stream* stream) {
  if (Outcome outcome = step("making a stream"); !outcome.ok()) return outcome;
  auto* made = new EmulatedStream;
  made->gate = [this] {
    ++m_ledger->launches;
    return step("launching");
  };
  *stream = made->handle();
  ++m_ledger->streams;
  return {};
}

void FakeDevice::destroyStream(Stream stream) {
  delete &EmulatedStream::of(stream);
  --m_ledger->streams;
}

Outcome FakeDevice::createEvent(kernels::Event* event) {
  if (Outcome outcome = step("making an event"); !outcome.ok()) return outcome;
  *event = reinterpret_cast<kernels::Event>(new FakeEvent);
  ++m_ledger->events;
  return {};
}

void FakeDevice::destroyEvent(kernels::Event event) {
  delete reinterpret_cast<FakeEvent*>(event);
  --m_ledger->events;
}

Outcome FakeDevice::copyIn(void* device, const void* pinned, std::size_t bytes, Stream stream) {
  if (Outcome outcome = step("copying in"); !outcome.ok()) return outcome;
  EmulatedStream::of(stream).queue([=] {
    std::memcpy(device, pinned, bytes);
    return Outcome{};
  });
  return {};
}

Outcome FakeDevice::copyOut(void* pinned, const void* device, std::size_t bytes, Stream stream) {
  return copyIn(pinned, device, bytes, stream);
}

Outcome FakeDevice::copyWithin(void* to, const void* from, std::size_t bytes, Stream stream) {
  return copyIn(to, from, bytes, stream);
}

Outcome FakeDevice::record(kernels::Event event, Stream stream) {
  reinterpret_cast<FakeEvent*>(event)->stream = stream;
  return step("recording");
}

Outcome FakeDevice::await(kernels::Event event) {
  // A failure found late: what was queued is not done.
  if (Outcome outcome = step("awaiting"); !outcome.ok()) return outcome;
  return EmulatedStream::of(reinterpret_cast<FakeEvent*>(event)->stream).wait();
}

Outcome FakeDevice::drain(Stream stream) {
  if (Outcome outcome = step("draining"); !outcome.ok()) return outcome;
  return EmulatedStream::of(stream).wait();
}

namespace {

class PlainGemm final : public kernels::DeviceGemm {
 public:
  explicit PlainGemm(Fault fault) : m_fault(fault) {}
  Outcome multiply(const std::uint16_t* a, std::size_t m, const std::uint16_t* b, std::size_t k, std::size_t n, bool transposed,
                   float* out, Stream stream) override {
    if (m_fault != Fault::None) return Outcome::failed(m_fault, "no product");
    EmulatedStream::of(stream).queue([=] {
      for (std::size_t i = 0; i < m * n; ++i) {
        float sum = 0;
        for (std::size_t j = 0; j < k; ++j)
          sum +=
              kernels::halfToFloat(a[i / n * k + j]) * kernels::halfToFloat(transposed ? b[i % n * k + j] : b[j * n + i % n]);
        out[i] = sum;
      }
      return Outcome{};
    });
    return {};
  }

 private:
  Fault m_fault;
};

}  // namespace

std::unique_ptr<kernels::DeviceGemm> plainGemm(Fault fault) {
  return std::make_unique<PlainGemm>(fault);
}

Outcome FakeDevice::openGemm(std::unique_ptr<kernels::DeviceGemm>* gemm) {
  if (!m_plan.hasGemm) return Outcome::failed(Fault::NotBuilt, "no library");
  *gemm = plainGemm();
  return {};
}

Outcome FakeDevice::milliseconds(kernels::Event, kernels::Event, float*) {
  return Outcome::failed(Fault::BadCall, "no time passes on an emulated device");
}

}  // namespace nibble::test
