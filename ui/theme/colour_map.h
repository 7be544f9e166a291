// SPDX-License-Identifier: GPL-3.0-or-later
// Number to colour for heat maps: sequential from 0 (|error|, scale, bits), diverging symmetric about 0 (signed values). Stops
// lie at equal steps of 0..1 and are joined in sRGB; in dark themes zero is dark in both. Pure values, any thread.
#pragma once
#include <QColor>
#include <array>
#include <vector>

namespace nibble {

enum class ColourScale : std::uint8_t { Sequential, Diverging };

class ColourMap {
 public:
  // The map reads `low` as position 0 and `high` as 1; values outside take the end's colour. low < high.
  ColourMap(ColourScale scale, bool dark, double low, double high, QColor nanColour);
  [[nodiscard]] QRgb at(double value) const;
  [[nodiscard]] double low() const { return m_low; }
  [[nodiscard]] double high() const { return m_high; }

 private:
  double m_low, m_high, m_stepsPerUnit;
  QRgb m_nan;
  std::array<QRgb, 256> m_table;
};

std::vector<QColor> colourStops(ColourScale scale, bool dark);

}  // namespace nibble
