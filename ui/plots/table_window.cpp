// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/plots/table_window.h"

#include "ui/theme/theme.h"

#include <QHeaderView>
#include <QLocale>
#include <QTableView>
#include <QVBoxLayout>

namespace nibble {

DataTableModel::DataTableModel(DataTable table, QObject* parent) : QAbstractTableModel(parent), m_table(std::move(table)) {}

int DataTableModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(m_table.rows.size());
}

int DataTableModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(m_table.headers.size());
}

QVariant DataTableModel::data(const QModelIndex& index, int role) const {
  const QVariantList& row = m_table.rows[static_cast<std::size_t>(index.row())];
  if (index.column() >= row.size()) return {};
  const QVariant& value = row[index.column()];
  const bool isText = value.typeId() == QMetaType::QString;
  if (role == Qt::TextAlignmentRole) return QVariant(Qt::AlignVCenter | (isText ? Qt::AlignLeft : Qt::AlignRight));
  if (role != Qt::DisplayRole) return {};
  return value.typeId() == QMetaType::Double ? QVariant(QLocale().toString(value.toDouble(), 'g', 9)) : value;
}

QVariant DataTableModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (role != Qt::DisplayRole) return {};
  return orientation == Qt::Horizontal ? QVariant(m_table.headers.value(section)) : QVariant(section + 1);
}

TableWindow::TableWindow(const QString& title, DataTable table, QWidget* parent) : QDialog(parent) {
  setObjectName(QStringLiteral("dataTableWindow"));
  setWindowTitle(title);
  resize(480, 420);
  auto* view = new QTableView(this);
  view->setObjectName(QStringLiteral("dataTable"));
  view->setAccessibleName(title);
  view->setModel(new DataTableModel(std::move(table), view));
  view->setAlternatingRowColors(true);
  view->setShowGrid(false);
  view->verticalHeader()->setDefaultSectionSize(sizes::tableRow);
  auto* layout = new QVBoxLayout(this);
  layout->addWidget(view);
}

}  // namespace nibble
