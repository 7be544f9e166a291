// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/microscope.h"

#include "core/base/text.h"
#include "core/quant/decode.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <optional>
#include <span>

namespace nibble {
namespace {

// Stored places of a group's members by their number, without a list of all: a group may be a whole tensor.
class GroupPlaces {
 public:
  GroupPlaces(const Grouping& grouping, const QuantizedTensor& tensor, std::uint64_t stored) : m_columns(tensor.columns) {
    const std::uint64_t row = stored / m_columns, column = stored % m_columns;
    switch (grouping.kind()) {
      case Grouping::Kind::Blocks: {
        const std::uint64_t top = row / grouping.tileRows() * grouping.tileRows();
        const std::uint64_t left = column / grouping.tileColumns() * grouping.tileColumns();
        m_run = std::min(grouping.tileColumns(), m_columns - left);
        m_count = m_run * std::min(grouping.tileRows(), tensor.rows - top);
        m_first = top * m_columns + left;
        m_position = (row - top) * m_run + (column - left);
        break;
      }
      case Grouping::Kind::Flat:
        m_first = stored / grouping.length() * grouping.length();
        m_count = m_run = std::min(grouping.length(), tensor.weightCount() - m_first);
        m_position = stored - m_first;
        break;
      case Grouping::Kind::Modulo:
        m_run = 1;
        m_columns = grouping.length();
        m_first = stored % m_columns;
        m_count = (tensor.weightCount() - m_first + m_columns - 1) / m_columns;
        m_position = stored / m_columns;
        break;
      case Grouping::Kind::Columns:
        for (std::uint64_t c = 0; c < m_columns; ++c)
          if (grouping.index()[c] == grouping.index()[column]) m_listed.push_back(row * m_columns + c);
        m_count = m_listed.size();
        m_position = static_cast<std::uint64_t>(std::find(m_listed.begin(), m_listed.end(), stored) - m_listed.begin());
        break;
    }
  }
  [[nodiscard]] std::uint64_t count() const { return m_count; }
  [[nodiscard]] std::uint64_t position() const { return m_position; }  // of the weight asked for
  [[nodiscard]] std::uint64_t at(std::uint64_t k) const {
    return m_listed.empty() ? m_first + k / m_run * m_columns + k % m_run : m_listed[k];
  }

 private:
  std::uint64_t m_columns, m_first = 0, m_run = 1, m_count = 0, m_position = 0;  // runs of m_run, m_columns apart
  std::vector<std::uint64_t> m_listed;
};

Grouping groupingOf(const QuantizedTensor& tensor) {
  if (tensor.scale) return tensor.scale->grouping;
  if (tensor.levels.grouping) return *tensor.levels.grouping;
  return Grouping::tensor(tensor.rows, tensor.columns);
}

// One row of the model beside what the tensor makes of it; `targets` in stored order.
struct RowValues {
  std::vector<float> weights, decoded, targets;
};

// Orthonormal Walsh-Hadamard transform of one block in double, its own inverse.
void rotate(std::span<double> block) {
  for (std::size_t half = 1; half < block.size(); half *= 2) {
    for (std::size_t i = 0; i < block.size(); ++i) {
      if ((i & half) != 0) continue;
      const double sum = block[i] + block[i + half], difference = block[i] - block[i + half];
      block[i] = sum;
      block[i + half] = difference;
    }
  }
  for (double& value : block) value /= std::sqrt(static_cast<double>(block.size()));
}

// What the codes of a row stand for as well as they can: decode's undoing, undone.
std::vector<float> targetsOf(const QuantizedTensor& tensor, std::span<const float> weights) {
  std::vector<double> row(weights.size());
  for (std::size_t i = 0; i < row.size(); ++i) {
    row[i] = weights[tensor.order.empty() ? i : tensor.order[i]];
    if (!tensor.channelScale.empty())
      row[i] = tensor.channelScaleMultiplies ? row[i] / tensor.channelScale[i] : row[i] * tensor.channelScale[i];
    if (tensor.rotation) row[i] *= tensor.rotation->signs[i];
  }
  if (tensor.rotation)
    for (std::size_t begin = 0; begin < row.size(); begin += tensor.rotation->block)
      rotate(std::span(row).subspan(begin, tensor.rotation->block));
  return {row.begin(), row.end()};
}

Result<RowValues> readRow(const Tensor* original, const QuantizedTensor& tensor, std::uint64_t row) {
  RowValues values;
  values.decoded.resize(tensor.columns);
  decode(tensor, row * tensor.columns, values.decoded);
  values.weights = values.decoded;
  if (original != nullptr) NIBBLE_TRY(original->read(row * tensor.columns, values.weights));
  values.targets = targetsOf(tensor, values.weights);
  return values;
}

// Fills in weight, decoded value and target. Where single weights decode by themselves nothing else is touched; else each row
// that has a member is decoded once.
Status fillValues(const Tensor* original, const QuantizedTensor& tensor, std::vector<MicroscopeMember>& members) {
  RowValues values;
  std::optional<std::uint64_t> current;
  for (MicroscopeMember& member : members) {
    if (!decodesByRow(tensor)) {
      member.weight = member.decoded = storedValue(tensor, member.storedIndex);
      if (original != nullptr) NIBBLE_TRY(original->read(member.flatIndex, std::span(&member.weight, 1)));
      member.target = member.weight;
    } else {
      if (current != member.row) {
        auto read = readRow(original, tensor, member.row);
        if (!read) return fail(read.error());
        values = *std::move(read);
        current = member.row;
      }
      member.weight = values.weights[member.column];
      member.decoded = values.decoded[member.column];
      member.target = values.targets[member.storedIndex % tensor.columns];
    }
    member.error = member.weight - member.decoded;
    member.level = storedValue(tensor, member.storedIndex);
  }
  return {};
}

MicroscopeMember memberAt(const QuantizedTensor& tensor, std::uint64_t stored) {
  MicroscopeMember member;
  member.storedIndex = stored;
  member.codeIndex = stored / tensor.levels.dimension;
  member.code = tensor.codes.at(member.codeIndex);
  member.row = stored / tensor.columns;
  const std::uint64_t column = stored % tensor.columns;
  member.column = tensor.order.empty() ? column : tensor.order[column];
  member.flatIndex = member.row * tensor.columns + member.column;
  return member;
}

constexpr std::int64_t mostWhatIfCodes = 1 << 17;

void describeLevels(const QuantizedTensor& tensor, std::uint64_t stored, Microscope& result) {
  const Levels& levels = tensor.levels;
  result.levels = levelsAt(tensor, stored);
  result.width = tensor.width.at(stored);
  result.highestCode = (std::int64_t{1} << std::min(result.width, 32)) - 1;
  if (levels.kind == Levels::Kind::Table) {
    result.highestCode = static_cast<std::int64_t>(levels.levelCount) - 1;
    const std::uint64_t begin = (levels.grouping ? levels.grouping->groupOf(stored) : 0) * levels.levelCount * levels.dimension;
    if (levels.dimension == 1) {
      const auto first = levels.table.begin() + static_cast<std::ptrdiff_t>(begin);
      result.table.assign(first, first + levels.levelCount);
    }
  }
  for (const MicroscopeMember& member : result.members) {
    result.lowestCode = std::min(result.lowestCode, member.code);
    result.highestCode = std::max(result.highestCode, member.code);
  }
  if (levels.dimension != 1) {
    result.whatIfRefusal = "one code stands for " + text::number(std::uint64_t{levels.dimension}) + " weights";
  } else if (levels.kind == Levels::Kind::Float) {
    result.whatIfRefusal = "the codes are the bits of a float";
  } else if (!tensor.signs.empty()) {
    result.whatIfRefusal = "signs are stored apart from the codes";
  } else if (!result.hasScale && !result.hasZero) {
    result.whatIfRefusal = "this scheme has no scale and no zero";
  } else if (result.highestCode - result.lowestCode >= mostWhatIfCodes) {
    result.whatIfRefusal = "the codes leave their width too far";
  }
}

void addError(double& errorSquared, float& maxError, float target, float level) {
  const float error = target - level;
  errorSquared += static_cast<double>(error) * error;
  maxError = std::max(maxError, std::fabs(error));
}

std::string placeText(std::uint64_t row, std::uint64_t column) {
  return "[" + text::number(row) + ", " + text::number(column) + "]";
}

// What a legal code stands for, ascending by value; equal values by code.
std::vector<std::pair<float, std::int64_t>> valuesOfCodes(const Microscope& microscope, float scale, float zero) {
  std::vector<std::pair<float, std::int64_t>> values;
  for (std::int64_t code = microscope.lowestCode; code <= microscope.highestCode; ++code) {
    const float level = microscope.table.empty() ? static_cast<float>(code) : microscope.table[static_cast<std::size_t>(code)];
    const float value = applyRule(microscope.rule, microscope.arithmetic, microscope.hasScale, level, scale, zero);
    if (std::isfinite(value)) values.emplace_back(value, code);
  }
  std::sort(values.begin(), values.end());
  return values;
}

}  // namespace

Result<Microscope> microscope(const Tensor* original, const QuantizedTensor& quantized, std::uint64_t row, std::uint64_t column,
                              std::size_t mostMembers) try {
  const std::string& name = original != nullptr ? original->name() : quantized.scheme;
  if (row >= quantized.rows || column >= quantized.columns)
    return fail(name + ": no weight " + placeText(row, column) + " in a matrix of " +
                toText(Shape{quantized.rows, quantized.columns}));
  if (original != nullptr && (original->rows() != quantized.rows || original->columns() != quantized.columns))
    return fail(name + ": " + toText(original->shape()) + " is not the shape of the quantized tensor");
  std::uint64_t storedColumn = column;
  if (!quantized.order.empty())
    storedColumn =
        static_cast<std::uint64_t>(std::find(quantized.order.begin(), quantized.order.end(), column) - quantized.order.begin());
  const std::uint64_t stored = row * quantized.columns + storedColumn;
  const Grouping grouping = groupingOf(quantized);
  const GroupPlaces places(grouping, quantized, stored);
  Microscope result;
  result.row = row;
  result.column = column;
  result.grouping = grouping.describe();
  result.group = grouping.groupOf(stored);
  result.groupSize = places.count();
  const std::uint64_t shown = std::min<std::uint64_t>(places.count(), std::max<std::size_t>(mostMembers, 1));
  const std::uint64_t before = std::min(places.position(), shown / 2);
  const std::uint64_t first = std::min(places.position() - before, places.count() - shown);
  for (std::uint64_t k = first; k < first + shown; ++k) result.members.push_back(memberAt(quantized, places.at(k)));
  result.selected = places.position() - first;
  NIBBLE_TRY(fillValues(original, quantized, result.members));
  result.rule = quantized.rule;
  result.arithmetic = quantized.arithmetic;
  result.hasScale = quantized.scale.has_value();
  result.hasZero = quantized.zero.has_value() && quantized.rule != ValueRule::Scale;
  if (quantized.scale) result.scale = quantized.scale->values[quantized.scale->grouping.groupOf(stored)];
  if (result.hasZero) result.zero = quantized.zero->values[quantized.zero->grouping.groupOf(stored)];
  describeLevels(quantized, stored, result);
  for (const MicroscopeMember& member : result.members)
    addError(result.errorSquared, result.maxError, member.target, member.level);
  return result;
} catch (const std::bad_alloc&) {
  return fail("not enough memory to look at " + placeText(row, column));
}

PackedView::PackedView(std::shared_ptr<const QuantizedTensor> tensor, std::shared_ptr<const Layout> layout)
    : m_tensor(std::move(tensor)), m_layout(std::move(layout)) {}

PackedView::PackedView(std::shared_ptr<const QuantizedTensor> tensor)
    : m_tensor(std::move(tensor)), m_layout(m_tensor->layout) {}

std::uint64_t PackedView::word(std::uint64_t index) const {
  const auto size = static_cast<std::uint64_t>(wordBits()) / 8;
  std::uint64_t value = 0;
  for (std::uint64_t i = 0; i < size && index * size + i < m_bytes.size(); ++i)
    value |= std::to_integer<std::uint64_t>(m_bytes[index * size + i]) << (8 * i);
  return value;
}

std::string PackedView::hex(std::uint64_t value) const {
  std::string digits(static_cast<std::size_t>(wordBits()) / 4, '0');
  for (std::size_t i = digits.size(); i-- > 0; value >>= 4) digits[i] = "0123456789ABCDEF"[value & 15];
  return digits;
}

Result<std::vector<BitPlace>> PackedView::places(std::uint64_t codeIndex) const try {
  std::call_once(m_packed, [&] { m_bytes = m_layout->packWhole(*m_tensor); });
  const auto size = static_cast<std::uint64_t>(wordBits());
  std::vector<BitPlace> result;
  for (const BitPiece& piece : m_layout->locate(codeIndex)) {
    for (int done = 0; done < piece.width;) {
      const std::uint64_t bit = piece.bit + static_cast<std::uint64_t>(done);
      const int width = std::min(piece.width - done, static_cast<int>(size - bit % size));
      result.push_back({bit / size, static_cast<int>(bit % size), width, piece.codeShift + done, word(bit / size)});
      done += width;
    }
  }
  return result;
} catch (const std::bad_alloc&) {
  return fail("not enough memory to pack " + text::number(m_layout->sizeBytes()) + " bytes of codes");
}

GroupWhatIf whatIf(const Microscope& microscope, double scale, double zero) {
  GroupWhatIf result;
  const auto values = microscope.whatIfRefusal.empty()
                          ? valuesOfCodes(microscope, static_cast<float>(scale), static_cast<float>(zero))
                          : std::vector<std::pair<float, std::int64_t>>{};
  for (const MicroscopeMember& member : microscope.members) {
    std::pair<float, std::int64_t> best{member.level, member.code};
    if (!values.empty()) {
      auto above =
          std::partition_point(values.begin(), values.end(), [&](const auto& value) { return value.first < member.target; });
      if (above == values.end()) --above;
      const auto below = above == values.begin() ? above : above - 1;
      const bool lower = static_cast<double>(member.target) - below->first <= static_cast<double>(above->first) - member.target;
      best = lower ? *below : *above;
    }
    result.codes.push_back(best.second);
    result.levels.push_back(best.first);
    addError(result.errorSquared, result.maxError, member.target, best.first);
  }
  return result;
}

}  // namespace nibble
