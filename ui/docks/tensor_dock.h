// SPDX-License-Identifier: GPL-3.0-or-later
// The tensors of the open file: filter, tree by module, and a footer with counts and findings. Selecting changes the session's
// tensor; several may be selected (for export). Type and shape hide while the dock is narrow; they stand in the tooltip.
#pragma once
#include <QDockWidget>

class QLabel;
class QLineEdit;
class QTreeView;

namespace nibble {

class DockHeader;
class Session;
class TensorTreeModel;
struct SessionState;

class TensorDock : public QDockWidget {
  Q_OBJECT
 public:
  explicit TensorDock(Session& session, QWidget* parent = nullptr);
  void focusFilter();
  void focusTree();

 protected:
  void resizeEvent(QResizeEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  void buildTree();
  void follow(const SessionState& before);
  void showFile();
  void showSelection();
  void applyFilter(const QString& filter);
  void selectionChanged();
  void expandSome();
  void fitColumns();
  void showCounts();
  void showMarks();

  Session& m_session;
  DockHeader* m_header;
  QLineEdit* m_filter;
  QLabel* m_problem;
  QTreeView* m_tree;
  QLabel* m_counts;
  QLabel* m_marks;
  TensorTreeModel* m_model;
  bool m_following = false;  // the tree follows the session: its signals are not a wish
};

}  // namespace nibble
