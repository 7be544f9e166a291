// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/docks/tensor_delegate.h"

#include "ui/models/tensor_tree_model.h"
#include "ui/theme/icons.h"
#include "ui/theme/theme.h"

#include <QPainter>

namespace nibble {

namespace {
constexpr int findingSpace = 20;
}

void TensorDelegate::initStyleOption(QStyleOptionViewItem* option, const QModelIndex& index) const {
  QStyledItemDelegate::initStyleOption(option, index);
  const auto& theme = themeOf(option->palette);
  const bool name = index.column() == TensorTreeModel::Name;
  option->palette.setColor(QPalette::Text, name ? theme.text : theme.text2);
  option->palette.setColor(QPalette::HighlightedText, name ? theme.text : theme.text2);
  if (!name) option->font = fonts::hint();
  option->textElideMode = name ? Qt::ElideMiddle : Qt::ElideRight;
}

void TensorDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const {
  if (index.column() != TensorTreeModel::Size) {
    QStyledItemDelegate::paint(painter, option, index);
    return;
  }
  QStyleOptionViewItem cell = option;
  initStyleOption(&cell, index);
  const QString text = std::exchange(cell.text, QString());
  option.widget->style()->drawControl(QStyle::CE_ItemViewItem, &cell, painter, option.widget);
  painter->save();
  painter->setFont(cell.font);
  painter->setPen(cell.palette.color(QPalette::Text));
  painter->drawText(option.rect.adjusted(0, 0, -findingSpace, 0), Qt::AlignVCenter | Qt::AlignRight, text);
  painter->restore();
  const auto finding = static_cast<TreeMark>(index.data(TensorTreeModel::MarkRole).toInt());
  if (finding == TreeMark::None) return;
  const auto& theme = themeOf(option.palette);
  const QRect place(option.rect.right() - sizes::icon - 1, option.rect.center().y() - 6, 14, 14);
  drawIcon(*painter, place, finding == TreeMark::Warning ? "warning" : "note", finding == TreeMark::Warning ? theme.warn : theme.text2);
}

QSize TensorDelegate::sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const {
  QSize size = QStyledItemDelegate::sizeHint(option, index);
  size.setHeight(sizes::treeRow);
  return size;
}

}  // namespace nibble
