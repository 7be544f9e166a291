// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/search_box.h"

#include "ui/session/session.h"
#include "ui/theme/icons.h"
#include "ui/theme/theme.h"

#include <QAbstractItemView>
#include <QAction>
#include <QCompleter>
#include <QKeyEvent>
#include <QPainter>
#include <QStringListModel>

namespace nibble {

namespace {
constexpr std::size_t matchesMost = 40, tensorsMost = 24;
}

SearchBox::SearchBox(Session& session, QWidget* parent)
    : QLineEdit(parent), m_session(session), m_list(new QStringListModel(this)), m_completer(new QCompleter(m_list, this)) {
  setObjectName("searchBox");
  setAccessibleName(tr("Search tensors, schemes and commands"));
  setPlaceholderText(tr("Tensor, scheme or command"));
  addAction(icon("search", &Theme::text2), QLineEdit::LeadingPosition);
  setFixedSize(284, 24);
  setTextMargins(0, 0, 48, 0);
  m_completer->setCompletionMode(QCompleter::UnfilteredPopupCompletion);
  m_completer->setWidget(this);
  m_completer->setMaxVisibleItems(14);
  m_completer->popup()->setObjectName("searchPopup");
  connect(this, &QLineEdit::textEdited, this, &SearchBox::find);
  connect(m_completer, qOverload<const QString&>(&QCompleter::activated), this, &SearchBox::take);
  connect(this, &QLineEdit::returnPressed, this, [this] {
    if (!m_matches.empty()) take(m_matches.front().text);
  });
}

void SearchBox::paintEvent(QPaintEvent* event) {
  QLineEdit::paintEvent(event);
  if (!text().isEmpty()) return;
  QPainter painter(this);
  painter.setFont(fonts::hint());
  painter.setPen(themeOf(this).text2);
  painter.drawText(rect().adjusted(0, 0, -8, 0), Qt::AlignVCenter | Qt::AlignRight, QKeySequence("Ctrl+K").toString(QKeySequence::NativeText));
}

void SearchBox::keyPressEvent(QKeyEvent* event) {
  if (event->key() == Qt::Key_Escape) clear();
  QLineEdit::keyPressEvent(event);
}

void SearchBox::addTensors(const QString& text) {
  const auto& file = m_session.state().file;
  if (!file) return;
  for (const auto& item : file->tree->items()) {
    if (m_matches.size() >= tensorsMost) return;
    const QString name = QString::fromStdString(item.name);
    if (!name.contains(text, Qt::CaseInsensitive)) continue;
    m_matches.push_back({name, [this, name] {
      m_session.edit(tr("Select %1").arg(name), "tensor", [&](SessionState& state) {
        state.tensor = name.toStdString();
        state.selection = {state.tensor};
        state.cell.reset();
        state.whatIf.reset();
      });
    }});
  }
}

void SearchBox::addSchemes(const QString& text) {
  const auto take = [this](const Choice& choice) {
    m_session.edit(tr("Scheme %1").arg(QString::fromStdString(choice.shortText())), {}, [&](SessionState& state) {
      state.choose(choice);
    });
  };
  if (const auto typed = Choice::parse(text.trimmed().toStdString()); typed && text.contains(':'))
    m_matches.push_back({tr("Scheme %1").arg(QString::fromStdString(typed->shortText())), [take, choice = *typed] { take(choice); }});
  for (const Scheme* scheme : allSchemes()) {
    const QString name = QString::fromUtf8(scheme->info().id.data(), static_cast<int>(scheme->info().id.size()));
    if (name.contains(text, Qt::CaseInsensitive)) m_matches.push_back({tr("Scheme %1").arg(name), [take, scheme] { take(Choice(*scheme)); }});
  }
}

void SearchBox::addCommands(const QString& text) {
  for (QAction* action : m_commands) {
    const QString name = action->text().remove('&').remove("...");
    if (action->isEnabled() && name.contains(text, Qt::CaseInsensitive))
      m_matches.push_back({action->shortcut().isEmpty() ? name : QString("%1    %2").arg(name, action->shortcut().toString(QKeySequence::NativeText)),
                           [action] { action->trigger(); }});
  }
}

void SearchBox::find(const QString& text) {
  m_matches.clear();
  if (!text.trimmed().isEmpty()) {
    addSchemes(text);
    addTensors(text);
    addCommands(text);
  }
  if (m_matches.size() > matchesMost) m_matches.resize(matchesMost);
  QStringList list;
  for (const auto& match : m_matches) list << match.text;
  m_list->setStringList(list);
  if (list.isEmpty()) m_completer->popup()->hide();
  else m_completer->complete();
}

void SearchBox::take(const QString& text) {
  const auto matches = m_matches;
  for (const auto& match : matches) {
    if (match.text != text) continue;
    m_matches.clear();
    clear();
    clearFocus();
    match.take();
    return;
  }
}

}  // namespace nibble
