// SPDX-License-Identifier: GPL-3.0-or-later
// What the CUDA backend asks of a device: memory, streams, events, copies, as a table of functions. cuda_runtime.cpp fills it
// with NVIDIA's runtime (linked statically, which looks for the driver when it is first called, so that programs start on any
// machine); tests fill it with host memory and the emulator of kernels, and let any call fail.
// Calls may come from any thread. All work is asynchronous, in the order of its stream; nothing waits but `await`.
#pragma once
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/outcome.h"

#include <cstddef>
#include <string>

namespace nibble::kernels {

struct EventHandle;
using Event = EventHandle*;

struct DeviceFacts {
  std::string name;
  std::size_t memoryBytes = 0;
  unsigned multiprocessors = 0;
};

class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;
  // Looks for a device that has code here: NoDriver, NoDevice with the reason. Nothing else is called before it succeeded.
  virtual Outcome open(DeviceFacts* facts) = 0;
  virtual Outcome freeBytes(std::size_t* bytes) = 0;

  // NoMemory where it is too little. Aligned to 256 bytes.
  virtual Outcome allocate(std::size_t bytes, void** memory) = 0;
  virtual void release(void* memory) = 0;
  // Host memory the device copies from and to by itself.
  virtual Outcome allocatePinned(std::size_t bytes, void** memory) = 0;
  virtual void releasePinned(void* memory) = 0;

  virtual Outcome createStream(Stream* stream) = 0;
  virtual void destroyStream(Stream stream) = 0;
  virtual Outcome createEvent(Event* event) = 0;
  virtual void destroyEvent(Event event) = 0;

  virtual Outcome copyIn(void* device, const void* pinned, std::size_t bytes, Stream stream) = 0;
  virtual Outcome copyOut(void* pinned, const void* device, std::size_t bytes, Stream stream) = 0;
  virtual Outcome copyWithin(void* to, const void* from, std::size_t bytes, Stream stream) = 0;  // both on the device
  virtual Outcome record(Event event, Stream stream) = 0;
  // Until everything before the event is done; a kernel's own failure comes out here.
  virtual Outcome await(Event event) = 0;
  // Until the stream has nothing left to do.
  virtual Outcome drain(Stream stream) = 0;
  // A library's product on this device; NotBuilt where there is none.
  virtual Outcome openGemm(std::unique_ptr<DeviceGemm>* gemm) = 0;
  // Between two events that are done.
  virtual Outcome milliseconds(Event from, Event to, float* elapsed) = 0;
};

}  // namespace nibble::kernels
