// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/recent_model.h"

#include "ui/models/table_roles.h"
#include "ui/theme/number_text.h"

namespace nibble {

void RecentModel::setFiles(std::vector<RecentFile> files) {
  beginResetModel();
  m_files = std::move(files);
  endResetModel();
}

int RecentModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(m_files.size()); }
int RecentModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

QVariant RecentModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const auto& file = m_files[static_cast<std::size_t>(index.row())];
  if (role == Qt::ToolTipRole) return file.path;
  if (role == ToneRole) return static_cast<int>(index.column() == Name ? Tone::Normal : Tone::Quiet);
  if (role == IconNameRole && index.column() == Name) return file.folder ? "open-folder" : "open-file";
  if (role == Qt::TextAlignmentRole) return QVariant(Qt::AlignVCenter | (index.column() >= Tensors ? Qt::AlignRight : Qt::AlignLeft));
  if (role != Qt::DisplayRole) return {};
  switch (index.column()) {
    case Name: return file.name();
    case Folder: return file.parentName();
    case Format: return file.format;
    case Tensors: return formatCount(file.tensors);
    case Size: return formatSize(file.sizeBytes);
    default: return {};
  }
}

QVariant RecentModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  if (role == Qt::TextAlignmentRole) return QVariant(Qt::AlignVCenter | (section >= Tensors ? Qt::AlignRight : Qt::AlignLeft));
  if (role != Qt::DisplayRole) return {};
  switch (section) {
    case Name: return tr("Name");
    case Folder: return tr("Folder");
    case Format: return tr("Format");
    case Tensors: return tr("Tensors");
    case Size: return tr("Size");
    default: return {};
  }
}

}  // namespace nibble
