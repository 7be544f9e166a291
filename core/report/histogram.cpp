// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/histogram.h"

#include <numeric>

namespace nibble {

std::uint64_t Histogram::total() const { return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}); }

}  // namespace nibble
