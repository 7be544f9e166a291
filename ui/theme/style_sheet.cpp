// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/theme/theme.h"

#include <QFont>
#include <QFontInfo>
#include <algorithm>
#include <utility>
#include <vector>

namespace nibble {
namespace {

// @name stands for a colour token, @Snn for the body size plus nn pixels, @variant for light or dark (drawings that a style
// sheet cannot recolour).
constexpr const char* frames = R"(
QMainWindow, QDialog { background: @window; }
QWidget#page, QFrame[look="page"] { background: @window; }
QFrame[look="panel"] { background: @panel; border: 1px solid @border; border-radius: 4px; }
QFrame[look="panelHeader"] { background: transparent; border: none; min-height: 30px; max-height: 30px; }
QFrame[look="rule"] { background: @border; border: none; max-height: 1px; min-height: 1px; }
QFrame[look="warnBar"] { background: @warnSoft; border: 1px solid @warn; border-radius: 4px; }
QFrame[look="goodBar"] { background: @panel; border: 1px solid @good; border-radius: 4px; }
QFrame[look="badBar"] { background: @panel; border: 1px solid @bad; border-radius: 4px; }
QFrame[look="dropArea"] { background: transparent; border: 1px dashed @borderStrong; border-radius: 4px; }
QScrollArea { background: transparent; border: none; }
QToolTip { background: @panel; color: @text; border: 1px solid @borderStrong; padding: 4px 6px; }
QFrame#menuRow { background: @window; border: none; border-bottom: 1px solid @border; }
QMenuBar { background: transparent; border: none; min-height: 29px; max-height: 29px; padding-left: 7px; }
QMenuBar::item { background: transparent; padding: 0 10px; font-size: @S1; }
QMenuBar::item:selected, QMenuBar::item:pressed { background: @accentSoft; }
QMenu { background: @panel; border: 1px solid @borderStrong; padding: 4px 0; }
QMenu::item { padding: 5px 24px 5px 28px; }
QMenu::item:selected { background: @accentSoft; color: @text; }
QMenu::item:disabled { color: @text3; }
QMenu::separator { height: 1px; background: @border; margin: 4px 0; }
QMenu::icon { padding-left: 8px; }
QStatusBar { background: @window; border-top: 1px solid @border; min-height: 25px; max-height: 25px; }
QStatusBar::item { border: none; }
QMainWindow::separator { background: @border; width: 1px; height: 1px; }
QMainWindow::separator:hover { background: @accent; }
QSplitter::handle { background: transparent; }
QDockWidget { font-weight: bold; titlebar-close-icon: url(:/icons/style/close-@variant.svg); }
QDockWidget::title { background: @sunken; border-bottom: 1px solid @border; padding: 9px 12px; text-align: left; }
QTabBar { background: @window; }
QTabBar::tab { background: transparent; color: @text2; border: none; border-bottom: 2px solid transparent;
  padding: 0 14px; min-height: 32px; max-height: 32px; font-size: @S1; }
QTabBar::tab:selected { background: @panel; color: @text; border-bottom: 2px solid @accent; font-weight: bold; }
QTabBar::tab:hover:!selected { color: @text; background: @band; }
QTabBar::tab:disabled { color: @text3; }
QTabWidget::pane { border: none; border-top: 1px solid @border; }
)";

constexpr const char* labels = R"(
QLabel { background: transparent; }
QLabel[look="heading"] { font-size: 26px; font-weight: bold; }
QLabel[look="title"] { font-weight: bold; }
QLabel[look="label"] { color: @text2; }
QLabel[look="hint"] { color: @text2; font-size: @S-1; }
QLabel[look="faint"] { color: @text3; font-size: @S-1; }
QLabel[look="boldHint"] { font-size: @S-1; font-weight: bold; }
QLabel[look="key"] { font-size: @S10; font-weight: bold; }
QLabel[look="good"] { color: @good; }
QLabel[look="warn"] { color: @warn; }
QLabel[look="bad"] { color: @bad; }
QLabel[look="chip"] { color: @text2; border: 1px solid @border; border-radius: 3px; padding: 1px 5px; font-size: @S-1; }
QLabel[look="chipGood"] { color: @good; border: 1px solid @good; border-radius: 3px; padding: 1px 5px; font-size: @S-1; }
QLabel[look="chipWarn"] { color: @warn; border: 1px solid @warn; border-radius: 3px; padding: 1px 5px; font-size: @S-1; }
QLabel[look="chipBad"] { color: @bad; border: 1px solid @bad; border-radius: 3px; padding: 1px 5px; font-size: @S-1; }
)";

constexpr const char* buttons = R"(
QPushButton, QToolButton { background: @panel; color: @text; border: 1px solid @border; border-radius: 3px; padding: 0 10px;
  min-height: 24px; }
QToolButton { padding: 0 4px; min-width: 16px; }
QPushButton:hover, QToolButton:hover { border-color: @borderStrong; }
QPushButton:pressed, QToolButton:pressed { background: @accentSoft; }
QPushButton:disabled, QToolButton:disabled { background: @sunken; color: @text3; }
QToolButton[look="primary"] { background: @accent; color: @accentText; border: 1px solid @accent; }
QToolButton[look="primary"]:hover { border-color: @text; }
QToolButton[look="primary"]:disabled { background: @sunken; color: @text3; border-color: @border; }
QPushButton[look="primary"] { background: @accent; color: @accentText; border: 1px solid @accent; font-weight: bold; }
QPushButton[look="primary"]:hover { border-color: @text; }
QPushButton[look="primary"]:disabled { background: @sunken; color: @text3; border-color: @border; }
QPushButton[look="card"] { text-align: left; padding: 8px 14px; border-radius: 4px; }
QPushButton[look="primaryCard"] { text-align: left; padding: 8px 14px; border-radius: 4px; background: @accent;
  color: @accentText; border-color: @accent; }
QPushButton[look="link"], QToolButton[look="flat"] { background: transparent; border: 1px solid transparent; }
QPushButton[look="link"] { color: @accent; padding: 0 4px; }
QToolButton[look="flat"]:hover { border-color: @border; }
QToolButton[look="segment"] { border-radius: 0; border-right: none; padding: 0 7px; min-width: 6px; color: @text2; font-weight: normal; }
QToolButton[look="segment"]:checked { background: @accentSoft; color: @text; font-weight: bold; }
QToolButton[look="segment"]:disabled { background: @panel; color: @text3; }
QToolButton[look="segment"][place="first"] { border-top-left-radius: 3px; border-bottom-left-radius: 3px; }
QToolButton[look="segment"][place="last"] { border-right: 1px solid @border; border-top-right-radius: 3px;
  border-bottom-right-radius: 3px; }
QToolButton[look="segment"][place="only"] { border-radius: 3px; border-right: 1px solid @border; }
QToolButton[look="segment"][impossible="true"] { color: @text3; text-decoration: line-through; }
QToolButton[small="true"], QPushButton[small="true"] { min-height: 18px; font-size: @S-1; }
QToolButton[look="segment"][small="true"] { padding: 0 3px; }
QToolButton[look="segment"][tight="true"] { padding: 0 4px; }
QLineEdit > QToolButton { border: none; padding: 0; min-height: 0; background: transparent; }
QToolButton::menu-indicator { image: none; }
QToolButton[look="titleMenu"] { background: transparent; border: none; border-radius: 0; padding: 0 14px 0 0; min-width: 0; min-height: 22px;
  font-weight: bold; }
QToolButton[look="titleMenu"]:hover { color: @accent; }
QToolButton[look="titleMenu"]::menu-indicator { image: url(:/icons/style/chevron-down-@variant.svg); width: 12px; height: 12px;
  subcontrol-origin: border; subcontrol-position: right center; }
)";

constexpr const char* fields = R"(
QLineEdit, QSpinBox, QDoubleSpinBox, QComboBox, QPlainTextEdit, QTextEdit { background: @panel; color: @text;
  border: 1px solid @border; border-radius: 3px; padding: 0 6px; min-height: 24px; selection-background-color: @accentSoft;
  selection-color: @text; }
QLineEdit:hover, QSpinBox:hover, QDoubleSpinBox:hover, QComboBox:hover { border-color: @borderStrong; }
QLineEdit:disabled, QSpinBox:disabled, QDoubleSpinBox:disabled, QComboBox:disabled { background: @sunken; color: @text3; }
QLineEdit[invalid="true"], QSpinBox[invalid="true"], QDoubleSpinBox[invalid="true"] { border: 1px solid @bad; }
QComboBox { padding: 0 8px; }
QComboBox[small="true"] { min-height: 18px; font-size: @S-1; }
QComboBox::drop-down { border: none; width: 24px; }
QComboBox::down-arrow { image: url(:/icons/style/chevron-down-@variant.svg); width: 14px; height: 14px; }
QComboBox::down-arrow:disabled { image: url(:/icons/style/chevron-down-off-@variant.svg); }
QComboBox QAbstractItemView { background: @panel; border: 1px solid @borderStrong; outline: none; padding: 2px; }
QSpinBox::up-button, QDoubleSpinBox::up-button, QSpinBox::down-button, QDoubleSpinBox::down-button { border: none; width: 16px;
  background: transparent; }
QSpinBox::up-arrow, QDoubleSpinBox::up-arrow { image: url(:/icons/style/chevron-up-@variant.svg); width: 10px; height: 10px; }
QSpinBox::down-arrow, QDoubleSpinBox::down-arrow { image: url(:/icons/style/chevron-down-@variant.svg); width: 10px; height: 10px; }
QCheckBox, QRadioButton { spacing: 7px; background: transparent; }
QCheckBox::indicator, QTreeView::indicator, QTableView::indicator, QListView::indicator { width: 12px; height: 12px;
  border: 1px solid @borderStrong; border-radius: 3px; background: @panel; }
QCheckBox::indicator:checked, QTreeView::indicator:checked, QTableView::indicator:checked, QListView::indicator:checked {
  background: @accent; border-color: @accent; image: url(:/icons/style/check-@variant.svg); }
QCheckBox::indicator:disabled { background: @sunken; border-color: @border; }
QRadioButton::indicator { width: 12px; height: 12px; border: 1px solid @borderStrong; border-radius: 7px; background: @panel; }
QRadioButton::indicator:checked { border: 4px solid @accent; width: 6px; height: 6px; }
QSlider::groove:horizontal { height: 3px; background: @border; border-radius: 1px; }
QSlider::sub-page:horizontal { background: @accent; border-radius: 1px; }
QSlider::handle:horizontal { width: 12px; height: 12px; margin: -6px 0; border: 2px solid @accent; border-radius: 7px;
  background: @panel; }
QSlider::sub-page:horizontal:disabled { background: @borderStrong; }
QSlider::handle:horizontal:disabled { border-color: @borderStrong; }
QProgressBar { background: @border; border: none; border-radius: 3px; min-height: 6px; max-height: 6px; }
QProgressBar::chunk { background: @accent; border-radius: 3px; }
)";

constexpr const char* views = R"(
QAbstractItemView { background: @panel; alternate-background-color: @altRow; color: @text; border: none; gridline-color: @border;
  selection-background-color: @accentSoft; selection-color: @text; outline: none; }
QTreeView::item, QListView::item { min-height: 22px; border: none; }
QTableView::item { border: none; padding: 0 6px; }
QTableView[tight="true"]::item { padding: 0 1px; }
QTreeView::item:selected, QTableView::item:selected, QListView::item:selected { background: @accentSoft; color: @text; }
QTreeView::item:hover:!selected, QListView::item:hover:!selected { background: @band; }
QTreeView::branch { background: @panel; }
QTreeView::branch:selected { background: @accentSoft; }
QTreeView::branch:has-children:closed { image: url(:/icons/style/chevron-right-@variant.svg); }
QTreeView::branch:has-children:open { image: url(:/icons/style/chevron-down-@variant.svg); }
QHeaderView { background: @sunken; border: none; }
QHeaderView::section { background: @sunken; color: @text2; border: none; border-bottom: 1px solid @border; padding: 0 6px;
  min-height: 25px; font-size: @S-1; }
QTreeView QHeaderView::section { padding: 0 4px; }
QTableView[tight="true"] QHeaderView::section { padding: 0 1px; }
QHeaderView::up-arrow { subcontrol-origin: padding; subcontrol-position: top center; image: url(:/icons/style/chevron-up-@variant.svg);
  width: 9px; height: 9px; }
QHeaderView::down-arrow { subcontrol-origin: padding; subcontrol-position: top center;
  image: url(:/icons/style/chevron-down-@variant.svg); width: 9px; height: 9px; }
QTableCornerButton::section { background: @sunken; border: none; }
QScrollBar:vertical { background: transparent; width: 10px; margin: 0; }
QScrollBar:horizontal { background: transparent; height: 10px; margin: 0; }
QScrollBar::handle { background: @borderStrong; border-radius: 3px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 24px; }
QScrollBar::handle:horizontal { min-width: 24px; }
QScrollBar::handle:hover { background: @text3; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
)";

std::vector<std::pair<QString, QString>> replacements(const Theme& t, int size) {
  std::vector<std::pair<QString, QString>> list{{"window", t.window.name()},
                                                {"panel", t.panel.name()},
                                                {"sunken", t.sunken.name()},
                                                {"altRow", t.altRow.name()},
                                                {"border", t.border.name()},
                                                {"borderStrong", t.borderStrong.name()},
                                                {"text", t.text.name()},
                                                {"text2", t.text2.name()},
                                                {"text3", t.text3.name()},
                                                {"accent", t.accent.name()},
                                                {"accentSoft", t.accentSoft.name()},
                                                {"accentText", t.accentText.name()},
                                                {"good", t.good.name()},
                                                {"warn", t.warn.name()},
                                                {"warnSoft", t.warnSoft.name()},
                                                {"bad", t.bad.name()},
                                                {"band", t.band.name()},
                                                {"variant", t.dark ? "dark" : "light"},
                                                {"S-1", QStringLiteral("%1px").arg(size - 1)},
                                                {"S1", QStringLiteral("%1px").arg(size + 1)},
                                                {"S10", QStringLiteral("%1px").arg(size + 10)}};
  // Longer names first, or "@text" would eat the head of "@text2".
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  return list;
}

}  // namespace

QString styleSheetFor(const Theme& theme, const QFont& base) {
  QString sheet = QString::fromLatin1(frames) + QString::fromLatin1(labels) + QString::fromLatin1(buttons) +
                  QString::fromLatin1(fields) + QString::fromLatin1(views);
  for (const auto& [name, value] : replacements(theme, QFontInfo(base).pixelSize())) {
    sheet.replace(QLatin1Char('@') + name, value);
  }
  return sheet;
}

}  // namespace nibble
