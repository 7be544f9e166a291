// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/awq/plan.h"

#include "core/base/contracts.h"
#include "core/base/text.h"
#include "core/formats/tools.h"

#include <array>
#include <cstring>

namespace nibble::formats::awq {
namespace {

constexpr std::uint64_t perWord = 8;
// Nibble of a word that holds column 8c + i.
constexpr std::array<std::uint64_t, perWord> nibbleOf = {0, 4, 1, 5, 2, 6, 3, 7};

class WeightLayout final : public Layout {
 public:
  WeightLayout(std::uint64_t rows, std::uint64_t columns) : m_rows(rows), m_columns(columns) {}
  [[nodiscard]] std::string name() const override { return "awq gemm, words along the output"; }
  [[nodiscard]] int wordBits() const override { return 32; }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return m_rows * m_columns / 2; }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    const std::uint64_t row = index / m_columns, column = index % m_columns;
    return {{(column * (m_rows / perWord) + row / perWord) * 32 + nibbleOf[row % perWord] * 4, 4, 0}};
  }
  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    const std::uint64_t column = word / (m_rows / perWord), first = word % (m_rows / perWord) * perWord;
    std::vector<std::uint64_t> codes;
    for (std::uint64_t row = first; row < first + perWord; ++row)
      if (row * m_columns + column < codeCount) codes.push_back(row * m_columns + column);
    return codes;
  }
  // In tiles of columns, so that the rows written to stay in the cache.
  [[nodiscard]] Codes unpack(std::span<const std::byte> bytes, std::uint64_t codeCount) const override {
    NIBBLE_EXPECTS(bytes.size() == sizeBytes() && codeCount == m_rows * m_columns);
    constexpr std::uint64_t tile = 64;
    std::vector<std::uint8_t> codes(codeCount);
    const std::uint64_t across = m_rows / perWord;
    for (std::uint64_t begin = 0; begin < m_columns; begin += tile) {
      for (std::uint64_t word = 0; word < across; ++word) {
        for (std::uint64_t column = begin; column < std::min(begin + tile, m_columns); ++column) {
          std::uint32_t value = 0;
          std::memcpy(&value, bytes.data() + (column * across + word) * 4, 4);
          for (std::uint64_t i = 0; i < perWord; ++i)
            codes[(word * perWord + i) * m_columns + column] = static_cast<std::uint8_t>(value >> (4 * nibbleOf[i]) & 15u);
        }
      }
    }
    return Codes(std::move(codes));
  }

 private:
  std::uint64_t m_rows, m_columns;
};

Status checkRule(const QuantizedTensor& tensor) {
  // The library divides the layer before (a norm, or a linear) by the scales and forgets them: another tensor changes.
  if (!tensor.channelScale.empty())
    return fail(
        "its input channels are scaled, and an AWQ file has no place for the scales: they belong into the layer before, which "
        "is another tensor; quantize without them (a uniform scheme), or write an interchange file");
  if (const auto reason = plainRefusal(tensor)) return fail(*reason);
  if (tensor.shape.size() != 2) return fail("AWQ layers are matrices; this is " + toText(tensor.shape));
  if (tensor.levels.kind != Levels::Kind::Identity) return fail("its levels are not evenly spaced");
  if (tensor.width.uniform != 4) return fail("AWQ stores 4 bits, not " + std::to_string(tensor.width.uniform));
  if (tensor.rule != ValueRule::ScaleMinusZero || !tensor.scale || !tensor.zero)
    return fail("AWQ subtracts an integer zero point before scaling; this does not");
  if (!(tensor.arithmetic == Arithmetic{})) return fail("its values are rounded at each step; AWQ files hold exact products");
  if (tensor.rows % perWord != 0) return fail("outputs must be a multiple of 8; this is " + toText(tensor.shape));
  return {};
}

Status placeGroups(const QuantizedTensor& tensor, Plan& plan) {
  const Grouping& grouping = tensor.scale->grouping;
  if (grouping.kind() == Grouping::Kind::Columns) return fail("its groups are not runs of inputs in order; AWQ has no g_idx");
  const auto length = tileColumnsOf(grouping);
  if (!length) return fail("its groups (" + grouping.describe() + ") do not run along the input");
  if (tensor.columns % *length != 0)
    return fail("the last group is shorter: " + text::number(*length) + " does not divide " + text::number(tensor.columns));
  if (*length == 1) return fail("every column has its own scale; AWQ groups span several inputs");
  plan.groups = tensor.columns / *length;
  const auto scale = numbersOn(*tensor.scale, GroupKind::Columns, *length),
             zero = numbersOn(*tensor.zero, GroupKind::Columns, *length);
  if (!scale || !zero) return fail("its zero points are grouped otherwise than its scales");
  plan.scale = *scale;
  plan.zero = *zero;
  return {};
}

}  // namespace

Result<Plan> planFor(const QuantizedTensor& tensor) {
  if (auto status = checkRule(tensor); !status) return fail(status.error());
  Plan plan;
  plan.rows = tensor.rows;
  plan.columns = tensor.columns;
  if (auto status = placeGroups(tensor, plan); !status) return fail(status.error());
  if (!integersWithin(plan.zero, 0, 15)) return fail("its zero points are not whole codes");
  if (!exactIn(FloatType::F16, plan.scale)) return fail("its scales are not exact in float16 (use params=f16)");
  return plan;
}

std::shared_ptr<const Layout> weightLayout(std::uint64_t rows, std::uint64_t columns) {
  return std::make_shared<WeightLayout>(rows, columns);
}

std::vector<std::byte> packZeros(const std::vector<float>& zeros, std::uint64_t rows, std::uint64_t groups) {
  std::vector<std::uint8_t> codes(zeros.begin(), zeros.end());
  return weightLayout(rows, groups)->pack(Codes(std::move(codes)));
}

std::vector<float> unpackZeros(std::span<const std::byte> words, std::uint64_t rows, std::uint64_t groups) {
  const Codes codes = weightLayout(rows, groups)->unpack(words, rows * groups);
  const auto& bytes = *codes.as<std::uint8_t>();
  return {bytes.begin(), bytes.end()};
}

}  // namespace nibble::formats::awq
