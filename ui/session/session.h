// SPDX-License-Identifier: GPL-3.0-or-later
// What is open and chosen. Views read state() and ask for changes through edit(); every change is one undo step or part of one
// (slider drags and repeated moves of one kind merge while they follow each other within a second). Results follow from the state:
// explorer() has those of the current tensor and choice, errorStudy() what Explore shows of its errors beside, comparer() those of the candidates, differ() those of two files, activations() of the layer with inputs, exporter() pre-flight and export.
// Only these call core's run and export. GUI thread; the work itself runs in job lanes.
#pragma once
#include "ui/session/job_lane.h"
#include "ui/session/session_state.h"

#include <QFileSystemWatcher>
#include <QObject>
#include <QUndoStack>
#include <functional>

namespace nibble {

class Activations;
class Explorer;
class Comparer;
class Differ;
class ErrorStudy;
class Exporter;
class Linter;
class Trainer;
struct SessionFile;

class Session : public QObject {
  Q_OBJECT
 public:
  explicit Session(QObject* parent = nullptr);
  ~Session() override;

  [[nodiscard]] const SessionState& state() const { return m_state; }
  [[nodiscard]] QUndoStack& history() { return m_history; }
  // `what` names the step in the Edit menu; steps with the same non-empty `mergeKey` that follow each other closely become one.
  void edit(const QString& what, const QString& mergeKey, const std::function<void(SessionState&)>& change);
  [[nodiscard]] const kernels::Backend& backend() const;

  void open(const QString& path);
  void openWith(const QString& path, const std::function<void(SessionState&)>& more);  // one undo step for both
  void reload();                          // the open file, from disk, keeping what is chosen
  void openSession(const QString& path);  // a .nibble file
  [[nodiscard]] Status saveSession(const QString& path) const;

  [[nodiscard]] Explorer& explorer() { return *m_explorer; }
  [[nodiscard]] ErrorStudy& errorStudy() { return *m_errorStudy; }
  [[nodiscard]] Comparer& comparer() { return *m_comparer; }
  [[nodiscard]] Activations& activations() { return *m_activations; }
  [[nodiscard]] Differ& differ() { return *m_differ; }
  [[nodiscard]] Exporter& exporter() { return *m_exporter; }
  [[nodiscard]] Trainer& trainer() { return *m_trainer; }
  [[nodiscard]] Linter& linter() { return *m_linter; }
  [[nodiscard]] JobLane& opening() { return m_opening; }

 signals:
  void changed(const nibble::SessionState& before);
  void opened(const QString& path);
  void problem(const QString& message);  // something that belongs to no view: a file that does not open
  void fileChangedOnDisk();

 private:
  friend class StateCommand;
  void apply(const SessionState& state);
  void fileOpened(Result<std::shared_ptr<const OpenedFile>> file, const QString& what,
                  const std::function<void(SessionState&)>& more);
  void watch();

  SessionState m_state;
  QUndoStack m_history;
  JobLane m_opening{JobLane::Policy::Newest};
  QFileSystemWatcher m_watcher;
  std::unique_ptr<Explorer> m_explorer;
  std::unique_ptr<ErrorStudy> m_errorStudy;
  std::unique_ptr<Comparer> m_comparer;
  std::unique_ptr<Differ> m_differ;
  std::unique_ptr<Activations> m_activations;
  std::unique_ptr<Exporter> m_exporter;
  std::unique_ptr<Linter> m_linter;
  std::unique_ptr<Trainer> m_trainer;
};

}  // namespace nibble
