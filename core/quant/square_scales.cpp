// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/square_scales.h"

#include "core/base/contracts.h"
#include "core/quant/layout.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr int levelCount = 16;
constexpr float largestSquare = 256.0f;
constexpr Arithmetic half{FloatType::F16, FloatType::F16, false};

Levels squares() {
  std::vector<float> table;
  for (int c = 1; c <= levelCount; ++c) table.push_back(static_cast<float>(c * c));
  return Levels::fixedTable(std::move(table));
}

// [1, groups]: the bits of the maxima, each standing for a 256th of itself.
std::shared_ptr<const QuantizedTensor> unitsOf(const std::vector<std::uint16_t>& maxima) {
  auto units = std::make_shared<QuantizedTensor>();
  units->rows = 1;
  units->columns = maxima.size();
  units->shape = {1, maxima.size()};
  units->codes = Codes(maxima);
  units->width.uniform = 16;
  units->levels = Levels::floats(FloatType::F16);
  units->scale = Plane::implied(Grouping::tensor(1, maxima.size()), 1 / largestSquare);
  units->arithmetic = half;
  units->layout = denseLayout(maxima.size(), 16);
  return units;
}

bool isSquareTable(const Levels& levels) {
  return levels.kind == Levels::Kind::Table && levels.table == squares().table && !levels.grouping;
}

// Codes of one group's scales under a unit; none: not all of them can be said.
bool codesUnder(float unit, std::span<const float> scales, std::span<std::uint8_t> codes) {
  for (std::size_t n = 0; n < scales.size(); ++n) {
    int c = 0;
    while (c < levelCount && squareScale(unit, static_cast<std::uint8_t>(c)) != scales[n]) ++c;
    if (c == levelCount) return false;
    codes[n] = static_cast<std::uint8_t>(c);
  }
  return true;
}

// A unit under which all of a group's scales are squares of it: each code the largest scale could have is tried, and the halves
// around the unit that follows from it.
std::optional<std::uint16_t> fitMaximum(std::span<const float> scales, std::span<std::uint8_t> codes) {
  const float largest = *std::max_element(scales.begin(), scales.end());
  if (!(*std::min_element(scales.begin(), scales.end()) >= 0) || !std::isfinite(largest)) return std::nullopt;
  for (int c = levelCount; c >= 1; --c) {
    const std::uint16_t near = kernels::floatToHalf(largest / static_cast<float>(c * c));
    for (int step = -2; step <= 2; ++step) {
      const int bits = near + step;
      if (bits < 0 || bits >= 0x7C00) continue;
      const float unit = kernels::halfToFloat(static_cast<std::uint16_t>(bits));
      const std::uint16_t maximum = kernels::floatToHalf(unit * largestSquare);
      if (squareScaleUnit(maximum) == unit && codesUnder(unit, scales, codes)) return maximum;
    }
  }
  return std::nullopt;
}

}  // namespace

float squareScaleUnit(std::uint16_t maximum) {
  return kernels::roundTo(FloatType::F16, kernels::halfToFloat(maximum) * (1 / largestSquare));
}

float squareScale(float unit, std::uint8_t code) {
  const auto root = static_cast<float>(code + 1);
  return kernels::roundTo(FloatType::F16, root * root * unit);
}

Plane squareScales(std::uint64_t rows, std::vector<std::uint32_t> index, std::vector<std::uint8_t> codes,
                   const std::vector<std::uint16_t>& maxima, std::uint64_t written) {
  const std::uint64_t count = rows * maxima.size();
  NIBBLE_EXPECTS(codes.size() == count);
  auto nested = std::make_shared<QuantizedTensor>();
  nested->rows = 1;
  nested->columns = count;
  nested->shape = {1, count};
  nested->codes = Codes(std::move(codes));
  nested->width.uniform = 4;
  nested->levels = squares();
  nested->scale = Plane::quantized(Grouping::modulo(1, count, maxima.size()), unitsOf(maxima));
  nested->arithmetic = half;
  nested->layout = denseLayout(std::max(written, rows) * maxima.size(), 4);
  return Plane::quantized(Grouping::columnMap(rows, std::move(index)), std::move(nested));
}

std::optional<SquareScales> squareScalesOf(const Plane& plane, std::uint64_t groups) {
  if (plane.nested == nullptr) return std::nullopt;
  const QuantizedTensor& nested = *plane.nested;
  if (!isSquareTable(nested.levels) || nested.rule != ValueRule::Scale || !(nested.arithmetic == half) || !nested.scale ||
      nested.scale->nested == nullptr)
    return std::nullopt;
  const QuantizedTensor& units = *nested.scale->nested;
  const auto* codes = nested.codes.as<std::uint8_t>();
  const auto* maxima = units.codes.as<std::uint16_t>();
  if (codes == nullptr || maxima == nullptr || maxima->size() != groups || units.levels.kind != Levels::Kind::Float)
    return std::nullopt;
  for (std::uint64_t g = 0; g < groups; ++g)
    if (nested.scale->values[g] != squareScaleUnit((*maxima)[g])) return std::nullopt;
  return SquareScales{*codes, *maxima};
}

std::optional<SquareScales> fitSquareScales(std::span<const float> scales, std::uint64_t rows, std::uint64_t groups) {
  NIBBLE_EXPECTS(scales.size() == rows * groups);
  SquareScales fitted{std::vector<std::uint8_t>(rows * groups), std::vector<std::uint16_t>(groups)};
  std::vector<float> column(rows);
  std::vector<std::uint8_t> codes(rows);
  for (std::uint64_t g = 0; g < groups; ++g) {
    for (std::uint64_t n = 0; n < rows; ++n) column[n] = scales[n * groups + g];
    const auto maximum = fitMaximum(column, codes);
    if (!maximum) return std::nullopt;
    fitted.maxima[g] = *maximum;
    for (std::uint64_t n = 0; n < rows; ++n) fitted.codes[n * groups + g] = codes[n];
  }
  return fitted;
}

}  // namespace nibble
