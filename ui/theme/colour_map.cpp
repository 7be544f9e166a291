// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/theme/colour_map.h"

#include "ui/theme/theme.h"

#include <cmath>
#include <initializer_list>

namespace nibble {

std::vector<QColor> colourStops(ColourScale scale, bool dark) {
  const auto stops = [](std::initializer_list<QRgb> values) {
    std::vector<QColor> colours;
    for (const QRgb value : values) colours.emplace_back(value);
    return colours;
  };
  if (scale == ColourScale::Sequential) {
    return dark ? stops({0x1B1E23, 0x2C2440, 0x3A3569, 0x3A5698, 0x3486A5, 0x3DB0AB, 0x72D4AE, 0xDDF5E3})
                : stops({0xF4FAF6, 0xC4E9D3, 0x7DD6B5, 0x43B3AD, 0x348BA6, 0x3A5F9B, 0x3E3A73, 0x2B1C35});
  }
  return dark ? stops({0xA9D8FA, 0x5AA2D6, 0x2B6391, 0x1D3345, 0x1E2024, 0x40291A, 0x874A1E, 0xD07F3B, 0xFBC795})
              : stops({0x153A6B, 0x3672AE, 0x87B4D8, 0xD9E5EE, 0xF7F6F3, 0xF1DCC9, 0xDDA26F, 0xB5601F, 0x6B2E0A});
}

ColourMap::ColourMap(ColourScale scale, bool dark, double low, double high, QColor nanColour)
    : m_low(low), m_high(high), m_stepsPerUnit(high > low ? 255 / (high - low) : 0), m_nan(nanColour.rgb()), m_table{} {
  const std::vector<QColor> stops = colourStops(scale, dark);
  for (std::size_t i = 0; i < m_table.size(); ++i) {
    const double position = static_cast<double>(i) / 255 * static_cast<double>(stops.size() - 1);
    const auto stop = std::min(static_cast<std::size_t>(position), stops.size() - 2);
    m_table[i] = mixed(stops[stop + 1], stops[stop], position - static_cast<double>(stop)).rgb();
  }
}

QRgb ColourMap::at(double value) const {
  if (std::isnan(value)) return m_nan;
  const double step = (value - m_low) * m_stepsPerUnit;
  return m_table[static_cast<std::size_t>(std::nearbyint(std::clamp(step, 0.0, 255.0)))];
}

}  // namespace nibble
