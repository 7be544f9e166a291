// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/group_stream.h"

#include <algorithm>
#include <bit>

namespace nibble {
namespace {

class GroupStreamLayout final : public Layout {
 public:
  GroupStreamLayout(std::uint64_t length, std::vector<std::uint8_t> widths) : m_length(length), m_widths(std::move(widths)) {
    m_begins.reserve(m_widths.size() + 1);
    std::uint64_t bits = 0;
    for (const std::uint8_t width : m_widths) {
      m_begins.push_back(bits);
      bits += m_length * width;
    }
    m_begins.push_back(bits);
  }

  [[nodiscard]] std::string name() const override {
    const auto [low, high] = std::minmax_element(m_widths.begin(), m_widths.end());
    if (m_widths.empty() || *low == *high) return "stream of " + std::to_string(m_widths.empty() ? 0 : *low) + " bits";
    return "stream of " + std::to_string(*low) + ".." + std::to_string(*high) + " bits by group";
  }
  [[nodiscard]] int wordBits() const override { return 8; }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return (m_begins.back() + 7) / 8; }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    const std::uint64_t group = index / m_length;
    const std::uint8_t width = m_widths[group];
    return {{m_begins[group] + index % m_length * width, width, 0}};
  }

  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    const std::uint64_t begin = word * 8, end = begin + 8;
    const auto after = std::upper_bound(m_begins.begin(), m_begins.end() - 1, begin);
    std::uint64_t index = static_cast<std::uint64_t>(after - m_begins.begin() - 1) * m_length;
    std::vector<std::uint64_t> found;
    for (; index < codeCount; ++index) {
      const BitPiece piece = *locate(index).begin();
      if (piece.bit >= end) break;
      if (piece.bit + piece.width > begin) found.push_back(index);
    }
    return found;
  }

 private:
  std::uint64_t m_length;
  std::vector<std::uint8_t> m_widths;
  std::vector<std::uint64_t> m_begins;  // bit at which each group begins; then the end
};

}  // namespace

std::shared_ptr<const Layout> groupStreamLayout(std::uint64_t length, std::vector<std::uint8_t> widths) {
  return std::make_shared<GroupStreamLayout>(length, std::move(widths));
}

int smallestGroupBits(const std::vector<std::uint8_t>& bits) { return std::min<int>(2, *std::min_element(bits.begin(), bits.end())); }

float stepOfBits(int bits) { return 1.0f / static_cast<float>((1 << bits) - 1); }

namespace {

// Steps as fractions of the range: code b - smallest stands for 1 / (2^b - 1).
QuantizedTensor stepsOf(const std::vector<std::uint8_t>& bits, float range) {
  const int smallest = smallestGroupBits(bits);
  const int width = std::bit_width(static_cast<unsigned>(*std::max_element(bits.begin(), bits.end()) - smallest));
  QuantizedTensor steps;
  steps.rows = 1;
  steps.columns = bits.size();
  steps.shape = {steps.rows, steps.columns};
  std::vector<std::uint8_t> codes(bits.size());
  for (std::size_t g = 0; g < codes.size(); ++g) codes[g] = static_cast<std::uint8_t>(bits[g] - smallest);
  std::vector<float> levels(std::size_t{1} << width);
  for (std::size_t c = 0; c < levels.size(); ++c) levels[c] = stepOfBits(smallest + static_cast<int>(c));
  steps.codes = Codes(std::move(codes));
  steps.width.uniform = static_cast<std::uint8_t>(width);
  steps.levels = Levels::fixedTable(std::move(levels));
  steps.scale = Plane::numbers(Grouping::tensor(1, steps.columns), {range}, Stored::F32);
  steps.layout = denseLayout(steps.columns, width);
  return steps;
}

}  // namespace

void describeGroupBits(QuantizedTensor& tensor, std::uint64_t length, std::vector<std::uint8_t> bits, float low, float range) {
  const Grouping groups = Grouping::flat(tensor.rows, tensor.columns, length);
  auto steps = std::make_shared<const QuantizedTensor>(stepsOf(bits, range));
  tensor.width.table = {static_cast<std::byte>(steps->width.uniform)};
  tensor.rule = ValueRule::ScalePlusBias;
  tensor.scale = Plane::quantized(groups, std::move(steps));
  tensor.zero = Plane::numbers(Grouping::tensor(tensor.rows, tensor.columns), {low}, Stored::F32);
  tensor.layout = groupStreamLayout(length, bits);
  tensor.width.grouping = groups;
  tensor.width.bits = std::move(bits);
}

}  // namespace nibble
