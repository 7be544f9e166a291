// SPDX-License-Identifier: GPL-3.0-or-later
// Compare, files: the open checkpoint (A) against a second one (B), tensor by tensor, the farthest apart first, and with a third as
// reference how far each is from it. Files are typed, chosen or left empty; a double click or Enter on a row opens A's tensor on
// Explore; the table can be copied and saved, the comparison copied as a command line.
#pragma once
#include <QWidget>

class QGridLayout;
class QLabel;
class QLineEdit;
class QStackedWidget;
class QTableView;

namespace nibble {

class DiffModel;
class Session;
struct SessionState;

class DiffView : public QWidget {
  Q_OBJECT
 public:
  explicit DiffView(Session& session, QWidget* parent = nullptr);
  [[nodiscard]] const DiffModel& model() const { return *m_model; }
  void askOther();  // a file for B

 protected:
  void resizeEvent(QResizeEvent* event) override;
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  QWidget* buildFiles();
  QWidget* buildTable();
  QLineEdit* addFile(QGridLayout* grid, int line, const QString& name, const QString& key, const QString& title);
  void setFile(const QString& key, const QString& path);
  void follow(const SessionState& before);
  void showFiles();
  void refresh();
  void showState();
  void hideColumns();
  void openTensor(const QModelIndex& index);
  void openInB(const QModelIndex& index);
  void openRowMenu(const QPoint& place);

  Session& m_session;
  DiffModel* m_model;
  QLabel* m_a;
  QLineEdit* m_other;
  QLineEdit* m_reference;
  QLabel* m_note;
  QStackedWidget* m_stack;
  QTableView* m_table;
  QLabel* m_empty;
  QLatin1String m_storedWidest;  // what the columns of stored types have room for
};

}  // namespace nibble
