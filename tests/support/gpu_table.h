// SPDX-License-Identifier: GPL-3.0-or-later
// The kernels timed by themselves on a device, cold: numbers rotate over more memory than its caches hold, and nothing is
// copied while a clock runs. Products are checked in double first, and a library's product of halves of the same shape stands
// beside them. The same source runs over the emulator, without a clock, so that it works where there is a device at last.
#pragma once
#include "kernels/cuda/device.h"
#include "kernels/cuda/runtime.h"

#include <string>
#include <vector>

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

struct TableSettings {
  std::size_t side = 16384;                        // inputs and outputs of the layers
  std::size_t coldBytes = std::size_t{200} << 20;  // four second-level caches of 50 MB
  int repeats = 20;
  bool timed = true;
};

struct TimingRow {
  std::string name;
  double milliseconds = 0;
  double bytes = 0;                       // what must move: weights once, numbers in and out
  double libraryMilliseconds = 0;         // fp16 cuBLAS of the same shape; 0: none, or no library
  double leastShare = 0, leastRatio = 0;  // goals: share of the bandwidth of a copy, and times as fast as the library; 0: none
  double worst = 0;                       // of the results that were checked, the largest error in units of its bound
  std::size_t checked = 0;
};

struct TimingTable {
  double copyBytesPerMillisecond = 0;  // read and written
  std::vector<TimingRow> rows;
};

// Stops at the first call that fails.
Outcome timingTable(DeviceRuntime& runtime, const DeviceFacts& facts, const TableSettings& settings, TimingTable* table);

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
