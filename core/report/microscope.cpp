// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/microscope.h"

#include "core/base/text.h"
#include "core/quant/decode.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <optional>
#include <span>

namespace nibble {
namespace {

constexpr std::int64_t mostCodes = std::int64_t{1} << 17;  // that a what-if looks at

Grouping shownGrouping(const QuantizedTensor& tensor) {
  if (tensor.scale) return tensor.scale->grouping;
  if (tensor.levels.grouping) return *tensor.levels.grouping;
  return Grouping::tensor(tensor.rows, tensor.columns);
}

// A row of `count` values under one value rule, one parameter each, so that the one decoder says what codes would stand for.
QuantizedTensor bareRow(std::uint64_t count, ValueRule rule, const Arithmetic& arithmetic) {
  QuantizedTensor row;
  row.rows = 1;
  row.columns = count;
  row.rule = rule;
  row.arithmetic = arithmetic;
  row.width.uniform = 32;
  return row;
}

std::optional<Plane> onePerWeight(const std::optional<Plane>& plane, std::span<const MicroscopeMember> members) {
  if (!plane) return std::nullopt;
  Plane gathered{Grouping::flat(1, members.size(), 1), {}, Stored::Implied, nullptr};
  for (const MicroscopeMember& member : members)
    gathered.values.push_back(plane->values[plane->grouping.groupOf(member.storedIndex)]);
  return gathered;
}

// What the members' codes stand for before order, channel scale and rotation are undone. A table becomes one level per weight.
std::vector<float> storedLevels(const QuantizedTensor& tensor, std::span<const MicroscopeMember> members) {
  QuantizedTensor row = bareRow(members.size(), tensor.rule, tensor.arithmetic);
  row.scale = onePerWeight(tensor.scale, members);
  row.zero = onePerWeight(tensor.zero, members);
  row.levels.kind = tensor.levels.kind;
  row.levels.type = tensor.levels.type;
  if (!tensor.signs.empty()) row.signs.resize((members.size() + 7) / 8);
  const bool isTable = tensor.levels.kind == Levels::Kind::Table;
  std::vector<std::int32_t> codes;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::uint64_t stored = members[i].storedIndex;
    codes.push_back(isTable ? 0 : static_cast<std::int32_t>(members[i].code));
    if (isTable) {
      const Levels& levels = tensor.levels;
      const std::uint64_t entry = (levels.grouping ? levels.grouping->groupOf(stored) : 0) * levels.levelCount +
                                  static_cast<std::uint64_t>(members[i].code);
      row.levels.table.push_back(levels.table[entry * levels.dimension + stored % levels.dimension]);
    }
    if (!tensor.signs.empty() && (tensor.signs[stored / 8] >> (stored % 8) & 1) != 0)
      row.signs[i / 8] = static_cast<std::uint8_t>(row.signs[i / 8] | 1u << (i % 8));
  }
  if (isTable) {
    row.levels.levelCount = 1;
    row.levels.grouping = Grouping::flat(1, members.size(), 1);
  }
  row.codes = Codes(std::move(codes));
  return decodeAll(row);
}

// Orthonormal Walsh-Hadamard transform, its own inverse.
void rotate(std::span<double> block) {
  for (std::size_t half = 1; half < block.size(); half *= 2) {
    for (std::size_t base = 0; base < block.size(); base += 2 * half) {
      for (std::size_t i = base; i < base + half; ++i) {
        const double sum = block[i] + block[i + half], difference = block[i] - block[i + half];
        block[i] = sum;
        block[i + half] = difference;
      }
    }
  }
  for (double& value : block) value /= std::sqrt(static_cast<double>(block.size()));
}

// A model's row in stored order, scaled and rotated as the codes see it.
std::vector<float> targetsOf(const QuantizedTensor& tensor, std::span<const float> weights) {
  std::vector<double> row(weights.size());
  for (std::size_t i = 0; i < row.size(); ++i) {
    row[i] = weights[tensor.order.empty() ? i : tensor.order[i]];
    if (!tensor.channelScale.empty()) row[i] *= tensor.channelScale[i];
    if (tensor.rotation) row[i] *= tensor.rotation->signs[i];
  }
  if (tensor.rotation)
    for (std::size_t begin = 0; begin < row.size(); begin += tensor.rotation->block)
      rotate(std::span(row).subspan(begin, tensor.rotation->block));
  return {row.begin(), row.end()};
}

// Weight and value of each member; whole rows are read only where only rows can be decoded.
Status fillValues(const Tensor* original, const QuantizedTensor& tensor, std::vector<MicroscopeMember>& members) {
  const bool byRow = decodesByRow(tensor);
  std::vector<float> decoded(byRow ? tensor.columns : 0), weights(decoded.size()), targets;
  std::uint64_t rowHeld = std::numeric_limits<std::uint64_t>::max();
  for (MicroscopeMember& member : members) {
    const std::uint64_t first = member.row * tensor.columns;
    if (byRow && rowHeld != member.row) {
      decode(tensor, first, decoded);
      weights = decoded;
      if (original != nullptr) NIBBLE_TRY(original->read(first, weights));
      targets = targetsOf(tensor, weights);
      rowHeld = member.row;
    }
    if (byRow) {
      member.decoded = decoded[member.column];
      member.weight = weights[member.column];
      member.target = targets[member.storedIndex - first];
    } else {
      decode(tensor, member.flatIndex, {&member.decoded, 1});
      member.weight = member.decoded;
      if (original != nullptr) NIBBLE_TRY(original->read(member.flatIndex, {&member.weight, 1}));
      member.target = member.weight;
    }
    member.error = member.weight - member.decoded;
  }
  const std::vector<float> levels = storedLevels(tensor, members);
  for (std::size_t i = 0; i < members.size(); ++i) members[i].level = levels[i];
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

// Number of a weight among its group's members, which ascend.
std::uint64_t rankOf(const Grouping& grouping, std::uint64_t group, std::uint64_t stored) {
  std::uint64_t low = 0, high = grouping.memberCount(group) - 1;
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (grouping.member(group, middle) < stored)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

void chooseMembers(const QuantizedTensor& tensor, std::uint64_t stored, std::size_t mostMembers, Microscope& scope) {
  const Grouping grouping = shownGrouping(tensor);
  scope.grouping = grouping.describe();
  scope.group = grouping.groupOf(stored);
  scope.groupSize = grouping.memberCount(scope.group);
  const std::uint64_t rank = rankOf(grouping, scope.group, stored);
  const std::uint64_t shown = std::min<std::uint64_t>(scope.groupSize, std::max<std::size_t>(mostMembers, 1));
  const std::uint64_t first = std::min(rank - std::min(rank, shown / 2), scope.groupSize - shown);
  for (std::uint64_t i = first; i < first + shown; ++i)
    scope.members.push_back(memberAt(tensor, grouping.member(scope.group, i)));
  scope.selected = rank - first;
}

void describeCodes(const QuantizedTensor& tensor, std::uint64_t stored, Microscope& scope) {
  const Levels& levels = tensor.levels;
  scope.width = tensor.width.at(stored);
  scope.levels = levelsAt(tensor, stored);
  if (!tensor.codes.isSigned()) scope.highestCode = static_cast<std::int64_t>(codeCountAt(tensor, stored)) - 1;
  for (const MicroscopeMember& member : scope.members) {
    scope.lowestCode = std::min(scope.lowestCode, member.code);
    scope.highestCode = std::max(scope.highestCode, member.code);
  }
  if (levels.kind == Levels::Kind::Table && levels.dimension == 1) {
    const std::uint64_t table = levels.grouping ? levels.grouping->groupOf(stored) : 0;
    const auto first = levels.table.begin() + static_cast<std::ptrdiff_t>(table * levels.levelCount);
    scope.table.assign(first, first + levels.levelCount);
  }
}

std::string whatIfRefusalOf(const QuantizedTensor& tensor, const Microscope& scope) {
  if (tensor.levels.dimension != 1) return "one code stands for " + text::number(std::uint64_t{tensor.levels.dimension}) + " weights";
  if (tensor.levels.kind == Levels::Kind::Float) return "codes are floats: nothing is shared";
  if (!tensor.signs.empty()) return "signs are stored apart from the codes";
  if (!scope.hasScale && !scope.hasZero) return "there is no scale and no zero to change";
  if (scope.highestCode - scope.lowestCode >= mostCodes) return "the codes leave their width too far";
  return {};
}

void addError(float target, float level, double& errorSquared, float& maxError) {
  const float error = target - level;
  errorSquared += static_cast<double>(error) * error;
  maxError = std::max(maxError, std::fabs(error));
}

struct LegalLevel {
  float value = 0;
  std::int64_t code = 0;
};

// Every legal code under these parameters, ascending by value, then by code.
std::vector<LegalLevel> legalLevels(const Microscope& scope, float scale, float zero) {
  const auto count = static_cast<std::uint64_t>(scope.highestCode - scope.lowestCode + 1);
  QuantizedTensor row = bareRow(count, scope.rule, scope.arithmetic);
  if (scope.hasScale) row.scale = Plane::implied(Grouping::tensor(1, count), scale);
  if (scope.hasZero) row.zero = Plane::implied(Grouping::tensor(1, count), zero);
  if (!scope.table.empty()) row.levels = Levels::fixedTable(scope.table);
  std::vector<std::int32_t> codes;
  for (std::int64_t code = scope.lowestCode; code <= scope.highestCode; ++code) codes.push_back(static_cast<std::int32_t>(code));
  row.codes = Codes(std::move(codes));
  const std::vector<float> values = decodeAll(row);
  std::vector<LegalLevel> levels;
  for (std::uint64_t i = 0; i < count; ++i)
    if (std::isfinite(values[i])) levels.push_back({values[i], scope.lowestCode + static_cast<std::int64_t>(i)});
  std::sort(levels.begin(), levels.end(), [](const LegalLevel& a, const LegalLevel& b) {
    return a.value != b.value ? a.value < b.value : a.code < b.code;
  });
  return levels;
}

LegalLevel nearestOf(const std::vector<LegalLevel>& levels, float target) {
  const auto below = [](const LegalLevel& level, float value) { return level.value < value; };
  const auto above = std::lower_bound(levels.begin(), levels.end(), target, below);
  if (above == levels.begin()) return *above;
  // The first of equal values below, as lower_bound gives it above.
  const auto lower = std::lower_bound(levels.begin(), above, (above - 1)->value, below);
  if (above == levels.end()) return *lower;
  const double toLower = static_cast<double>(target) - lower->value, toAbove = static_cast<double>(above->value) - target;
  return toLower <= toAbove ? *lower : *above;
}

std::string placeText(std::uint64_t row, std::uint64_t column) {
  return "[" + text::number(row) + ", " + text::number(column) + "]";
}

}  // namespace

Result<Microscope> microscope(const Tensor* original, const QuantizedTensor& quantized, std::uint64_t row, std::uint64_t column,
                              std::size_t mostMembers) try {
  const std::string name = original != nullptr ? original->name() : quantized.scheme;
  if (row >= quantized.rows || column >= quantized.columns)
    return fail(name + ": there is no weight " + placeText(row, column) + " in " + text::number(quantized.rows) + " rows and " +
                text::number(quantized.columns) + " columns");
  if (original != nullptr && (original->rows() != quantized.rows || original->columns() != quantized.columns))
    return fail(name + ": the quantized tensor has another shape than the weights");
  std::uint64_t storedColumn = column;
  if (!quantized.order.empty())
    storedColumn = static_cast<std::uint64_t>(std::find(quantized.order.begin(), quantized.order.end(), column) - quantized.order.begin());
  const std::uint64_t stored = row * quantized.columns + storedColumn;
  Microscope scope;
  scope.row = row;
  scope.column = column;
  chooseMembers(quantized, stored, mostMembers, scope);
  NIBBLE_TRY(fillValues(original, quantized, scope.members));
  scope.rule = quantized.rule;
  scope.arithmetic = quantized.arithmetic;
  scope.hasScale = quantized.scale.has_value();
  scope.hasZero = quantized.zero.has_value() && quantized.rule != ValueRule::Scale;
  if (scope.hasScale) scope.scale = quantized.scale->values[scope.group];
  if (scope.hasZero) scope.zero = quantized.zero->values[quantized.zero->grouping.groupOf(stored)];
  describeCodes(quantized, stored, scope);
  scope.whatIfRefusal = whatIfRefusalOf(quantized, scope);
  for (const MicroscopeMember& member : scope.members) addError(member.target, member.level, scope.errorSquared, scope.maxError);
  return scope;
} catch (const std::bad_alloc&) {
  return fail("not enough memory to look at " + placeText(row, column));
}

PackedView::PackedView(std::shared_ptr<const QuantizedTensor> tensor, std::shared_ptr<const Layout> layout)
    : m_tensor(std::move(tensor)), m_layout(std::move(layout)) {}

PackedView::PackedView(std::shared_ptr<const QuantizedTensor> tensor) : PackedView(tensor, tensor->layout) {}

std::uint64_t PackedView::word(std::uint64_t index) const { return wordAt(*m_layout, m_tensor->codes, index); }

std::string PackedView::hex(std::uint64_t value) const {
  std::string digits(static_cast<std::size_t>(wordBits() + 3) / 4, '0');
  for (std::size_t i = digits.size(); i-- > 0; value >>= 4) digits[i] = "0123456789ABCDEF"[value & 15];
  return digits;
}

std::vector<BitPlace> PackedView::places(std::uint64_t codeIndex) const {
  const auto size = static_cast<std::uint64_t>(wordBits());
  std::vector<BitPlace> places;
  for (const BitPiece& piece : m_layout->locate(codeIndex)) {
    for (std::uint64_t done = 0; done < piece.width;) {
      const std::uint64_t bit = piece.bit + done, width = std::min(piece.width - done, size - bit % size);
      places.push_back({bit / size, static_cast<int>(bit % size), static_cast<int>(width), static_cast<int>(piece.codeShift + done),
                        word(bit / size)});
      done += width;
    }
  }
  std::sort(places.begin(), places.end(), [](const BitPlace& a, const BitPlace& b) { return a.codeShift < b.codeShift; });
  return places;
}

GroupWhatIf whatIf(const Microscope& microscope, double scale, double zero) {
  GroupWhatIf answer;
  std::vector<LegalLevel> levels;
  if (microscope.whatIfRefusal.empty()) levels = legalLevels(microscope, static_cast<float>(scale), static_cast<float>(zero));
  for (const MicroscopeMember& member : microscope.members) {
    const LegalLevel best = levels.empty() ? LegalLevel{member.level, member.code} : nearestOf(levels, member.target);
    answer.codes.push_back(best.code);
    answer.levels.push_back(best.value);
    addError(member.target, best.value, answer.errorSquared, answer.maxError);
  }
  return answer;
}

}  // namespace nibble
