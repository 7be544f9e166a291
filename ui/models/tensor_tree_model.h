// SPDX-License-Identifier: GPL-3.0-or-later
// The tensor dock's tree: columns Name, Type, Shape, Size over a shared TensorTree, filtered by text or /regular expression/ on the
// full name and sorted by any column (unsorted: file order). Filtering and sorting touch index lists only; 100,000 tensors take
// well under a frame budget of 50 ms (tests/ui/test_tensor_model.cpp). GUI thread.
#pragma once
#include "ui/models/tensor_tree.h"

#include <QAbstractItemModel>
#include <QHash>
#include <span>
#include <vector>

namespace nibble {

class TensorTreeModel : public QAbstractItemModel {
  Q_OBJECT
 public:
  enum Column { Name, Type, ShapeColumn, Size, ColumnCount };
  enum Role { TensorRole = Qt::UserRole, MarkRole, SortRole };
  explicit TensorTreeModel(QObject* parent = nullptr);

  struct Mark {
    TreeMark mark = TreeMark::None;
    QString text;
  };
  void setTree(std::shared_ptr<const TensorTree> tree);
  // What was found in the values of tensors, by name, beside the marks of the tree itself.
  void setMarks(QHash<QString, Mark> marks);
  [[nodiscard]] Mark markOf(const TensorItem& item) const;
  // Empty: everything. "/.../" is a regular expression; anything else is text, upper and lower case alike.
  // Says why the expression is wrong; empty: it is fine.
  QString setFilter(const QString& filter);
  [[nodiscard]] int shownTensors() const { return m_shown; }
  [[nodiscard]] QModelIndex indexOf(const std::string& tensor) const;  // invalid when it is filtered away
  [[nodiscard]] QString tensorAt(const QModelIndex& index) const;      // empty for modules

  [[nodiscard]] QModelIndex index(int row, int column, const QModelIndex& parent = {}) const override;
  [[nodiscard]] QModelIndex parent(const QModelIndex& index) const override;
  [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;
  [[nodiscard]] Qt::ItemFlags flags(const QModelIndex& index) const override;
  void sort(int column, Qt::SortOrder order = Qt::AscendingOrder) override;

 private:
  void rebuild();
  [[nodiscard]] QVariant text(const TensorNode& node, int column) const;
  [[nodiscard]] QVariant toolTip(const TensorNode& node) const;

  std::shared_ptr<const TensorTree> m_tree;
  QHash<QString, Mark> m_marks;
  QString m_filter;
  int m_sortColumn = -1, m_shown = 0;
  Qt::SortOrder m_order = Qt::AscendingOrder;
  // By node: the shown ones, in order. All in one array, for there are a hundred thousand.
  [[nodiscard]] std::span<const int> childrenOf(std::size_t node) const {
    return std::span(m_children).subspan(m_firstChild[node], m_firstChild[node + 1] - m_firstChild[node]);
  }
  std::vector<int> m_children;
  std::vector<std::size_t> m_firstChild;
  std::vector<int> m_rowOf;  // by node: place among its siblings
};

}  // namespace nibble
