// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/theme/theme.h"

#include <QApplication>
#include <QStyle>
#include <QWidget>
#include <array>
#include <cmath>

namespace nibble {
namespace {

Theme lightTheme() {
  Theme t;
  t.window = "#ECEEF1", t.panel = "#FFFFFF", t.sunken = "#F6F7F9", t.altRow = "#F8F9FB";
  t.border = "#D3D8DF", t.borderStrong = "#A9B2BF";
  t.text = "#1A1E26", t.text2 = "#4C5562", t.text3 = "#697380";
  t.inkOnFamily = "#1A1E26";
  t.accent = "#3F51C7", t.accentSoft = "#E3E7FA", t.accentText = "#FFFFFF";
  t.good = "#1B7A47", t.warn = "#8F5B00", t.warnSoft = "#FBF0DA", t.bad = "#B3261E";
  t.grid = "#E8EBEF", t.axis = "#8A94A2", t.bar = "#8A98A8", t.band = "#EEF1F5";
  return t;
}

Theme darkTheme() {
  Theme t;
  t.dark = true;
  t.window = "#121417", t.panel = "#1B1E23", t.sunken = "#16191D", t.altRow = "#1F2328";
  t.border = "#30363F", t.borderStrong = "#525C6A";
  t.text = "#E4E7EB", t.text2 = "#A8B0BC", t.text3 = "#7F8997";
  t.inkOnFamily = "#14171C";
  t.accent = "#93A4FF", t.accentSoft = "#2B3362", t.accentText = "#11142A";
  t.good = "#62C48E", t.warn = "#E0AC52", t.warnSoft = "#39301C", t.bad = "#FF8F86";
  t.grid = "#282D34", t.axis = "#69737F", t.bar = "#65717F", t.band = "#23282E";
  return t;
}

double linear(double channel) {
  return channel <= 0.04045 ? channel / 12.92 : std::pow((channel + 0.055) / 1.055, 2.4);
}

// WCAG 2: relative luminance.
double luminance(const QColor& c) {
  return 0.2126 * linear(c.redF()) + 0.7152 * linear(c.greenF()) + 0.0722 * linear(c.blueF());
}

// Björn Ottosson's OKLab, from linear sRGB.
std::array<double, 3> okLab(const QColor& c) {
  const double r = linear(c.redF()), g = linear(c.greenF()), b = linear(c.blueF());
  const double l = std::cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const double m = std::cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const double s = std::cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return {0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s, 1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
          0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s};
}

}  // namespace

const Theme& themeFor(bool dark) {
  static const Theme light = lightTheme();
  static const Theme night = darkTheme();
  return dark ? night : light;
}

bool isDark(const QPalette& palette) {
  return palette.color(QPalette::Window).lightnessF() < 0.5;
}

const Theme& themeOf(const QPalette& palette) {
  return themeFor(isDark(palette));
}

const Theme& themeOf(const QWidget* widget) {
  return themeOf(widget != nullptr ? widget->palette() : QGuiApplication::palette());
}

QPalette paletteFor(const Theme& t) {
  QPalette p;
  p.setColor(QPalette::Window, t.window);
  p.setColor(QPalette::WindowText, t.text);
  p.setColor(QPalette::Base, t.panel);
  p.setColor(QPalette::AlternateBase, t.altRow);
  p.setColor(QPalette::Text, t.text);
  p.setColor(QPalette::PlaceholderText, t.text3);
  p.setColor(QPalette::Button, t.panel);
  p.setColor(QPalette::ButtonText, t.text);
  p.setColor(QPalette::BrightText, t.accentText);
  p.setColor(QPalette::Highlight, t.accentSoft);
  p.setColor(QPalette::HighlightedText, t.text);
  p.setColor(QPalette::Link, t.accent);
  p.setColor(QPalette::LinkVisited, t.accent);
  p.setColor(QPalette::ToolTipBase, t.panel);
  p.setColor(QPalette::ToolTipText, t.text);
  p.setColor(QPalette::Light, t.panel);
  p.setColor(QPalette::Midlight, t.sunken);
  p.setColor(QPalette::Mid, t.border);
  p.setColor(QPalette::Dark, t.borderStrong);
  p.setColor(QPalette::Shadow, t.borderStrong);
  for (const auto role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText, QPalette::HighlightedText}) {
    p.setColor(QPalette::Disabled, role, t.text3);
  }
  p.setColor(QPalette::Disabled, QPalette::Base, t.sunken);
  p.setColor(QPalette::Disabled, QPalette::Button, t.sunken);
  return p;
}

void restyle(QWidget* widget) {
  widget->style()->unpolish(widget);
  widget->style()->polish(widget);
  widget->update();
}

QColor mixed(const QColor& colour, const QColor& ground, double share) {
  const auto part = [share](double a, double b) { return static_cast<float>(a * share + b * (1 - share)); };
  return QColor::fromRgbF(part(colour.redF(), ground.redF()), part(colour.greenF(), ground.greenF()),
                          part(colour.blueF(), ground.blueF()));
}

double contrast(const QColor& one, const QColor& other) {
  const double a = luminance(one), b = luminance(other);
  return (std::max(a, b) + 0.05) / (std::min(a, b) + 0.05);
}

double colourDistance(const QColor& one, const QColor& other) {
  const auto a = okLab(one), b = okLab(other);
  return std::hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

}  // namespace nibble
