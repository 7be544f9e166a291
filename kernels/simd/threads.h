// SPDX-License-Identifier: GPL-3.0-or-later
// Threads of the CPU backends: one oneTBB arena of threadCount() slots for the whole process. Re-entrant: work started from
// inside a piece runs in the same arena.
#pragma once
#include "kernels/backend.h"

namespace nibble::kernels {

// Runs body over [0, count) in pieces of `grain`; on the calling thread alone when there is one piece or one thread.
void runParallel(std::size_t count, std::size_t grain, const RangeBody& body);

}  // namespace nibble::kernels
