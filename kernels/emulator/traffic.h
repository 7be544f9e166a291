// SPDX-License-Identifier: GPL-3.0-or-later
// What the CUDA kernels move, counted by the emulator at shapes that fill their blocks: bytes moved (32-byte sectors of every
// warp access, no cache assumed) over bytes needed, sectors used, bank conflicts of shared memory. No time is measured. Each
// row holds the limits its kernel is held to. Products read their activations once for each block of weights, from the second
// cache on a device: without a cache, what they move is above what they need.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace nibble::kernels {

// Bytes moved from or to one array, against those the work needs: moved <= most * needed.
struct TrafficLimit {
  std::string memory;
  double moved = 0, needed = 0, most = 1;
  [[nodiscard]] bool holds() const { return moved <= most * needed; }
};

struct TrafficRow {
  std::string name, source;      // the kernel's file
  double needed = 0, moved = 0;  // bytes
  double sectorUse = 1;          // of what was moved, the part that was asked for
  double conflictShare = 0;      // of passes through shared memory, those more than an access needs
  std::size_t sharedBytes = 0;   // of a block
  std::vector<TrafficLimit> limits;
  std::string failure;  // of the emulated launch; empty: none
  [[nodiscard]] bool holds() const;
};

// Of all kernels.
inline constexpr double leastSectorUse = 0.95, mostConflicts = 0.05;

// The rows whose name is wanted, in order.
std::vector<TrafficRow> countTraffic(const std::function<bool(const std::string& name)>& wanted);
std::vector<std::string> trafficRowNames();

}  // namespace nibble::kernels
