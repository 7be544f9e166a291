// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/schemes/integer_groups.h"

#include "core/quant/input_words.h"

namespace nibble {
namespace {

// Zero points as the files keep them: `bits` each.
Plane zeroPlane(const Grouping& grouping, const std::vector<float>& zeros, int bits) {
  auto nested = std::make_shared<QuantizedTensor>();
  nested->rows = 1;
  nested->columns = zeros.size();
  nested->shape = {1, zeros.size()};
  nested->codes = Codes(std::vector<std::uint8_t>(zeros.begin(), zeros.end()));
  nested->width.uniform = static_cast<std::uint8_t>(bits);
  nested->layout = denseLayout(zeros.size(), bits);
  return Plane::quantized(grouping, std::move(nested));
}

}  // namespace

IntegerGroups::IntegerGroups(std::uint64_t rowCount, std::uint64_t columnCount, std::uint64_t groupLength, int codeBits,
                             Stored storedType)
    : rows(rowCount),
      columns(columnCount),
      group(groupLength == 0 || groupLength > columnCount ? columnCount : groupLength),
      bits(codeBits),
      codes(rowCount * columnCount),
      scale(rowCount * groups()),
      zero(rowCount * groups()),
      stored(storedType) {}

QuantizedTensor describe(IntegerGroups&& groups, const Shape& shape, std::vector<std::uint32_t> columnGroup) {
  const Grouping grouping = columnGroup.empty() ? Grouping::blocks(groups.rows, groups.columns, 1, groups.group)
                                                : Grouping::columnMap(groups.rows, std::move(columnGroup));
  QuantizedTensor result;
  result.rows = groups.rows;
  result.columns = groups.columns;
  result.shape = shape;
  result.codes = Codes(std::move(groups.codes));
  result.width.uniform = static_cast<std::uint8_t>(groups.bits);
  result.rule = ValueRule::ScaleMinusZero;
  result.scale = Plane::numbers(grouping, std::move(groups.scale), groups.stored);
  result.zero = zeroPlane(grouping, groups.zero, groups.bits);
  result.layout = inputWordLayout(result.rows, result.columns, groups.bits);
  return result;
}

}  // namespace nibble
