// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/cuda/nvidia_runtime.h"

#include <cuda_runtime_api.h>

namespace nibble::kernels {
namespace {

Fault faultOf(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return Fault::NoMemory;
    case cudaErrorInsufficientDriver:
    case cudaErrorStubLibrary:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorInitializationError:
    case cudaErrorCompatNotSupportedOnDevice:
      return Fault::NoDriver;
    case cudaErrorNoDevice:
    case cudaErrorDevicesUnavailable:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return Fault::NoDevice;
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidResourceHandle:
      return Fault::BadCall;
    default:
      return Fault::Lost;
  }
}

Outcome outcomeOf(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return {};
  static_cast<void>(cudaGetLastError());  // else an error that is over would come out of the next launch
  return Outcome::failed(faultOf(error), std::string(doing) + ": " + cudaGetErrorString(error));
}

cudaStream_t native(Stream stream) {
  return reinterpret_cast<cudaStream_t>(stream);
}
cudaEvent_t native(Event event) {
  return reinterpret_cast<cudaEvent_t>(event);
}

class NvidiaRuntime final : public DeviceRuntime {
 public:
  Outcome open(DeviceFacts* facts) override {
    int count = 0;
    if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
      const bool noDriver = faultOf(error) == Fault::NoDriver;
      return Outcome::failed(faultOf(error), (noDriver ? "no NVIDIA driver that fits: " : "no NVIDIA GPU: ") +
                                                 std::string(cudaGetErrorString(error)));
    }
    if (count == 0) return Outcome::failed(Fault::NoDevice, "no NVIDIA GPU");
    cudaDeviceProp properties{};
    Outcome outcome = outcomeOf(cudaGetDeviceProperties(&properties, 0), "asking for the device");
    if (!outcome.ok()) return outcome;
    facts->name = properties.name;
    facts->memoryBytes = properties.totalGlobalMem;
    facts->multiprocessors = static_cast<unsigned>(properties.multiProcessorCount);
    if (properties.major < 8)
      return Outcome::failed(Fault::NoDevice, facts->name + " is older than compute capability 8.0, which the kernels need");
    return outcomeOf(cudaSetDevice(0), "opening the device");
  }
  Outcome freeBytes(std::size_t* bytes) override {
    std::size_t total = 0;
    return outcomeOf(cudaMemGetInfo(bytes, &total), "asking for free memory");
  }
  Outcome allocate(std::size_t bytes, void** memory) override {
    return outcomeOf(cudaMalloc(memory, bytes), "taking device memory");
  }
  void release(void* memory) override { static_cast<void>(cudaFree(memory)); }
  Outcome allocatePinned(std::size_t bytes, void** memory) override {
    return outcomeOf(cudaMallocHost(memory, bytes), "taking pinned memory");
  }
  void releasePinned(void* memory) override { static_cast<void>(cudaFreeHost(memory)); }
  Outcome createStream(Stream* stream) override {
    cudaStream_t made = nullptr;
    Outcome outcome = outcomeOf(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "making a stream");
    *stream = reinterpret_cast<Stream>(made);
    return outcome;
  }
  void destroyStream(Stream stream) override { static_cast<void>(cudaStreamDestroy(native(stream))); }
  Outcome createEvent(Event* event) override {
    cudaEvent_t made = nullptr;
    Outcome outcome = outcomeOf(cudaEventCreateWithFlags(&made, cudaEventBlockingSync), "making an event");
    *event = reinterpret_cast<Event>(made);
    return outcome;
  }
  void destroyEvent(Event event) override { static_cast<void>(cudaEventDestroy(native(event))); }
  Outcome copyIn(void* device, const void* pinned, std::size_t bytes, Stream stream) override {
    return outcomeOf(cudaMemcpyAsync(device, pinned, bytes, cudaMemcpyHostToDevice, native(stream)), "copying to the device");
  }
  Outcome copyOut(void* pinned, const void* device, std::size_t bytes, Stream stream) override {
    return outcomeOf(cudaMemcpyAsync(pinned, device, bytes, cudaMemcpyDeviceToHost, native(stream)),
                     "copying from the device");
  }
  Outcome copyWithin(void* to, const void* from, std::size_t bytes, Stream stream) override {
    return outcomeOf(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, native(stream)), "copying on the device");
  }
  Outcome record(Event event, Stream stream) override {
    return outcomeOf(cudaEventRecord(native(event), native(stream)), "recording an event");
  }
  Outcome await(Event event) override { return outcomeOf(cudaEventSynchronize(native(event)), "waiting for the device"); }
  Outcome drain(Stream stream) override { return outcomeOf(cudaStreamSynchronize(native(stream)), "waiting for the device"); }
  Outcome openGemm(std::unique_ptr<DeviceGemm>* gemm) override { return nvidiaGemm(gemm); }
  Outcome milliseconds(Event from, Event to, float* elapsed) override {
    return outcomeOf(cudaEventElapsedTime(elapsed, native(from), native(to)), "reading the time");
  }
};

}  // namespace

std::unique_ptr<DeviceRuntime> nvidiaRuntime() {
  return std::make_unique<NvidiaRuntime>();
}

}  // namespace nibble::kernels
