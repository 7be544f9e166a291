// SPDX-License-Identifier: GPL-3.0-or-later
// Rows of the tensor tree: 22 px high, modules and numbers quieter than names, and a mark at the right edge of tensors with a finding.
#pragma once
#include <QStyledItemDelegate>

namespace nibble {

class TensorDelegate : public QStyledItemDelegate {
  Q_OBJECT
 public:
  explicit TensorDelegate(QObject* parent = nullptr) : QStyledItemDelegate(parent) {}
  void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;
  [[nodiscard]] QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const override;

 protected:
  void initStyleOption(QStyleOptionViewItem* option, const QModelIndex& index) const override;
};

}  // namespace nibble
