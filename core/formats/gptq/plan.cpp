// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/gptq/plan.h"

#include "core/base/text.h"
#include "core/formats/tools.h"

#include <algorithm>
#include <cstring>

namespace nibble::formats::gptq {
namespace {

constexpr std::uint64_t lanes = 32;  // inputs (or outputs) that fill `bits` whole words

// Where the `bits` of lane `lane` stand in a run of words: word and shift of the low piece, and how much spills into the next.
struct Field {
  std::uint64_t word;
  int shift, low, high;
};
Field fieldOf(std::uint64_t lane, int bits) {
  const std::uint64_t position = lane % lanes * static_cast<std::uint64_t>(bits);
  const int shift = static_cast<int>(position % 32), low = std::min(bits, 32 - shift);
  return {lane / lanes * static_cast<std::uint64_t>(bits) + position / 32, shift, low, bits - low};
}

class WeightLayout final : public Layout {
 public:
  WeightLayout(std::uint64_t rows, std::uint64_t columns, int bits) : m_rows(rows), m_columns(columns), m_bits(bits) {}
  [[nodiscard]] std::string name() const override { return "gptq " + std::to_string(m_bits) + " bit, words along the input"; }
  [[nodiscard]] int wordBits() const override { return 32; }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return m_rows * m_columns * static_cast<std::uint64_t>(m_bits) / 8; }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    const std::uint64_t row = index / m_columns, column = index % m_columns;
    const Field field = fieldOf(column, m_bits);
    const BitPiece low{(field.word * m_rows + row) * 32 + static_cast<std::uint64_t>(field.shift),
                       static_cast<std::uint8_t>(field.low), 0};
    if (field.high == 0) return {low};
    return {
        low,
        {((field.word + 1) * m_rows + row) * 32, static_cast<std::uint8_t>(field.high), static_cast<std::uint8_t>(field.low)}};
  }
  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    const auto bits = static_cast<std::uint64_t>(m_bits);
    const std::uint64_t wordOfRow = word / m_rows, row = word % m_rows, firstBit = wordOfRow % bits * 32;
    const std::uint64_t begin = wordOfRow / bits * lanes + firstBit / bits, end = wordOfRow / bits * lanes + (firstBit + 31) / bits + 1;
    std::vector<std::uint64_t> codes;
    for (std::uint64_t column = begin; column < std::min(end, m_columns); ++column)
      if (row * m_columns + column < codeCount) codes.push_back(row * m_columns + column);
    return codes;
  }

 private:
  std::uint64_t m_rows, m_columns;
  int m_bits;
};

Status checkRule(const QuantizedTensor& tensor) {
  if (const auto reason = plainRefusal(tensor)) return fail(*reason);
  if (tensor.shape.size() != 2) return fail("GPTQ layers are matrices; this is " + toText(tensor.shape));
  if (tensor.levels.kind != Levels::Kind::Identity) return fail("its levels are not evenly spaced");
  const int bits = tensor.width.uniform;
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
    return fail("GPTQ stores 2, 3, 4 or 8 bits, not " + std::to_string(bits));
  if (tensor.rule != ValueRule::ScaleMinusZero || !tensor.scale || !tensor.zero)
    return fail("GPTQ subtracts an integer zero point before scaling; this does not");
  if (!(tensor.arithmetic == Arithmetic{})) return fail("its values are rounded at each step; GPTQ files hold exact products");
  if (tensor.rows % lanes != 0 || tensor.columns % lanes != 0)
    return fail("both sides must be multiples of 32; this is " + toText(tensor.shape));
  return {};
}

Status placeGroups(const QuantizedTensor& tensor, Plan& plan) {
  const Grouping& grouping = tensor.scale->grouping;
  if (grouping.kind() == Grouping::Kind::Columns) {
    if (!(tensor.zero->grouping == grouping)) return fail("its zero points are grouped otherwise than its scales");
    plan.index = grouping.index();
    plan.groups = grouping.groupCount() / tensor.rows;
    plan.scale = tensor.scale->values;
    plan.zero = tensor.zero->values;
    return {};
  }
  const auto length = tileColumnsOf(grouping);
  if (!length) return fail("its groups (" + grouping.describe() + ") do not run along the input");
  if (*length < tensor.columns && tensor.columns % *length != 0)
    return fail("the last group is shorter: " + text::number(*length) + " does not divide " + text::number(tensor.columns));
  if (*length == 1) return fail("every column has its own scale; GPTQ groups span several inputs");
  plan.groups = tensor.columns / *length;
  for (std::uint64_t column = 0; column < tensor.columns; ++column)
    plan.index.push_back(static_cast<std::uint32_t>(column / *length));
  const auto scale = numbersOn(*tensor.scale, GroupKind::Columns, *length),
             zero = numbersOn(*tensor.zero, GroupKind::Columns, *length);
  if (!scale || !zero) return fail("its zero points are grouped otherwise than its scales");
  plan.scale = *scale;
  plan.zero = *zero;
  return {};
}

std::uint32_t wordAt(std::span<const std::byte> bytes, std::uint64_t word) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + 4 * word, 4);
  return value;
}

}  // namespace

bool Plan::sorted() const {
  const std::uint64_t length = columns / groups;
  for (std::uint64_t column = 0; column < columns; ++column)
    if (index[column] != column / length) return false;
  return columns % groups == 0;
}

std::int64_t Plan::configGroup() const {
  return groups == 1 ? -1 : static_cast<std::int64_t>(columns / groups);
}

bool isSymmetric(const Plan& plan) {
  const auto middle = static_cast<float>(1 << (plan.bits - 1));
  return std::all_of(plan.zero.begin(), plan.zero.end(), [middle](float zero) { return zero == middle; });
}

Result<Plan> planFor(const QuantizedTensor& tensor, Version version) {
  if (auto status = checkRule(tensor); !status) return fail(status.error());
  Plan plan;
  plan.bits = tensor.width.uniform;
  plan.rows = tensor.rows;
  plan.columns = tensor.columns;
  if (auto status = placeGroups(tensor, plan); !status) return fail(status.error());
  const auto largest = static_cast<float>((1 << plan.bits) - 1);
  if (!integersWithin(plan.zero, 0, largest)) return fail("its zero points are not whole codes");
  if (version == Version::V1 && !integersWithin(plan.zero, 1, largest))
    return fail("a zero point is 0, which version 1 cannot store (it stores zero - 1); gptq_v2 can");
  if (!exactIn(FloatType::F16, plan.scale)) return fail("its scales are not exact in float16 (use params=f16)");
  return plan;
}

std::shared_ptr<const Layout> weightLayout(std::uint64_t rows, std::uint64_t columns, int bits) {
  return std::make_shared<WeightLayout>(rows, columns, bits);
}

std::vector<std::byte> packZeros(const std::vector<float>& zeros, std::uint64_t rows, std::uint64_t groups, int bits,
                                 Version version) {
  const std::uint64_t words = rows * static_cast<std::uint64_t>(bits) / 32;
  std::vector<std::byte> bytes(groups * words * 4);
  for (std::uint64_t group = 0; group < groups; ++group) {
    std::vector<std::uint64_t> line(words + 1);
    for (std::uint64_t row = 0; row < rows; ++row) {
      const auto stored = static_cast<std::uint64_t>(zeros[row * groups + group]) - (version == Version::V1 ? 1u : 0u);
      const Field field = fieldOf(row, bits);
      line[field.word] |= stored << field.shift & 0xFFFFFFFFu;
      if (field.high != 0) line[field.word + 1] |= stored >> field.low;
    }
    for (std::uint64_t word = 0; word < words; ++word) {
      const auto value = static_cast<std::uint32_t>(line[word]);
      std::memcpy(bytes.data() + (group * words + word) * 4, &value, 4);
    }
  }
  return bytes;
}

std::vector<float> unpackZeros(std::span<const std::byte> words, std::uint64_t rows, std::uint64_t groups, int bits,
                               Version version) {
  const std::uint64_t perGroup = rows * static_cast<std::uint64_t>(bits) / 32;
  const std::uint32_t mask = (1u << bits) - 1;
  // GPTQModel takes the 1s off whole words of 2, 4 or 8 bit fields, with borrow: adding them to the word brings the zeros back.
  const std::uint32_t ones = version == Version::V2 || bits == 3 ? 0u : 0xFFFFFFFFu / mask;
  std::vector<float> zeros(rows * groups);
  for (std::uint64_t group = 0; group < groups; ++group) {
    for (std::uint64_t row = 0; row < rows; ++row) {
      const Field field = fieldOf(row, bits);
      std::uint32_t stored = (wordAt(words, group * perGroup + field.word) + ones) >> field.shift;
      if (field.high != 0) stored |= wordAt(words, group * perGroup + field.word + 1) << field.low;
      if (bits == 3 && version == Version::V1) ++stored;
      zeros[row * groups + group] = static_cast<float>(stored & mask);
    }
  }
  return zeros;
}

}  // namespace nibble::formats::gptq
