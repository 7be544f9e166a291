// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/tensor_tree_model.h"

#include "ui/theme/number_text.h"

#include <QRegularExpression>
#include <algorithm>
#include <array>
#include <numeric>

namespace nibble {

TensorTreeModel::TensorTreeModel(QObject* parent) : QAbstractItemModel(parent) {}

void TensorTreeModel::setTree(std::shared_ptr<const TensorTree> tree) {
  beginResetModel();
  m_tree = std::move(tree);
  rebuild();
  endResetModel();
}

void TensorTreeModel::setMarks(QHash<QString, Mark> marks) {
  m_marks = std::move(marks);
  if (rowCount() > 0) emit dataChanged(index(0, 0), index(rowCount() - 1, ColumnCount - 1), {MarkRole});
}

TensorTreeModel::Mark TensorTreeModel::markOf(const TensorItem& item) const {
  Mark mark{item.mark, QString::fromStdString(item.markText)};
  const auto found = m_marks.find(QString::fromStdString(item.name));
  if (found == m_marks.end()) return mark;
  mark.mark = std::max(mark.mark, found->mark);
  mark.text += (mark.text.isEmpty() ? "" : "\n") + found->text;
  return mark;
}

namespace {

bool isExpression(const QString& filter) { return filter.size() >= 2 && filter.startsWith('/') && filter.endsWith('/'); }

// Of ASCII letters. A table: names have millions of characters, and a filter is typed.
constexpr auto lowerOf = [] {
  std::array<char, 256> table{};
  for (std::size_t c = 0; c < table.size(); ++c) table[c] = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return table;
}();
char lower(char c) { return lowerOf[static_cast<unsigned char>(c)]; }

bool containsText(const std::string& name, const std::string& lowered) {
  const auto equal = [](char one, char other) { return lower(one) == other; };
  return std::search(name.begin(), name.end(), lowered.begin(), lowered.end(), equal) != name.end();
}

// Which tensors pass the filter.
std::vector<bool> matching(const std::vector<TensorItem>& items, const QString& filter) {
  std::vector<bool> passes(items.size(), true);
  if (filter.isEmpty()) return passes;
  if (isExpression(filter)) {
    const QRegularExpression expression(filter.mid(1, filter.size() - 2));
    for (std::size_t i = 0; i < items.size(); ++i) passes[i] = expression.match(QString::fromStdString(items[i].name)).hasMatch();
  } else {
    const std::string lowered = filter.toLower().toStdString();
    for (std::size_t i = 0; i < items.size(); ++i) passes[i] = containsText(items[i].name, lowered);
  }
  return passes;
}

std::uint64_t elements(const std::vector<std::uint64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::uint64_t{1}, std::multiplies<>());
}

}  // namespace

QString TensorTreeModel::setFilter(const QString& filter) {
  if (isExpression(filter)) {
    const QRegularExpression expression(filter.mid(1, filter.size() - 2));
    if (!expression.isValid())
      return tr("%1, at character %2").arg(expression.errorString()).arg(expression.patternErrorOffset() + 1);
  }
  if (filter == m_filter) return {};
  beginResetModel();
  m_filter = filter;
  rebuild();
  endResetModel();
  return {};
}

void TensorTreeModel::sort(int column, Qt::SortOrder order) {
  emit layoutAboutToBeChanged();
  const QModelIndexList before = persistentIndexList();
  m_sortColumn = column;
  m_order = order;
  rebuild();
  QModelIndexList after;
  for (const auto& old : before) {
    const int node = static_cast<int>(old.internalId());
    after << createIndex(m_rowOf[node], old.column(), old.internalId());
  }
  changePersistentIndexList(before, after);
  emit layoutChanged();
}

void TensorTreeModel::rebuild() {
  m_children.clear();
  m_firstChild.clear();
  m_rowOf.clear();
  m_shown = 0;
  if (!m_tree) return;
  const auto& nodes = m_tree->nodes();
  const auto passes = matching(m_tree->items(), m_filter);
  std::vector<bool> shown(nodes.size(), false);
  for (std::size_t i = nodes.size(); i-- > 1;) {
    if (nodes[i].item < 0 || !passes[nodes[i].item]) continue;
    ++m_shown;
    for (int up = static_cast<int>(i); up >= 0 && !shown[up]; up = nodes[up].parent) shown[up] = true;
  }
  m_children.reserve(nodes.size());
  m_firstChild.reserve(nodes.size() + 1);
  m_rowOf.assign(nodes.size(), 0);
  const auto less = [&](int a, int b) {
    const auto& one = nodes[a];
    const auto& other = nodes[b];
    const TensorItem* oneItem = one.item < 0 ? nullptr : &m_tree->items()[one.item];
    const TensorItem* otherItem = other.item < 0 ? nullptr : &m_tree->items()[other.item];
    switch (m_sortColumn) {
      case Type: return (oneItem ? oneItem->type : std::string()) < (otherItem ? otherItem->type : std::string());
      case ShapeColumn: return (oneItem ? elements(oneItem->shape) : 0) < (otherItem ? elements(otherItem->shape) : 0);
      case Size: return one.sizeBytes < other.sizeBytes;
      default: return one.label < other.label;
    }
  };
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    m_firstChild.push_back(m_children.size());
    if (i != 0 && !shown[i]) continue;
    for (const int child : nodes[i].children)
      if (shown[child]) m_children.push_back(child);
    const auto children = std::span(m_children).subspan(m_firstChild.back());
    if (m_sortColumn >= 0 && children.size() > 1) {
      if (m_order == Qt::AscendingOrder) std::stable_sort(children.begin(), children.end(), less);
      else std::stable_sort(children.begin(), children.end(), [&](int a, int b) { return less(b, a); });
    }
    for (std::size_t row = 0; row < children.size(); ++row) m_rowOf[children[row]] = static_cast<int>(row);
  }
  m_firstChild.push_back(m_children.size());
}

QModelIndex TensorTreeModel::index(int row, int column, const QModelIndex& parent) const {
  if (!hasIndex(row, column, parent)) return {};
  const int node = parent.isValid() ? static_cast<int>(parent.internalId()) : 0;
  return createIndex(row, column, static_cast<quintptr>(childrenOf(node)[row]));
}

QModelIndex TensorTreeModel::parent(const QModelIndex& index) const {
  if (!index.isValid()) return {};
  const int up = m_tree->nodes()[index.internalId()].parent;
  return up <= 0 ? QModelIndex() : createIndex(m_rowOf[up], 0, static_cast<quintptr>(up));
}

int TensorTreeModel::rowCount(const QModelIndex& parent) const {
  if (!m_tree || parent.column() > 0) return 0;
  return static_cast<int>(childrenOf(parent.isValid() ? parent.internalId() : 0).size());
}

int TensorTreeModel::columnCount(const QModelIndex&) const { return ColumnCount; }

QModelIndex TensorTreeModel::indexOf(const std::string& tensor) const {
  const int node = m_tree ? m_tree->nodeOf(tensor) : -1;
  if (node < 0) return {};
  const auto siblings = childrenOf(m_tree->nodes()[node].parent);
  const auto row = static_cast<std::size_t>(m_rowOf[node]);
  if (row >= siblings.size() || siblings[row] != node) return {};
  return createIndex(m_rowOf[node], 0, static_cast<quintptr>(node));
}

QString TensorTreeModel::tensorAt(const QModelIndex& index) const {
  if (!index.isValid() || !m_tree) return {};
  const int item = m_tree->nodes()[index.internalId()].item;
  return item < 0 ? QString() : QString::fromStdString(m_tree->items()[item].name);
}

QVariant TensorTreeModel::text(const TensorNode& node, int column) const {
  if (column == Name) return QString::fromStdString(node.label);
  if (column == Size) return formatSize(node.sizeBytes);
  if (node.item < 0) return {};
  const auto& item = m_tree->items()[node.item];
  if (column == Type) return QString::fromStdString(item.type);
  QStringList sides;
  for (const auto side : item.shape) sides << QString::number(side);
  return sides.isEmpty() ? tr("scalar") : sides.join(QChar(0x00D7));
}

QVariant TensorTreeModel::toolTip(const TensorNode& node) const {
  if (node.item < 0) return tr("%1, %2").arg(QString::fromStdString(node.label), formatSize(node.sizeBytes));
  const auto& item = m_tree->items()[node.item];
  QString tip = tr("%1\n%2, %3, %4").arg(QString::fromStdString(item.name), QString::fromStdString(item.type),
                                         formatShape(item.shape), formatSize(item.sizeBytes));
  if (const auto mark = markOf(item); !mark.text.isEmpty()) tip += "\n" + mark.text;
  return tip;
}

QVariant TensorTreeModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const auto& node = m_tree->nodes()[index.internalId()];
  switch (role) {
    case Qt::DisplayRole: return text(node, index.column());
    case Qt::ToolTipRole: return toolTip(node);
    case Qt::TextAlignmentRole:
      return QVariant(Qt::AlignVCenter | (index.column() >= ShapeColumn ? Qt::AlignRight : Qt::AlignLeft));
    case Qt::AccessibleTextRole:
      return index.column() == Name ? toolTip(node) : text(node, index.column());
    case TensorRole: return tensorAt(index);
    case MarkRole:
      return node.item < 0 ? 0 : static_cast<int>(markOf(m_tree->items()[node.item]).mark);
    default: return {};
  }
}

QVariant TensorTreeModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  if (role == Qt::TextAlignmentRole) return QVariant(Qt::AlignVCenter | (section >= ShapeColumn ? Qt::AlignRight : Qt::AlignLeft));
  if (role != Qt::DisplayRole) return {};
  switch (section) {
    case Name: return tr("Name");
    case Type: return tr("Type");
    case ShapeColumn: return tr("Shape");
    case Size: return tr("Size");
    default: return {};
  }
}

Qt::ItemFlags TensorTreeModel::flags(const QModelIndex& index) const {
  if (!index.isValid()) return Qt::NoItemFlags;
  Qt::ItemFlags flags = Qt::ItemIsEnabled | Qt::ItemIsSelectable;
  if (m_tree->nodes()[index.internalId()].item >= 0) flags |= Qt::ItemNeverHasChildren;
  return flags;
}

}  // namespace nibble
