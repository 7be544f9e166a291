// SPDX-License-Identifier: GPL-3.0-or-later
// One choice of every scheme whose true size on this tensor comes nearest to a wanted number of bits per weight: each setting that
// decides the size (bits, group, block, granularity, element, nested, bpw) is tried over what it offers, the others keep their
// defaults. Sizes are measured by quantizing the first rows of the tensor. Schemes that miss by more than half a bit are left out.
#pragma once
#include "core/run/choice.h"

#include <optional>

namespace nibble {

// The scheme's defaults, or they with one setting changed to what it offers, whichever the matrix does not refuse first; none: it
// refuses all of them.
std::optional<Choice> fittingChoice(const Scheme& scheme, MatrixSize size);

Result<std::vector<Choice>> nearSize(const Tensor& tensor, double bitsPerWeight, const Context& context);

}  // namespace nibble
