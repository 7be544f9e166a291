// SPDX-License-Identifier: GPL-3.0-or-later
// What became of work for a device, as a value: nothing in kernels/cuda throws, exits or prints. Streams are arguments.
#pragma once
#include <cstdint>
#include <string>
#include <utility>

namespace nibble::kernels {

enum class Fault : std::uint8_t {
  None,
  NotBuilt,  // this program has no CUDA code
  NoDriver,
  NoDevice,  // or one too old for the code there is
  NoMemory,
  BadCall,  // our own mistake: a default stream, more shared memory than a kernel states
  Lost,     // the device stopped answering: nothing more can be done with it
};

struct [[nodiscard]] Outcome {
  Fault fault = Fault::None;
  std::string detail;  // what was being done, and what the device said
  [[nodiscard]] bool ok() const { return fault == Fault::None; }
  static Outcome failed(Fault fault, std::string detail) { return {fault, std::move(detail)}; }
};

// A queue of work on a device. Null would be the default stream, which nothing here uses: launching on it is refused.
struct StreamHandle;
using Stream = StreamHandle*;

struct GridSize {
  unsigned x = 1, y = 1;
};

// More blocks in one direction than any device takes are refused by callers, which cut the work.
inline constexpr std::size_t largestGridX = 0x7FFFFFFF, largestGridY = 65535;

}  // namespace nibble::kernels
