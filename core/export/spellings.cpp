// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/export/spellings.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble {
namespace {

using Order = std::vector<std::uint32_t>;

Order identity(std::uint64_t count) {
  Order order(count);
  std::iota(order.begin(), order.end(), 0u);
  return order;
}

bool isByRow(const Grouping& grouping) {
  return grouping.kind() == Grouping::Kind::Blocks && grouping.tileColumns() >= grouping.columns();
}
bool isByColumn(const Grouping& grouping) {
  return grouping.kind() == Grouping::Kind::Blocks && grouping.tileRows() >= grouping.rows() && grouping.tileColumns() == 1;
}

// The groups after stored column j has become what column `from[j]` was. None: such groups cannot be said so.
std::optional<Grouping> movedGroups(const Grouping& grouping, const Order& from) {
  if (isByRow(grouping) || isByColumn(grouping)) return grouping;
  const bool alongRow = grouping.kind() == Grouping::Kind::Blocks && grouping.tileRows() == 1;
  if (grouping.kind() != Grouping::Kind::Columns && !alongRow) return std::nullopt;
  Order index(from.size());
  for (std::size_t j = 0; j < from.size(); ++j)
    index[j] = alongRow ? static_cast<std::uint32_t>(from[j] / grouping.tileColumns()) : grouping.index()[from[j]];
  return Grouping::columnMap(grouping.rows(), std::move(index));
}

bool movePlane(std::optional<Plane>& plane, const Order& from) {
  if (!plane) return true;
  auto grouping = movedGroups(plane->grouping, from);
  if (!grouping) return false;
  if (isByColumn(plane->grouping)) {
    if (plane->nested) return false;
    std::vector<float> values(plane->values.size());
    for (std::size_t j = 0; j < values.size(); ++j) values[j] = plane->values[from[j]];
    plane->values = std::move(values);
  }
  plane->grouping = std::move(*grouping);
  return true;
}

bool moveWidths(WidthPlane& width, const Order& from) {
  if (width.bits.empty()) return true;
  if (!isByColumn(*width.grouping)) return false;
  std::vector<std::uint8_t> bits(from.size());
  for (std::size_t j = 0; j < from.size(); ++j) bits[j] = width.bits[from[j]];
  width.bits = std::move(bits);
  return true;
}

Codes movedCodes(const QuantizedTensor& tensor, const Order& from) {
  return tensor.codes.visit([&](const auto& codes) {
    auto moved = codes;
    for (std::uint64_t row = 0; row < tensor.rows; ++row)
      for (std::uint64_t j = 0; j < tensor.columns; ++j)
        moved[row * tensor.columns + j] = codes[row * tensor.columns + from[j]];
    return Codes(std::move(moved));
  });
}

std::optional<QuantizedTensor> rearranged(const QuantizedTensor& tensor, const Order& from) {
  if (tensor.rotation || !tensor.signs.empty() || tensor.levels.dimension != 1 || tensor.levels.grouping) return std::nullopt;
  QuantizedTensor moved = tensor;
  if (!movePlane(moved.scale, from) || !movePlane(moved.zero, from) || !moveWidths(moved.width, from)) return std::nullopt;
  moved.codes = movedCodes(tensor, from);
  moved.order = identity(tensor.columns);
  for (std::size_t j = 0; j < from.size(); ++j) moved.order[j] = tensor.order.empty() ? from[j] : tensor.order[from[j]];
  for (std::size_t j = 0; j < moved.channelScale.size(); ++j) moved.channelScale[j] = tensor.channelScale[from[j]];
  return moved;
}

// Without what says nothing: an identity, scales of 1, one width for all.
QuantizedTensor simplified(QuantizedTensor tensor) {
  if (tensor.order == identity(tensor.order.size())) tensor.order.clear();
  const auto& channels = tensor.channelScale;
  if (std::all_of(channels.begin(), channels.end(), [](float scale) { return scale == 1; })) tensor.channelScale.clear();
  const auto& bits = tensor.width.bits;
  if (!bits.empty() && std::all_of(bits.begin(), bits.end(), [&](std::uint8_t width) { return width == bits.front(); })) {
    WidthPlane width;
    width.uniform = bits.front();
    tensor.width = width;
  }
  return tensor;
}

// For each group of `groups` the number that `plane` has for its first weight.
std::vector<float> numbersFor(const Grouping& groups, const Plane& plane) {
  std::vector<float> numbers(groups.groupCount());
  std::vector<bool> known(groups.groupCount());
  for (std::uint64_t index = 0; index < groups.rows() * groups.columns(); index += groups.runLength(index)) {
    const std::uint64_t group = groups.groupOf(index);
    if (known[group]) continue;
    known[group] = true;
    numbers[group] = plane.values[plane.grouping.groupOf(index)];
  }
  return numbers;
}

void addArithmetics(std::vector<QuantizedTensor>& found, const QuantizedTensor& tensor) {
  static const Arithmetic all[] = {{FloatType::F32, FloatType::F32, false},   {FloatType::F16, FloatType::F16, false},
                                   {FloatType::F16, FloatType::F16, true},    {FloatType::F32, FloatType::F16, false},
                                   {FloatType::BF16, FloatType::BF16, false}, {FloatType::F32, FloatType::BF16, false}};
  for (const Arithmetic& arithmetic : all) {
    if (arithmetic == tensor.arithmetic || (arithmetic.fused && tensor.rule != ValueRule::ScalePlusBias)) continue;
    found.push_back(tensor);
    found.back().arithmetic = arithmetic;
  }
}

// scale * (level - zero) as scale * level + bias, the bias rounded to the type the scale has.
QuantizedTensor withBias(const QuantizedTensor& tensor) {
  QuantizedTensor changed = tensor;
  const Stored stored =
      tensor.scale->stored == Stored::F32 || tensor.scale->stored == Stored::BF16 ? tensor.scale->stored : Stored::F16;
  std::vector<float> bias =
      tensor.zero ? numbersFor(tensor.scale->grouping, *tensor.zero) : std::vector<float>(tensor.scale->values.size(), 0.0f);
  for (std::size_t g = 0; g < bias.size(); ++g) bias[g] *= -tensor.scale->values[g];
  changed.rule = ValueRule::ScalePlusBias;
  changed.zero = Plane::numbers(tensor.scale->grouping, std::move(bias), stored);
  return changed;
}

// scale * level + bias as scale * (level - zero), the zero made whole.
QuantizedTensor withZero(const QuantizedTensor& tensor) {
  QuantizedTensor changed = tensor;
  std::vector<float> zero =
      tensor.zero ? numbersFor(tensor.scale->grouping, *tensor.zero) : std::vector<float>(tensor.scale->values.size(), 0.0f);
  for (std::size_t g = 0; g < zero.size(); ++g)
    zero[g] = tensor.scale->values[g] == 0 ? 0.0f : std::nearbyint(-zero[g] / tensor.scale->values[g]);
  changed.rule = ValueRule::ScaleMinusZero;
  changed.zero = Plane::numbers(tensor.scale->grouping, std::move(zero), Stored::F32);
  return changed;
}

Plane plain(const Plane& plane, Stored stored) {
  return Plane::numbers(plane.grouping, plane.values, stored);
}

}  // namespace

std::vector<QuantizedTensor> arrangements(const QuantizedTensor& tensor) {
  std::vector<QuantizedTensor> found{tensor};
  const QuantizedTensor simple = simplified(tensor);
  found.push_back(simple);
  if (!simple.order.empty()) {
    Order from(simple.order.size());
    for (std::size_t j = 0; j < from.size(); ++j) from[simple.order[j]] = static_cast<std::uint32_t>(j);
    if (auto restored = rearranged(simple, from)) found.push_back(simplified(*std::move(restored)));
  } else if (simple.scale && simple.scale->grouping.kind() == Grouping::Kind::Columns) {
    const Order& index = simple.scale->grouping.index();
    Order from = identity(index.size());
    std::stable_sort(from.begin(), from.end(), [&](std::uint32_t a, std::uint32_t b) { return index[a] < index[b]; });
    if (!std::is_sorted(index.begin(), index.end()))
      if (auto sorted = rearranged(simple, from)) found.push_back(*std::move(sorted));
  }
  return found;
}

std::vector<QuantizedTensor> parameterTypes(const QuantizedTensor& tensor) {
  std::vector<QuantizedTensor> found{tensor};
  if (!tensor.scale) return found;
  for (const Stored stored : {Stored::F16, Stored::F32, Stored::BF16}) {
    if (tensor.scale->stored == stored && (!tensor.zero || tensor.zero->stored == stored)) continue;
    QuantizedTensor changed = tensor;
    changed.scale = plain(*tensor.scale, stored);
    // Whole zero points stay as they are; offsets are stored as the scales are.
    if (tensor.zero && tensor.rule == ValueRule::ScalePlusBias) changed.zero = plain(*tensor.zero, stored);
    found.push_back(std::move(changed));
  }
  return found;
}

std::vector<QuantizedTensor> rules(const QuantizedTensor& tensor) {
  std::vector<QuantizedTensor> found{tensor};
  addArithmetics(found, tensor);
  if (!tensor.scale || tensor.levels.kind != Levels::Kind::Identity) return found;
  if (tensor.rule != ValueRule::ScalePlusBias) {
    const QuantizedTensor changed = withBias(tensor);
    found.push_back(changed);
    addArithmetics(found, changed);
  }
  if (tensor.rule != ValueRule::ScaleMinusZero) {
    const QuantizedTensor changed = withZero(tensor);
    found.push_back(changed);
    addArithmetics(found, changed);
  }
  return found;
}

}  // namespace nibble
