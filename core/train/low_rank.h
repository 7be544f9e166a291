// SPDX-License-Identifier: GPL-3.0-or-later
// The best rank-r approximation U S V^T of a matrix, in double: exact for up to 512 columns, by subspace iteration from a
// seeded sketch for more (Halko, Martinsson, Tropp 2011, four iterations with orthonormalization in between, 16 columns more
// than the rank). Looks at the stop token between panels. Signs of singular vectors: the largest entry of each row of V^T is
// positive.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"

#include <cstdint>
#include <span>
#include <vector>

namespace nibble::train {

struct LowRank {
  std::uint64_t rank = 0;
  std::vector<double> u;  // [rows, rank]
  std::vector<double> s;  // [rank], falling
  std::vector<double> v;  // [rank, columns]
};

// rank <= min(rows, columns). Errors: cancelled.
Result<LowRank> lowRank(std::span<const double> matrix, std::uint64_t rows, std::uint64_t columns, std::uint64_t rank,
                        std::uint64_t seed, const Context& context);

}  // namespace nibble::train
