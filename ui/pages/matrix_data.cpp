// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/matrix_data.h"

#include "ui/theme/number_text.h"

#include <algorithm>
#include <cmath>

namespace nibble {

namespace {

constexpr const char* names[] = {"value", "error", "scale", "code", "zero"};

// The next of 1, 2, 2.5, 5 times a power of ten.
double niceAbove(double value) {
  if (value <= 0) return 1;
  const double power = std::pow(10.0, std::floor(std::log10(value)));
  for (const double step : {1.0, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0})
    if (step * power >= value * (1 - 1e-9)) return step * power;
  return 10 * power;
}

int decimalsFor(double high) { return high <= 0 ? 2 : std::clamp(2 - static_cast<int>(std::floor(std::log10(high / 2))) - 1, 0, 6); }

constexpr std::uint64_t pooledFrom = 1024;  // a side that must be pooled by several cells a pixel

// A range that a few outliers do not wash out: nearly all rows lie inside it. Where a pixel shows the largest of many weights, the
// range follows the rows' largest.
double robustReach(const TensorFacts& facts) {
  const bool pooled = std::max(facts.tensor.rows(), facts.tensor.columns()) >= pooledFrom;
  std::vector<float> reach;
  for (const auto& row : facts.rows)
    reach.push_back(pooled ? std::max(std::abs(row.min), std::abs(row.max)) : std::max(std::abs(row.p01), std::abs(row.p99)));
  if (reach.empty()) return 1;
  const auto place = static_cast<std::ptrdiff_t>(static_cast<double>(reach.size() - 1) * (pooled ? 0.5 : 0.99));
  std::nth_element(reach.begin(), reach.begin() + place, reach.end());
  return niceAbove(static_cast<double>(reach[static_cast<std::size_t>(place)]));
}

double largest(const Plane& plane) {
  float most = 0;
  for (const float value : plane.values) most = std::max(most, std::abs(value));
  return static_cast<double>(most);
}

double codesMost(const Exploration& exploration) {
  if (!exploration.report.occupancy.empty()) return static_cast<double>(exploration.report.occupancy.size() - 1);
  return exploration.quantized ? std::ldexp(1.0, exploration.quantized->width.at(0)) - 1 : 1;
}

}  // namespace

std::string quantityName(Quantity quantity) { return names[static_cast<int>(quantity)]; }

Quantity quantityFrom(const std::string& name) {
  for (int i = 0; i < 5; ++i)
    if (name == names[i]) return static_cast<Quantity>(i);
  return Quantity::Value;
}

MatrixPlotData matrixData(const MatrixSource& source, Quantity quantity, const Exploration& exploration) {
  MatrixPlotData data;
  data.rows = source.rows();
  data.columns = source.columns();
  data.scale = quantity == Quantity::Value ? ColourScale::Diverging : ColourScale::Sequential;
  switch (quantity) {
    case Quantity::Value: data.high = robustReach(*exploration.facts); break;
    case Quantity::Error: data.high = niceAbove(std::min(exploration.report.maxError(), 3.4 * exploration.report.rmse())); break;
    case Quantity::Scale: data.high = niceAbove(largest(*exploration.quantized->scale)); break;
    case Quantity::Code: data.high = codesMost(exploration); break;
    case Quantity::Zero: {
      const auto& values = exploration.quantized->zero->values;
      const bool negative = std::any_of(values.begin(), values.end(), [](float value) { return value < 0; });
      data.scale = negative ? ColourScale::Diverging : ColourScale::Sequential;
      data.high = niceAbove(largest(*exploration.quantized->zero));
      break;
    }
  }
  data.low = data.scale == ColourScale::Diverging ? -data.high : 0;
  data.decimals = quantity == Quantity::Code ? 0 : decimalsFor(data.high);
  return data;
}

QString cellText(const MatrixSource& source, std::uint64_t row, std::uint64_t column) {
  const QString place = QObject::tr("row %1, column %2").arg(formatCount(row), formatCount(column));
  const float weight = source.at(Quantity::Value, row, column);
  if (!source.has(Quantity::Error)) return place + ": " + formatSignificant(static_cast<double>(weight), 4);
  const float value = source.reconstructed(row, column);
  if (value == weight) return place + ": " + formatFixed(static_cast<double>(weight), 4);
  return QObject::tr("%1: %2 → %3").arg(place, formatFixed(static_cast<double>(weight), 4), formatFixed(static_cast<double>(value), 4));
}

}  // namespace nibble
