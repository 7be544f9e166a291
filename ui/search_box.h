// SPDX-License-Identifier: GPL-3.0-or-later
// Ctrl+K: goes to a tensor, takes a scheme or runs a command by a part of its name. Matches are found as one types, at most forty.
#pragma once
#include <QLineEdit>
#include <functional>
#include <vector>

class QAction;
class QCompleter;
class QStringListModel;

namespace nibble {

class Session;

class SearchBox : public QLineEdit {
  Q_OBJECT
 public:
  explicit SearchBox(Session& session, QWidget* parent = nullptr);
  void setCommands(const QList<QAction*>& commands) { m_commands = commands; }

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  struct Match {
    QString text;
    std::function<void()> take;
  };
  void find(const QString& text);
  void take(const QString& text);
  void addTensors(const QString& text);
  void addSchemes(const QString& text);
  void addCommands(const QString& text);

  Session& m_session;
  QList<QAction*> m_commands;
  std::vector<Match> m_matches;
  QStringListModel* m_list;
  QCompleter* m_completer;
};

}  // namespace nibble
