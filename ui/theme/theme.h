// SPDX-License-Identifier: GPL-3.0-or-later
// Colours of the window as named tokens, one full set for light and one for dark, and what follows from them: the palette, the
// one style sheet, the colour and mark of each scheme family. Values: text and text2 keep 4.5:1 on every surface, text3 on
// panels, family colours 3:1 on panels (tests/ui/test_theme.cpp). A view takes its set from its own palette with themeOf() at
// paint time and so follows a change of palette without being told. GUI thread only, except themeFor() and the colours, which
// are constants.
#pragma once
#include "core/schemes/scheme.h"

#include <QColor>
#include <QIcon>
#include <QPalette>
#include <QString>

class QApplication;
class QFont;
class QPainter;
class QPointF;
class QWidget;

namespace nibble {

struct Theme {
  bool dark = false;
  QColor window, panel, sunken, altRow;  // page, panel and plot ground, headers, every second row
  QColor border, borderStrong;
  QColor text, text2, text3;              // body; labels and ticks; disabled and hints
  QColor inkOnFamily;                     // text on a family fill
  QColor accent, accentSoft, accentText;  // action and selection; never a scheme
  QColor good, warn, warnSoft, bad;
  QColor grid, axis, bar, band;  // bar: raw weights; band: marked regions of a plot
};

const Theme& themeFor(bool dark);
bool isDark(const QPalette& palette);
const Theme& themeOf(const QPalette& palette);
const Theme& themeOf(const QWidget* widget);  // none: the application's palette

QPalette paletteFor(const Theme& theme);
// Sizes in it follow `base`. Beside plain widgets it knows the dynamic property "look": on QFrame "panel", "panelHeader",
// "rule", "warnBar", "goodBar", "badBar", "page"; on QLabel "heading" (26 px), "title", "label" (text2), "hint" (text2, small),
// "key" (large figure), "chip", "chipGood", "chipWarn", "chipBad", "good", "warn", "bad"; on QPushButton "primary", "card",
// "primaryCard", "link"; on QToolButton "segment" with "place" first, middle, last or only, and "impossible" true or false; on
// QLineEdit "code" and "invalid" true or false. After changing such a property call restyle().
QString styleSheetFor(const Theme& theme, const QFont& base);
void restyle(QWidget* widget);
// Fusion, font, palette, style sheet and focus outline. Call once at start, and again to change between light and dark.
void applyTheme(QApplication& application, bool dark);

// The shape on a plot that goes with a family's colour; a family keeps both everywhere.
enum class Mark : std::uint8_t { Disc, Square, TriangleUp, Diamond, TriangleDown, PlusCircle, CrossSquare, Star };
Mark markOf(Family family);
QColor familyColour(const Theme& theme, Family family);
// Mixed over the ground: share 0 is ground, 1 is colour.
QColor mixed(const QColor& colour, const QColor& ground, double share);
void drawMark(QPainter& painter, QPointF centre, Mark mark, const QColor& colour, double size = 9);
// The mark as a 16 px icon for tables and combo boxes; it recolours itself with the palette.
QIcon familyIcon(Family family);

// WCAG contrast of two opaque colours, 1..21.
double contrast(const QColor& one, const QColor& other);
// Euclidean distance in OKLab, about 0 (equal) .. 1 (black to white).
double colourDistance(const QColor& one, const QColor& other);

// Pixels. Grid 4; panels stand 8 apart.
namespace sizes {
inline constexpr int grid = 4, gap = 8, inside = 10, radius = 4;
inline constexpr int panelHeader = 30, menuBar = 30, pageTabs = 34, statusBar = 26;
inline constexpr int control = 26, headerControl = 22, tableRow = 24, treeRow = 22, tableHeader = 26;
inline constexpr int icon = 16;
inline constexpr int tensorDock = 312, tensorDockLeast = 240, tensorDockMost = 480;
inline constexpr int schemeDock = 292, schemeDockLeast = 264, schemeDockMost = 400;
inline constexpr int windowLeastWidth = 1024, windowLeastHeight = 640;
}  // namespace sizes

// Fonts: all relative to the body font (the application's).
namespace fonts {
QFont body();
QFont bold();
QFont hint();  // ticks, axis titles, hints: one pixel smaller
QFont boldHint();
QFont tabs();     // page tabs and menus: one larger
QFont key();      // the figure a page is about
QFont heading();  // 26 px
QFont fixed();    // scheme text, names, hex
QFont numbers();  // number columns: body, or fixed where the body's digits differ in width
}  // namespace fonts

}  // namespace nibble
