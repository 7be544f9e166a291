// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/forms/scheme_combo.h"

#include "core/run/near_size.h"
#include "ui/theme/theme.h"

#include <QAbstractItemView>
#include <QPainter>
#include <QSignalBlocker>
#include <QStandardItemModel>
#include <QStyledItemDelegate>
#include <algorithm>

namespace nibble {
namespace {

constexpr int idRole = Qt::UserRole, hintRole = Qt::UserRole + 1, headerRole = Qt::UserRole + 2;
constexpr int rowHeight = 22, nameWidth = 96, popupWidth = 460;

QString string(std::string_view text) {
  return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size()));
}

// A heading, or the name with its hint beside it.
class SchemeDelegate : public QStyledItemDelegate {
 public:
  using QStyledItemDelegate::QStyledItemDelegate;
  QSize sizeHint(const QStyleOptionViewItem&, const QModelIndex&) const override { return {popupWidth, rowHeight}; }
  void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override {
    const Theme& theme = themeOf(option.widget);
    const bool header = index.data(headerRole).toBool(), enabled = (index.flags() & Qt::ItemIsEnabled) != 0;
    painter->fillRect(option.rect, header                                         ? theme.sunken
                                   : (option.state & QStyle::State_Selected) != 0 ? theme.accentSoft
                                                                                  : theme.panel);
    QRect place = option.rect.adjusted(8, 0, -8, 0);
    painter->setFont(header ? fonts::boldHint() : fonts::body());
    painter->setPen(header ? theme.text2 : enabled ? theme.text : theme.text3);
    if (header) return painter->drawText(place, Qt::AlignLeft | Qt::AlignVCenter, index.data().toString());
    const auto mark = index.data(Qt::DecorationRole).value<QIcon>();
    mark.paint(painter, QRect(place.left(), place.top() + (place.height() - 16) / 2, 16, 16), Qt::AlignCenter,
               enabled ? QIcon::Normal : QIcon::Disabled);
    place.adjust(24, 0, 0, 0);
    painter->drawText(place, Qt::AlignLeft | Qt::AlignVCenter, index.data().toString());
    const int width = std::max(nameWidth, QFontMetrics(painter->font()).horizontalAdvance(index.data().toString()) + 12);
    place.adjust(width, 0, 0, 0);
    painter->setFont(fonts::hint());
    painter->setPen(enabled ? theme.text2 : theme.text3);
    painter->drawText(place, Qt::AlignLeft | Qt::AlignVCenter,
                      QFontMetrics(painter->font()).elidedText(index.data(hintRole).toString(), Qt::ElideRight, place.width()));
  }
};

QStandardItem* heading(const QString& text) {
  auto* item = new QStandardItem(text);
  item->setFlags(Qt::NoItemFlags);
  item->setData(true, headerRole);
  return item;
}

QStandardItem* entry(const QIcon& mark, const QString& text, const QString& id, const QString& hint) {
  auto* item = new QStandardItem(mark, text);
  item->setData(id, idRole);
  item->setData(hint, hintRole);
  item->setToolTip(hint);
  item->setData(QObject::tr("%1: %2").arg(text, hint), Qt::AccessibleTextRole);
  return item;
}

}  // namespace

SchemeCombo::SchemeCombo(QWidget* parent) : QComboBox(parent) {
  setObjectName("schemeCombo");
  setModel(new QStandardItemModel(this));
  setItemDelegate(new SchemeDelegate(this));
  setMaxVisibleItems(24);
  // A list with a scroll bar: the other kind grows to the screen's height and cuts the last row of so long a list.
  setStyleSheet("QComboBox { combobox-popup: 0; }");
  view()->setMinimumWidth(popupWidth);
  view()->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  fill();
  connect(this, &QComboBox::activated, this, [this](int index) {
    const QString id = itemData(index, idRole).toString();
    if (id.isEmpty()) return emit storedChosen();
    if (const Scheme* scheme = findScheme(id.toStdString())) emit schemeChosen(scheme);
  });
}

void SchemeCombo::setMatrix(std::optional<MatrixSize> size, const QString& stored) {
  const bool same =
      size.has_value() == m_size.has_value() && (!size || (size->rows == m_size->rows && size->columns == m_size->columns));
  if (same && stored == m_stored) return;
  m_size = size;
  m_stored = stored;
  fill();
}

void SchemeCombo::fill() {
  const QSignalBlocker block(this);
  const QString shown = currentData(idRole).toString();
  auto* list = qobject_cast<QStandardItemModel*>(model());
  list->clear();
  if (!m_stored.isEmpty()) list->appendRow(entry({}, tr("as stored"), {}, m_stored));
  std::vector<Family> families;
  for (const Scheme* scheme : allSchemes())
    if (std::find(families.begin(), families.end(), scheme->info().family) == families.end())
      families.push_back(scheme->info().family);
  std::sort(families.begin(), families.end());
  for (const Family family : families) {
    QString title = string(name(family));
    title[0] = title[0].toUpper();
    list->appendRow(heading(title));
    for (const Scheme* scheme : allSchemes()) {
      const auto& info = scheme->info();
      if (info.family != family) continue;
      auto* item = entry(familyIcon(family), string(info.id), string(info.id), string(info.summary));
      if (m_size && !fittingChoice(*scheme, *m_size)) {
        const auto reason = string(Choice(*scheme).refusal(*m_size).value_or(""));
        item->setData(reason, hintRole);
        item->setToolTip(reason);
        item->setFlags(Qt::NoItemFlags);
      }
      list->appendRow(item);
    }
  }
  setCurrentIndex(findData(shown, idRole));
}

void SchemeCombo::showScheme(const Scheme& scheme) {
  const QSignalBlocker block(this);
  setCurrentIndex(findData(string(scheme.info().id), idRole));
}

void SchemeCombo::showStored() {
  const QSignalBlocker block(this);
  setCurrentIndex(0);
}

}  // namespace nibble
