// SPDX-License-Identifier: GPL-3.0-or-later
// Paints the cells of the window's tables by the roles of ui/models/table_roles.h: family marks, tones, bold and fixed text, pass and
// fail icons, highlighted cells. Row height is fixed. Colours come from the view's palette at paint time.
#pragma once
#include <QStyledItemDelegate>

class QTableView;

namespace nibble {

class TableDelegate : public QStyledItemDelegate {
  Q_OBJECT
 public:
  explicit TableDelegate(QObject* parent = nullptr);
  void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;

 protected:
  void initStyleOption(QStyleOptionViewItem* option, const QModelIndex& index) const override;

 private:
  void paintText(QPainter& painter, const QStyleOptionViewItem& option, const QModelIndex& index) const;
  mutable int m_margin = -1;  // of the view it serves
};

// The look all tables share: no grid, fixed rows, alternating ground, whole rows selected.
void prepareTable(QTableView* table, const QString& objectName, const QString& accessibleName);

}  // namespace nibble
