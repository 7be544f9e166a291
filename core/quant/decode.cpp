// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/decode.h"

#include "core/base/contracts.h"
#include "core/quant/decode_narrow.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace nibble {
namespace {

float floatFromBits(FloatType type, std::int64_t code) {
  switch (type) {
    case FloatType::F32: return std::bit_cast<float>(static_cast<std::int32_t>(code));
    case FloatType::F16: return kernels::halfToFloat(static_cast<std::uint16_t>(code));
    case FloatType::BF16: return kernels::bfloatToFloat(static_cast<std::uint16_t>(code));
    default: return kernels::smallToFloat(type, static_cast<unsigned>(code));
  }
}

// The level of the weight stored at `index` (storage order).
float levelAt(const QuantizedTensor& tensor, std::uint64_t index) {
  const Levels& levels = tensor.levels;
  const std::int64_t code = tensor.codes.at(index / levels.dimension);
  float level = 0;
  switch (levels.kind) {
    case Levels::Kind::Identity: level = static_cast<float>(code); break;
    case Levels::Kind::Float: level = floatFromBits(levels.type, code); break;
    case Levels::Kind::Table: {
      const std::uint64_t table = levels.grouping ? levels.grouping->groupOf(index) : 0;
      level = levels.table[(table * levels.levelCount + static_cast<std::uint64_t>(code)) * levels.dimension +
                           index % levels.dimension];
      break;
    }
  }
  if (!tensor.signs.empty() && (tensor.signs[index / 8] >> (index % 8) & 1) != 0) level = -level;
  return level;
}

// One rounding of a double to a narrow type: by way of a float rounded to odd, whose last bit keeps what was cut off, so that
// the second rounding cannot see a tie that is none.
float roundOnce(FloatType type, double value) {
  const auto nearest = static_cast<float>(value);
  if (type == FloatType::F32 || static_cast<double>(nearest) == value || !std::isfinite(nearest))
    return kernels::roundTo(type, nearest);
  const bool beyond = std::fabs(static_cast<double>(nearest)) > std::fabs(value);
  const std::uint32_t towardsZero = std::bit_cast<std::uint32_t>(nearest) - (beyond ? 1u : 0u);  // the float before it
  return kernels::roundTo(type, std::bit_cast<float>(towardsZero | 1u));
}

}  // namespace

float applyRule(ValueRule rule, const Arithmetic& arithmetic, bool hasScale, float level, float scale, float zero) {
  const auto step = [&](float value) { return kernels::roundTo(arithmetic.step, value); };
  float value = level;
  switch (rule) {
    case ValueRule::Scale:
      if (hasScale) value = step(arithmetic.divides ? level / scale : scale * level);
      break;
    case ValueRule::ScaleMinusZero: value = step(step(level - zero) * scale); break;
    case ValueRule::ScalePlusBias:
      if (arithmetic.fused) {
        // A product of two 24-bit numbers is exact in double, and so is the sum where scale and zero are halves.
        value = roundOnce(arithmetic.step, static_cast<double>(scale) * level + zero);
      } else {
        value = step(step(scale * level) + zero);
      }
      break;
  }
  if (arithmetic.factor != 1) value = step(value * arithmetic.factor);
  return kernels::roundTo(arithmetic.result, value);
}

float storedValue(const QuantizedTensor& tensor, std::uint64_t index) {
  const float scale = tensor.scale ? tensor.scale->values[tensor.scale->grouping.groupOf(index)] : 1.0f;
  const float zero = tensor.zero ? tensor.zero->values[tensor.zero->grouping.groupOf(index)] : 0.0f;
  return applyRule(tensor.rule, tensor.arithmetic, tensor.scale.has_value(), levelAt(tensor, index), scale, zero);
}

namespace {

// In-place orthonormal Walsh-Hadamard transform of a power-of-two run.
void walshHadamard(std::span<float> run) {
  for (std::size_t half = 1; half < run.size(); half *= 2) {
    for (std::size_t base = 0; base < run.size(); base += 2 * half) {
      for (std::size_t i = base; i < base + half; ++i) {
        const float sum = run[i] + run[i + half], difference = run[i] - run[i + half];
        run[i] = sum;
        run[i + half] = difference;
      }
    }
  }
  const float norm = 1.0f / std::sqrt(static_cast<float>(run.size()));
  for (float& value : run) value *= norm;
}

// Whether inputs have scales of their own. Formats that have room for them often hold ones.
bool isRescaled(const QuantizedTensor& tensor) {
  std::uint32_t other = 0;
  for (const float scale : tensor.channelScale) other |= std::bit_cast<std::uint32_t>(scale) ^ std::bit_cast<std::uint32_t>(1.0f);
  return other != 0;
}

// Undoes rotation and channel scale of one stored row, in place.
void restoreChannels(const QuantizedTensor& tensor, bool rescaled, std::span<float> row) {
  if (tensor.rotation) {
    for (std::size_t begin = 0; begin < row.size(); begin += tensor.rotation->block)
      walshHadamard(row.subspan(begin, tensor.rotation->block));
    for (std::size_t i = 0; i < row.size(); ++i) row[i] *= tensor.rotation->signs[i];
  }
  if (!rescaled) return;
  const float* scale = tensor.channelScale.data();
  if (tensor.channelScaleMultiplies)
    for (std::size_t i = 0; i < row.size(); ++i) row[i] *= scale[i];
  else
    for (std::size_t i = 0; i < row.size(); ++i) row[i] /= scale[i];
}

// Whether columns are stored in another order than the model's. Formats that have room for an order often hold none.
bool isReordered(const QuantizedTensor& tensor) {
  std::uint32_t moved = 0;
  for (std::uint32_t i = 0; i < tensor.order.size(); ++i) moved |= tensor.order[i] ^ i;
  return moved != 0;
}

void decodeStored(const QuantizedTensor& tensor, std::uint64_t begin, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = storedValue(tensor, begin + i);
}

// Fast path: float32 arithmetic, one-byte codes, one scale and zero per run of weights; the level is the code or an entry of a
// single table. The same operations in the same order as applyRule.
bool hasFastPath(const QuantizedTensor& tensor) {
  const bool plain = tensor.levels.kind == Levels::Kind::Identity ||
                     (tensor.levels.kind == Levels::Kind::Table && tensor.levels.dimension == 1);
  return plain && tensor.arithmetic == Arithmetic{} && tensor.signs.empty() && tensor.codes.as<std::uint8_t>() != nullptr;
}

struct Run {
  std::uint64_t begin = 0, length = 0;
  float scale = 1, zero = 0;
  const float* table = nullptr;
};

Run runAt(const QuantizedTensor& tensor, std::uint64_t index, std::uint64_t limit) {
  Run run{index, limit - index};
  const auto shorten = [&](const Grouping& grouping) { run.length = std::min(run.length, grouping.runLength(index)); };
  if (tensor.scale) {
    shorten(tensor.scale->grouping);
    run.scale = tensor.scale->values[tensor.scale->grouping.groupOf(index)];
  }
  if (tensor.zero) {
    shorten(tensor.zero->grouping);
    run.zero = tensor.zero->values[tensor.zero->grouping.groupOf(index)];
  }
  if (tensor.levels.kind == Levels::Kind::Table) {
    std::uint64_t table = 0;
    if (tensor.levels.grouping) {
      shorten(*tensor.levels.grouping);
      table = tensor.levels.grouping->groupOf(index);
    }
    run.table = tensor.levels.table.data() + table * tensor.levels.levelCount;
  }
  return run;
}

void decodeRun(const QuantizedTensor& tensor, const Run& run, const std::uint8_t* codes, float* out) {
  const auto fill = [&](auto level) {
    switch (tensor.rule) {
      case ValueRule::Scale:
        for (std::uint64_t i = 0; i < run.length; ++i) out[i] = run.scale * level(codes[i]);
        break;
      case ValueRule::ScaleMinusZero:
        for (std::uint64_t i = 0; i < run.length; ++i) out[i] = (level(codes[i]) - run.zero) * run.scale;
        break;
      case ValueRule::ScalePlusBias:
        for (std::uint64_t i = 0; i < run.length; ++i) out[i] = run.scale * level(codes[i]) + run.zero;
        break;
    }
  };
  if (run.table != nullptr)
    fill([table = run.table](std::uint8_t code) { return table[code]; });
  else
    fill([](std::uint8_t code) { return static_cast<float>(code); });
}

// Modulo groups change at every weight, but their parameters run on beside the weights.
bool isModulo(const QuantizedTensor& tensor, const std::optional<Plane>& plane) {
  return plane && plane->grouping.kind() == Grouping::Kind::Modulo && plane->values.size() > 1 &&
         tensor.levels.kind == Levels::Kind::Identity;
}

void decodeModulo(const QuantizedTensor& tensor, std::uint64_t begin, std::span<float> out) {
  const std::uint8_t* codes = tensor.codes.as<std::uint8_t>()->data() + begin;
  const std::vector<float>& scale = tensor.scale->values;
  const std::vector<float>& zero = tensor.zero->values;
  std::uint64_t group = begin % scale.size();
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = (static_cast<float>(codes[i]) - zero[group]) * scale[group];
    if (++group == scale.size()) group = 0;
  }
}

// Groups of equal length that follow one another in row-major order: the number of their weights. None: groups lie otherwise.
std::optional<std::uint64_t> evenLength(const Plane& plane) {
  const Grouping& grouping = plane.grouping;
  if (plane.values.size() == 1) return std::max<std::uint64_t>(grouping.rows() * grouping.columns(), 1);
  if (grouping.kind() == Grouping::Kind::Flat) return grouping.length();
  const bool along = grouping.kind() == Grouping::Kind::Blocks && grouping.tileRows() == 1;
  return along && grouping.columns() % grouping.tileColumns() == 0 ? std::optional(grouping.tileColumns()) : std::nullopt;
}

bool isEven(const std::optional<Plane>& plane) { return !plane || evenLength(*plane).has_value(); }

// The parameter of one weight after another, without looking groups up.
class EvenWalk {
 public:
  EvenWalk(const std::optional<Plane>& plane, float fallback, std::uint64_t begin) : m_value(fallback) {
    if (!plane) return;
    m_values = plane->values;
    m_length = *evenLength(*plane);
    m_left = m_length - begin % m_length;
    m_index = begin / m_length;
    m_value = m_values[m_index];
  }
  [[nodiscard]] float value() const { return m_value; }
  [[nodiscard]] std::uint64_t left() const { return m_left; }
  void advance(std::uint64_t count) {
    m_left -= count;
    if (m_left != 0 || ++m_index >= m_values.size()) return;
    m_left = m_length;
    m_value = m_values[m_index];
  }

 private:
  std::span<const float> m_values;
  std::uint64_t m_length = 0, m_index = 0, m_left = ~std::uint64_t{0};
  float m_value;
};

// Runs of weights with the same parameters, for planes of even groups.
template <class Body>
void forEachEvenRun(const QuantizedTensor& tensor, std::uint64_t begin, std::uint64_t end, const Body& body) {
  EvenWalk scale(tensor.scale, 1.0f, begin), zero(tensor.zero, 0.0f, begin);
  for (std::uint64_t index = begin; index < end;) {
    const std::uint64_t length = std::min({scale.left(), zero.left(), end - index});
    body(Run{index, length, scale.value(), zero.value(), nullptr});
    scale.advance(length);
    zero.advance(length);
    index += length;
  }
}

// Codes of several weights: float32 arithmetic, one table, unsigned codes, planes of even groups.
bool hasVectorPath(const QuantizedTensor& tensor) {
  return tensor.levels.kind == Levels::Kind::Table && (tensor.levels.dimension == 4 || tensor.levels.dimension == 8) &&
         !tensor.levels.grouping && tensor.arithmetic == Arithmetic{} && !tensor.codes.isSigned() && isEven(tensor.scale) &&
         isEven(tensor.zero);
}

template <unsigned dimension, class Code>
void decodeVectorRun(const QuantizedTensor& tensor, const Run& run, const Code* codes, float* out) {
  const float* table = tensor.levels.table.data();
  const std::uint8_t* signs = tensor.signs.empty() ? nullptr : tensor.signs.data();
  for (std::uint64_t i = run.begin; i < run.begin + run.length;) {
    const std::uint64_t first = i % dimension, count = std::min(dimension - first, run.begin + run.length - i);
    const float* level = table + std::uint64_t{codes[i / dimension]} * dimension + first;
    const unsigned negative = signs == nullptr ? 0u : static_cast<unsigned>(signs[i / 8]) >> (i % 8);
    const auto fill = [&](std::uint64_t length) {
      for (unsigned k = 0; k < length; ++k) {
        const float value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(level[k]) ^ (negative >> k & 1u) << 31);
        switch (tensor.rule) {
          case ValueRule::Scale: out[k] = run.scale * value; break;
          case ValueRule::ScaleMinusZero: out[k] = (value - run.zero) * run.scale; break;
          case ValueRule::ScalePlusBias: out[k] = run.scale * value + run.zero; break;
        }
      }
    };
    if (count == dimension)
      fill(dimension);
    else
      fill(count);
    i += count;
    out += count;
  }
}

void decodeVectors(const QuantizedTensor& tensor, std::uint64_t begin, std::span<float> out) {
  const auto decodeCodes = [&](const auto* codes) {
    forEachEvenRun(tensor, begin, begin + out.size(), [&](const Run& run) {
      float* to = out.data() + (run.begin - begin);
      if (tensor.levels.dimension == 8)
        decodeVectorRun<8>(tensor, run, codes, to);
      else
        decodeVectorRun<4>(tensor, run, codes, to);
    });
  };
  if (const auto* narrow = tensor.codes.as<std::uint8_t>())
    decodeCodes(narrow->data());
  else
    decodeCodes(tensor.codes.as<std::uint16_t>()->data());
}

void decodeFast(const QuantizedTensor& tensor, std::uint64_t begin, std::span<float> out) {
  if (tensor.rule == ValueRule::ScaleMinusZero && isModulo(tensor, tensor.scale) && isModulo(tensor, tensor.zero) &&
      tensor.scale->grouping == tensor.zero->grouping)
    return decodeModulo(tensor, begin, out);
  const std::uint8_t* codes = tensor.codes.as<std::uint8_t>()->data();
  const std::uint64_t end = begin + out.size();
  if (isEven(tensor.scale) && isEven(tensor.zero) && !tensor.levels.grouping) {
    const float* table = tensor.levels.kind == Levels::Kind::Table ? tensor.levels.table.data() : nullptr;
    return forEachEvenRun(tensor, begin, end, [&](Run run) {
      run.table = table;
      decodeRun(tensor, run, codes + run.begin, out.data() + (run.begin - begin));
    });
  }
  for (std::uint64_t index = begin; index < end;) {
    const Run run = runAt(tensor, index, end);
    decodeRun(tensor, run, codes + index, out.data() + (index - begin));
    index += run.length;
  }
}

using StoredDecoder = void (*)(const QuantizedTensor&, std::uint64_t, std::span<float>);

void decodeWith(StoredDecoder decodeStoredOrder, const QuantizedTensor& tensor, std::uint64_t begin, std::span<float> out) {
  NIBBLE_EXPECTS(begin + out.size() <= tensor.weightCount());
  if (!decodesByRow(tensor)) return decodeStoredOrder(tensor, begin, out);
  const std::uint64_t columns = tensor.columns;
  NIBBLE_EXPECTS(begin % columns == 0 && out.size() % columns == 0);
  const bool reordered = isReordered(tensor), rescaled = isRescaled(tensor);
  std::vector<float> stored(reordered ? columns : 0);
  for (std::size_t offset = 0; offset < out.size(); offset += columns) {
    const std::span<float> to = out.subspan(offset, columns), row = reordered ? std::span(stored) : to;
    decodeStoredOrder(tensor, begin + offset, row);
    restoreChannels(tensor, rescaled, row);
    if (reordered)
      for (std::size_t i = 0; i < columns; ++i) to[tensor.order[i]] = row[i];
  }
}

}  // namespace

bool decodesByRow(const QuantizedTensor& tensor) {
  return !tensor.order.empty() || !tensor.channelScale.empty() || tensor.rotation.has_value();
}

void decode(const QuantizedTensor& tensor, std::uint64_t begin, std::span<float> out) {
  decodeWith(hasFastPath(tensor)       ? decodeFast
             : hasVectorPath(tensor)   ? decodeVectors
             : decodesNarrow(tensor)   ? decodeNarrow
             : decodesPatterns(tensor) ? decodePatterns
                                       : decodeStored,
             tensor, begin, out);
}

void decodeLiterally(const QuantizedTensor& tensor, std::uint64_t begin, std::span<float> out) {
  decodeWith(decodeStored, tensor, begin, out);
}

std::vector<float> decodeAll(const QuantizedTensor& tensor) {
  std::vector<float> values(tensor.weightCount());
  decode(tensor, 0, values);
  return values;
}

std::uint64_t codeCountAt(const QuantizedTensor& tensor, std::uint64_t flatIndex) {
  const Levels& levels = tensor.levels;
  if (levels.kind != Levels::Kind::Float && levels.levelCount != 0) return levels.levelCount;
  return std::uint64_t{1} << std::min(tensor.width.at(flatIndex), 16);
}

std::vector<float> levelsAt(const QuantizedTensor& tensor, std::uint64_t flatIndex) {
  constexpr std::uint64_t mostLevels = 256;
  const Levels& levels = tensor.levels;
  const std::uint64_t count = codeCountAt(tensor, flatIndex);
  if (levels.dimension != 1 || levels.kind == Levels::Kind::Float) return {};
  const std::uint64_t shown = std::min(count, mostLevels);
  const float scale = tensor.scale ? tensor.scale->values[tensor.scale->grouping.groupOf(flatIndex)] : 1.0f;
  const float zero = tensor.zero ? tensor.zero->values[tensor.zero->grouping.groupOf(flatIndex)] : 0.0f;
  const std::uint64_t table = levels.grouping ? levels.grouping->groupOf(flatIndex) : 0;
  std::vector<float> values(shown);
  for (std::uint64_t i = 0; i < shown; ++i) {
    const std::uint64_t code = shown == 1 ? 0 : i * (count - 1) / (shown - 1);
    const float level = levels.kind == Levels::Kind::Table ? levels.table[table * levels.levelCount + code] : static_cast<float>(code);
    values[i] = applyRule(tensor.rule, tensor.arithmetic, tensor.scale.has_value(), level, scale, zero);
  }
  if (levels.smallFloat()) std::erase_if(values, [](float value) { return !std::isfinite(value); });  // codes of NaN, infinity
  return values;
}

}  // namespace nibble
