// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/theme/theme.h"

#include <QApplication>
#include <QFontDatabase>
#include <QFontInfo>
#include <QFontMetricsF>
#include <cmath>
#include <optional>

namespace nibble::fonts {
namespace {

QFont sized(QFont font, int more, bool isBold = false) {
  font.setPixelSize(QFontInfo(QApplication::font()).pixelSize() + more);
  font.setBold(isBold);
  return font;
}

// What fontconfig falls back to when a desktop has not chosen: legible, but wide and without a matching bold weight.
bool isFallback(const QString& family) {
  return family.startsWith("DejaVu") || family.startsWith("Bitstream") || family == "Nimbus Sans" || family == "Noto Mono" ||
         family == "Nimbus Mono PS" || family.isEmpty();
}

QFont preferred(const QFont& font, const QString& better) {
  if (!isFallback(QFontInfo(font).family()) || !QFontDatabase::families().contains(better)) return font;
  QFont replaced = font;
  replaced.setFamilies({better});
  return replaced;
}

// What every painted cell asks for, as long as the desktop's font is the same.
struct Faces {
  QFont desktop, body, numbers;
};

QFont numbersOf(const QFont& body) {
  const QFontMetricsF metrics(body);
  for (char digit = '1'; digit <= '9'; ++digit) {
    if (std::abs(metrics.horizontalAdvance(QChar(digit)) - metrics.horizontalAdvance(QChar('0'))) > 0.01) return fixed();
  }
  return body;
}

const Faces& faces() {
  static std::optional<Faces> known;
  if (const QFont desktop = QApplication::font(); !known || known->desktop != desktop) {
    const QFont body = sized(preferred(desktop, QStringLiteral("Noto Sans")), 0);
    known = {desktop, body, numbersOf(body)};
  }
  return *known;
}

}  // namespace

QFont body() {
  return faces().body;
}
QFont bold() {
  return sized(body(), 0, true);
}
QFont hint() {
  return sized(body(), -1);
}
QFont boldHint() {
  return sized(body(), -1, true);
}
QFont tabs() {
  return sized(body(), 1);
}
QFont key() {
  return sized(body(), 10, true);
}

QFont heading() {
  QFont font = bold();
  font.setPixelSize(26);
  return font;
}

QFont fixed() {
  static const QFont chosen = preferred(QFontDatabase::systemFont(QFontDatabase::FixedFont), QStringLiteral("Noto Sans Mono"));
  return sized(chosen, 0);
}

QFont numbers() {
  return faces().numbers;
}

}  // namespace nibble::fonts
