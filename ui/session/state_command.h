// SPDX-License-Identifier: GPL-3.0-or-later
// The one kind of undo step: the whole state before and after. Steps with the same merge key within a second of each other become
// one, so that a slider drag is one step; a step that ends where it began disappears.
#pragma once
#include "ui/session/session.h"

#include <QElapsedTimer>
#include <QUndoCommand>

namespace nibble {

class StateCommand : public QUndoCommand {
 public:
  StateCommand(Session& session, const QString& what, QString mergeKey, SessionState before, SessionState after)
      : QUndoCommand(what), m_session(session), m_key(std::move(mergeKey)), m_before(std::move(before)), m_after(std::move(after)) {
    m_clock.start();
  }
  void undo() override { m_session.apply(m_before); }
  void redo() override { m_session.apply(m_after); }
  [[nodiscard]] int id() const override { return 1; }
  bool mergeWith(const QUndoCommand* other) override {
    const auto& next = static_cast<const StateCommand&>(*other);
    if (m_key.isEmpty() || next.m_key != m_key || m_clock.elapsed() > mergeMilliseconds) return false;
    m_after = next.m_after;
    m_clock.start();
    setObsolete(m_after == m_before);
    return true;
  }

 private:
  static constexpr qint64 mergeMilliseconds = 1000;
  Session& m_session;
  QString m_key;
  SessionState m_before, m_after;
  QElapsedTimer m_clock;
};

}  // namespace nibble
