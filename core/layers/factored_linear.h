// SPDX-License-Identifier: GPL-3.0-or-later
// Fast products on packed weights whose values are scale x code + offset in runs along the input: uniform widths, and widths
// mixed along the input (EXL2, MBWQ). The scale is taken out of the sum, which is what makes it fast, and what makes it another
// arithmetic than decoding first (packed_linear.h): the bits differ, by no more than
//   floats  the rounding of float32 sums, and of the description's own arithmetic (a half per weight where values are halves)
//   bytes   the same plus the rounding of x to 8 bits in each run, scaled to its largest (127 steps)
// Equal on every backend and thread count. The words lie as kernels/packed_rows.h draws them: 2 to 4 bits in fields of 4, 5 to
// 8 in fields of 8. Immutable; safe to use from many threads.
#pragma once
#include "core/base/context.h"
#include "core/base/huge_array.h"
#include "core/base/result.h"
#include "core/quant/quantized_tensor.h"
#include "kernels/packed_rows.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nibble {

enum class Activations : std::uint8_t { Floats, Bytes };

class FactoredLinear {
 public:
  // The error is why it cannot be: levels that are no codes, groups that are no runs of a multiple of 32 inputs, ...
  static Result<FactoredLinear> make(std::string name, const QuantizedTensor& weights, std::vector<float> bias,
                                     const Context& context);

  [[nodiscard]] std::uint64_t inputs() const { return m_frame.columns; }
  [[nodiscard]] std::uint64_t outputs() const { return m_frame.rows; }
  // Codes, scales and offsets: what a product reads.
  [[nodiscard]] std::span<const std::byte> packed() const { return m_blocks->values(); }

  // x [tokens, in] to y [tokens, out].
  [[nodiscard]] Result<std::vector<float>> forward(std::span<const float> x, Activations activations,
                                                   const Context& context) const;

 private:
  FactoredLinear() = default;
  std::string m_name;
  QuantizedTensor m_frame;  // size, order, channel scale and rotation alone
  std::vector<float> m_bias;
  std::vector<kernels::PackedRun> m_runs;
  std::size_t m_blockBytes = 0;
  std::shared_ptr<const HugeArray<std::byte>> m_blocks;
};

}  // namespace nibble
