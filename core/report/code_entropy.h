// SPDX-License-Identifier: GPL-3.0-or-later
// What a perfect entropy coder would need for the codes alone, in bits per weight: the codes as one memoryless source under their
// own counts. Where codes have several widths each width is a source of its own (a reader knows the widths), weighted by how many
// codes have it; where one code stands for d weights it is shared among them; signs stored apart add the entropy of a sign.
#pragma once
#include "core/base/context.h"
#include "core/quant/quantized_tensor.h"

#include <cstdint>
#include <vector>

namespace nibble {

struct CodeCounts {
  std::vector<std::uint64_t> occupancy;  // how often each code is used, all widths together; empty for signed codes and more than 4096
  double bitsPerWeight = 0;
};
CodeCounts countCodes(const QuantizedTensor& tensor, const Context& context);

}  // namespace nibble
