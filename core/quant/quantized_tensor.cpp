// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/quantized_tensor.h"

#include "core/base/contracts.h"
#include "core/quant/decode.h"

#include <bit>
#include <cmath>

namespace nibble {
namespace {

float roundToStored(Stored stored, float value) {
  switch (stored) {
    case Stored::F16: return kernels::roundTo(FloatType::F16, value);
    case Stored::BF16: return kernels::roundTo(FloatType::BF16, value);
    case Stored::F8E4M3: return kernels::roundTo(FloatType::F8E4M3, value);
    case Stored::F8E8M0: return kernels::e8m0ToFloat(kernels::floatToE8m0(value));
    case Stored::U8: case Stored::I8: case Stored::I32: return std::nearbyint(value);
    case Stored::Implied: case Stored::F32: case Stored::Nested: return value;
  }
  return value;
}

}  // namespace

int storedBits(Stored stored) {
  switch (stored) {
    case Stored::Implied: case Stored::Nested: return 0;
    case Stored::F32: case Stored::I32: return 32;
    case Stored::F16: case Stored::BF16: return 16;
    case Stored::F8E4M3: case Stored::F8E8M0: case Stored::U8: case Stored::I8: return 8;
  }
  return 0;
}

Plane Plane::numbers(Grouping grouping, std::vector<float> values, Stored stored) {
  NIBBLE_EXPECTS(values.size() == grouping.groupCount());
  for (float& value : values) value = roundToStored(stored, value);
  return {std::move(grouping), std::move(values), stored, nullptr};
}

Plane Plane::implied(Grouping grouping, float value) {
  std::vector<float> values(grouping.groupCount(), value);
  return {std::move(grouping), std::move(values), Stored::Implied, nullptr};
}

Plane Plane::quantized(Grouping grouping, std::shared_ptr<const QuantizedTensor> nested) {
  NIBBLE_EXPECTS(nested != nullptr && nested->weightCount() == grouping.groupCount());
  std::vector<float> values = decodeAll(*nested);
  return {std::move(grouping), std::move(values), Stored::Nested, std::move(nested)};
}

Levels Levels::fixedTable(std::vector<float> table) {
  Levels levels;
  levels.kind = Kind::Table;
  levels.levelCount = static_cast<std::uint32_t>(table.size());
  levels.table = std::move(table);
  return levels;
}

Levels Levels::floats(FloatType type) {
  Levels levels;
  levels.kind = Kind::Float;
  levels.type = type;
  if (kernels::bitsOf(type) > 8) return levels;
  std::vector<float> table(std::size_t{1} << kernels::bitsOf(type));
  for (std::size_t code = 0; code < table.size(); ++code) table[code] = kernels::smallToFloat(type, static_cast<unsigned>(code));
  levels = fixedTable(std::move(table));
  levels.type = type;
  return levels;
}

}  // namespace nibble
