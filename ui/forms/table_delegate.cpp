// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/forms/table_delegate.h"

#include "ui/models/table_roles.h"
#include "ui/theme/icons.h"
#include "ui/theme/theme.h"

#include <QHeaderView>
#include <QPainter>
#include <QTableView>

namespace nibble {

namespace {

constexpr int markSpace = 18;

QColor toneColour(const Theme& theme, Tone tone) {
  switch (tone) {
    case Tone::Quiet: return theme.text2;
    case Tone::Good: return theme.good;
    case Tone::Warn: return theme.warn;
    case Tone::Bad: return theme.bad;
    default: return theme.text;
  }
}

void drawAnswer(QPainter& painter, const QRect& cell, const Theme& theme, Answer answer) {
  QRect place(0, 0, sizes::icon, sizes::icon);
  place.moveCenter(cell.center());
  switch (answer) {
    case Answer::Pass: return drawIcon(painter, place, "pass", theme.good);
    case Answer::Fail: return drawIcon(painter, place, "fail", theme.bad);
    case Answer::Waiting: return drawIcon(painter, place, "waiting", theme.accent);
    case Answer::NotAsked: return drawIcon(painter, place, "not-asked", theme.text3);
  }
}

}  // namespace

TableDelegate::TableDelegate(QObject* parent) : QStyledItemDelegate(parent) {}

void TableDelegate::initStyleOption(QStyleOptionViewItem* option, const QModelIndex& index) const {
  QStyledItemDelegate::initStyleOption(option, index);
  const auto& theme = themeOf(option->palette);
  const bool bold = index.data(BoldRole).toBool();
  if (index.data(FixedRole).toBool()) {
    option->font = fonts::fixed();
    option->font.setBold(bold);
  } else if (bold) {
    option->font = fonts::bold();
  } else if (!index.data(Qt::FontRole).isValid() && index.data(Qt::TextAlignmentRole).toInt() & Qt::AlignRight) {
    option->font = fonts::numbers();
  }
  const QColor colour = toneColour(theme, static_cast<Tone>(index.data(ToneRole).toInt()));
  option->palette.setColor(QPalette::Text, colour);
  option->palette.setColor(QPalette::HighlightedText, colour);
}

void TableDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const {
  if (index.data(HighlightRole).toBool()) painter->fillRect(option.rect, themeOf(option.palette).accentSoft);
  const auto answer = index.data(AnswerRole);
  const auto family = index.data(FamilyRole);
  const auto iconName = index.data(IconNameRole).toString();
  if (!answer.isValid() && !family.isValid() && iconName.isEmpty()) return paintText(*painter, option, index);
  const auto& theme = themeOf(option.palette);
  QStyleOptionViewItem ground = option;
  initStyleOption(&ground, index);
  if (answer.isValid()) {
    ground.text.clear();
    option.widget->style()->drawControl(QStyle::CE_ItemViewItem, &ground, painter, option.widget);
    drawAnswer(*painter, option.rect, theme, static_cast<Answer>(answer.toInt()));
    return;
  }
  const QString text = std::exchange(ground.text, QString());
  option.widget->style()->drawControl(QStyle::CE_ItemViewItem, &ground, painter, option.widget);
  painter->save();
  const auto shown = static_cast<Family>(family.toInt());
  if (!iconName.isEmpty()) drawIcon(*painter, QRect(option.rect.left() + 4, option.rect.center().y() - 7, sizes::icon, sizes::icon), iconName, theme.text2);
  else drawMark(*painter, QPointF(option.rect.left() + 10, option.rect.center().y() + 0.5), markOf(shown), familyColour(theme, shown));
  painter->setFont(ground.font);
  painter->setPen(ground.palette.color(QPalette::Text));
  const QRect place = option.rect.adjusted(markSpace + 4, 0, -4, 0);
  painter->drawText(place, Qt::AlignVCenter | Qt::AlignLeft, QFontMetrics(ground.font).elidedText(text, Qt::ElideRight, place.width()));
  painter->restore();
}

// As the style paints text, in a fraction of its time: a table has hundreds of cells, and a style sheet is asked for each one.
void TableDelegate::paintText(QPainter& painter, const QStyleOptionViewItem& option, const QModelIndex& index) const {
  QStyleOptionViewItem cell = option;
  initStyleOption(&cell, index);
  const auto beside = QStyleOptionViewItem::HasCheckIndicator | QStyleOptionViewItem::HasDecoration;
  if (cell.features & beside || cell.backgroundBrush.style() != Qt::NoBrush)
    return QStyledItemDelegate::paint(&painter, option, index);
  if (cell.state & QStyle::State_Selected) painter.fillRect(cell.rect, themeOf(cell.palette).accentSoft);
  if (cell.text.isEmpty()) return;
  if (m_margin < 0) {  // what the style sheet and the style leave beside a text
    const QStyle* style = cell.widget->style();
    const QRect place = style->subElementRect(QStyle::SE_ItemViewItemText, &cell, cell.widget);
    m_margin = place.left() - cell.rect.left() + style->pixelMetric(QStyle::PM_FocusFrameHMargin, nullptr, cell.widget) + 1;
  }
  const QRect place = cell.rect.adjusted(m_margin, 0, -m_margin, 0);
  painter.setFont(cell.font);
  painter.setPen(cell.palette.color(QPalette::Text));
  const QFontMetrics metrics(cell.font);
  const bool fits = metrics.horizontalAdvance(cell.text) <= place.width();
  painter.drawText(place, static_cast<int>(cell.displayAlignment) | Qt::TextSingleLine,
                   fits ? cell.text : metrics.elidedText(cell.text, cell.textElideMode, place.width()));
}

void prepareTable(QTableView* table, const QString& objectName, const QString& accessibleName) {
  table->setObjectName(objectName);
  table->setAccessibleName(accessibleName);
  table->setItemDelegate(new TableDelegate(table));
  table->setShowGrid(false);
  table->setAlternatingRowColors(true);
  table->setSelectionBehavior(QAbstractItemView::SelectRows);
  table->setSelectionMode(QAbstractItemView::SingleSelection);
  table->setEditTriggers(QAbstractItemView::NoEditTriggers);
  table->setFrameShape(QFrame::NoFrame);
  table->setWordWrap(false);
  table->setTabKeyNavigation(false);
  table->verticalHeader()->hide();
  table->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
  table->verticalHeader()->setDefaultSectionSize(sizes::tableRow);
  table->verticalHeader()->setMinimumSectionSize(sizes::tableRow);
  table->horizontalHeader()->setHighlightSections(false);
  table->horizontalHeader()->setFixedHeight(sizes::tableHeader);
  table->setHorizontalScrollMode(QAbstractItemView::ScrollPerPixel);
}

}  // namespace nibble
