// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/layers/integer_rows.h"

#include "core/base/text.h"
#include "core/quant/decode.h"

#include <cmath>

namespace nibble {
namespace {

constexpr float largestZero = 0x1p20f;

// One number per row; none: it changes along a row.
std::optional<std::vector<float>> rowNumbers(const Plane& plane, std::uint64_t rows, std::uint64_t columns) {
  std::vector<float> numbers(rows);
  for (std::uint64_t row = 0; row < rows; ++row) {
    if (plane.grouping.runLength(row * columns) < columns) return std::nullopt;
    numbers[row] = plane.values[plane.grouping.groupOf(row * columns)];
  }
  return numbers;
}

std::optional<std::string> reasonOfForm(const QuantizedTensor& tensor) {
  if (decodesByRow(tensor)) return "its columns are moved, scaled or rotated";
  if (tensor.levels.kind != Levels::Kind::Identity) return "its levels are no integers";
  if (!tensor.width.bits.empty()) return "its codes have several widths";
  if (tensor.width.uniform > 8 || tensor.codes.as<std::uint8_t>() == nullptr) return "its codes do not fit 8 bits";
  if (tensor.rule == ValueRule::ScalePlusBias) return "it adds a bias to each weight, where integers have a zero point";
  if (!(tensor.arithmetic == Arithmetic{}) || !tensor.signs.empty()) return "its values are not scale x integer in float32";
  if (tensor.columns > mostIntegerColumns) return text::number(tensor.columns) + " products of 8 bits do not fit 32 bits";
  return std::nullopt;
}

}  // namespace

Result<IntegerRows> integerRows(const QuantizedTensor& tensor) {
  if (const auto reason = reasonOfForm(tensor)) return fail(*reason);
  const std::uint64_t rows = tensor.rows, columns = tensor.columns;
  IntegerRows result{rows, columns, {}, {}, std::vector<std::int32_t>(rows), std::vector<float>(rows, 1.0f)};
  const int middle = 1 << (tensor.width.uniform - 1);
  if (tensor.scale) {
    auto scale = rowNumbers(*tensor.scale, rows, columns);
    if (!scale) return fail("its scale changes along a row (" + tensor.scale->grouping.describe() + ")");
    result.scale = *std::move(scale);
  }
  result.zero.assign(rows, -middle);
  if (tensor.zero) {
    const auto zero = rowNumbers(*tensor.zero, rows, columns);
    if (!zero) return fail("its zero changes along a row (" + tensor.zero->grouping.describe() + ")");
    for (std::uint64_t row = 0; row < rows; ++row) {
      const float value = (*zero)[row];
      if (!(std::fabs(value) <= largestZero) || value != std::nearbyint(value)) return fail("its zeros are no integers");
      result.zero[row] = static_cast<std::int32_t>(value) - middle;
    }
  }
  const std::vector<std::uint8_t>& codes = *tensor.codes.as<std::uint8_t>();
  result.codes.resize(codes.size());
  for (std::uint64_t row = 0; row < rows; ++row) {
    std::int32_t sum = 0;
    for (std::uint64_t i = row * columns; i < (row + 1) * columns; ++i) {
      const int code = codes[i] - middle;
      result.codes[i] = static_cast<std::int8_t>(code);
      sum += code;
    }
    result.sum[row] = sum;
  }
  return result;
}

}  // namespace nibble
