// SPDX-License-Identifier: GPL-3.0-or-later
// What is shown while nothing is open: ways to open something, recent files, and the sample's weights under four settings. Asks for
// files through signals; the window opens them.
#pragma once
#include "ui/session/sample_preview.h"

#include <QWidget>
#include <vector>

class QLabel;
class QTableView;

namespace nibble {

class CardButton;
class RecentFiles;
class RecentModel;
class Session;
class SparkLevels;

class StartPage : public QWidget {
  Q_OBJECT
 public:
  StartPage(Session& session, RecentFiles& recent, QWidget* parent = nullptr);

 signals:
  void openFileRequested();
  void openFolderRequested();
  void openSampleRequested(const QString& choice);  // empty: as it is
  void openRequested(const QString& path);

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  struct Card {
    QWidget* panel;
    QLabel* title;
    QLabel* bpw;
    QLabel* sqnr;
    SparkLevels* plot;
    QString choice;
  };
  QWidget* buildCards();
  QWidget* buildRecent();
  void showRecent();
  QWidget* buildPreview();
  void showPreview(const SamplePreview& preview);
  void openCurrent();

  Session& m_session;
  RecentFiles& m_recent;
  RecentModel* m_model;
  QLabel* m_none;        // in the table's place while it is empty
  QLabel* m_recentKeys;  // what keys do in the table
  QTableView* m_table;
  CardButton* m_sample;
  QLabel* m_about;
  QLabel* m_cost;
  std::vector<Card> m_cards;
  class JobLane* m_lane;
};

}  // namespace nibble
