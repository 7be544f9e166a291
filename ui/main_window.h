// SPDX-License-Identifier: GPL-3.0-or-later
// The window: menus, search, page tabs, docks, status line. Opens what is dropped, named or chosen; keeps its layout, the recent
// files and the theme in the settings it is given. Everything it changes goes through the session.
#pragma once
#include "ui/session/recent_files.h"
#include "ui/session/session_state.h"

#include <QMainWindow>

class QActionGroup;
class QMenuBar;
class QSettings;
class QStackedWidget;
class QTabBar;

namespace nibble {

class ComparePage;
class ExportPage;
class MessageBar;
class SchemeDock;
class SearchBox;
class Session;
class StartPage;
class StatusLine;
class TensorDock;
class TrainPage;

class MainWindow : public QMainWindow {
  Q_OBJECT
 public:
  MainWindow(Session& session, QSettings& settings);
  ~MainWindow() override;
  // A checkpoint or a session file.
  void open(const QString& path);
  void openSample(const QString& choice = {});
  void setThemeOverride(const QString& theme);  // "system", "light" or "dark"; remembered

 protected:
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dropEvent(QDropEvent* event) override;
  void closeEvent(QCloseEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  void buildCentre();
  void buildPages();
  void addPage(QWidget* page, const QString& iconName, const QString& name);  // in the order of Page
  void buildMenus();
  void buildFileMenu();
  void buildEditMenu();
  void buildViewMenu();
  void buildRunMenu();
  void buildHelpMenu();
  QAction* add(QMenu* menu, const QString& objectName, const QString& text, const QKeySequence& keys, std::function<void()> act);
  void connectSession();
  void followSession(const SessionState& before);
  void showPage();
  void fillRecent();
  void askFile();
  void askFolderToOpen();
  void saveSession(bool askName);
  void closeFile();
  void restoreLayout();
  void resetLayout();
  void fitDocks();
  void applyThemeNow();
  void showShortcuts();
  void showAbout();
  void copyCommand();

  Session& m_session;
  QSettings& m_settings;
  RecentFiles m_recent;
  QString m_theme = "system", m_sessionPath;
  bool m_applyingTheme = false;
  QTabBar* m_tabs = nullptr;
  QStackedWidget* m_whole = nullptr;   // start page or pages
  QStackedWidget* m_pages = nullptr;
  MessageBar* m_problem = nullptr;
  MessageBar* m_changedOnDisk = nullptr;
  StartPage* m_start = nullptr;
  ComparePage* m_compare = nullptr;
  TrainPage* m_train = nullptr;
  ExportPage* m_export = nullptr;
  TensorDock* m_tensorDock = nullptr;
  SchemeDock* m_schemeDock = nullptr;
  StatusLine* m_status = nullptr;
  SearchBox* m_search = nullptr;
  QMenuBar* m_menuBar = nullptr;
  QMenu* m_recentMenu = nullptr;
  QActionGroup* m_themes = nullptr;
  std::vector<QAction*> m_fileActions;  // enabled while a file is open
};

}  // namespace nibble
