// SPDX-License-Identifier: GPL-3.0-or-later
// Speed as multiples of R, the time to read the same weights from memory once with the same threads, in one interleaved run:
// absolute times drift on shared machines, ratios do not. Every repetition reads once and runs each row once; the best time of
// each counts. Buffers are anonymous memory on huge pages, 180 MB of float32 weights by default. R is trusted only when it is
// at least 80 % as fast as the best of several plain read loops of that run.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nibble {

struct BenchOptions {
  std::string filter;  // ECMAScript, searched in the rows' names; empty: all
  std::uint64_t weights = std::uint64_t{4096} * 11008;
  int repetitions = 7;
};

struct BenchRow {
  std::string name;
  std::uint64_t weights = 0;
  double seconds = 0;
  double timesRead = 0;  // seconds over the time to read so many weights once, or these packed bytes, for a packed product
  double weightsPerSecond = 0;
  double goal = 0;  // timesRead should not exceed it; 0: no goal
};

struct BenchReport {
  std::string backend;                               // its description
  double gbPerSecond = 0, bestPlainGbPerSecond = 0;  // 10^9 bytes per second of R, and of the fastest plain loop
  std::vector<BenchRow> rows;
  [[nodiscard]] bool readIsTrusted() const { return gbPerSecond >= 0.8 * bestPlainGbPerSecond; }
};

// Errors: an illegal filter, one that no row's name matches, memory, a row that fails, cancelled.
Result<BenchReport> bench(const BenchOptions& options, const Context& context);

// The names of all rows, in order.
std::vector<std::string> benchRowNames();

}  // namespace nibble
