// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/main_window.h"

#include "ui/docks/scheme_dock.h"
#include "ui/docks/tensor_dock.h"
#include "ui/forms/file_dialogs.h"
#include "ui/forms/message_bar.h"
#include "ui/pages/compare_page.h"
#include "ui/pages/explore_page.h"
#include "ui/pages/export_page.h"
#include "ui/pages/start_page.h"
#include "ui/pages/train_page.h"
#include "ui/search_box.h"
#include "ui/session/comparer.h"
#include "ui/session/session.h"
#include "ui/status_line.h"
#include "ui/theme/icons.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QDragEnterEvent>
#include <QMenuBar>
#include <QMimeData>
#include <QScrollArea>
#include <QSettings>
#include <QSignalBlocker>
#include <QStackedWidget>
#include <QTabBar>
#include <QVBoxLayout>

namespace nibble {

namespace {

constexpr int layoutVersion = 1;
constexpr int wideFrom = 1400;

QString pathOf(const QMimeData* data) {
  if (data == nullptr || !data->hasUrls()) return {};
  for (const auto& url : data->urls())
    if (url.isLocalFile()) return url.toLocalFile();
  return {};
}

// Small windows scroll the page, never the text of its plots.
QScrollArea* scrolled(QWidget* page) {
  auto* area = new QScrollArea;
  area->setObjectName(page->objectName() + "Scroll");
  area->setWidget(page);
  area->setWidgetResizable(true);
  area->setFrameShape(QFrame::NoFrame);
  area->setFocusPolicy(Qt::NoFocus);
  return area;
}

}  // namespace

MainWindow::MainWindow(Session& session, QSettings& settings) : m_session(session), m_settings(settings), m_recent(settings) {
  setObjectName("mainWindow");
  setWindowTitle("Nibblescope");
  setAcceptDrops(true);
  setMinimumSize(sizes::windowLeastWidth, sizes::windowLeastHeight);
  setDockNestingEnabled(false);
  setTabPosition(Qt::AllDockWidgetAreas, QTabWidget::North);
  m_theme = m_settings.value("theme", "system").toString();
  buildCentre();
  m_tensorDock = new TensorDock(session, this);
  m_schemeDock = new SchemeDock(session, this);
  addDockWidget(Qt::LeftDockWidgetArea, m_tensorDock);
  addDockWidget(Qt::RightDockWidgetArea, m_schemeDock);
  m_status = new StatusLine(session, this);
  setStatusBar(m_status);
  buildMenus();
  connectSession();
  applyThemeNow();
  restoreLayout();
  showPage();
}

MainWindow::~MainWindow() = default;

void MainWindow::buildCentre() {
  m_whole = new QStackedWidget;
  m_whole->setObjectName("centre");
  m_start = new StartPage(m_session, m_recent);
  auto* workspace = new QWidget;
  workspace->setObjectName("page");
  m_tabs = new QTabBar;
  m_tabs->setObjectName("pageTabs");
  m_tabs->setAccessibleName(tr("Pages"));
  m_tabs->setDrawBase(false);
  m_tabs->setExpanding(false);
  m_tabs->setIconSize(QSize(sizes::icon, sizes::icon));
  m_pages = new QStackedWidget;
  m_pages->setObjectName("pages");
  buildPages();
  auto* column = new QVBoxLayout(workspace);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  auto* tabLine = new QHBoxLayout;
  tabLine->setContentsMargins(sizes::gap, 0, 0, 0);
  tabLine->addWidget(m_tabs);
  tabLine->addStretch(1);
  column->addLayout(tabLine);
  auto* rule = new QFrame;
  rule->setProperty("look", "rule");
  rule->setFixedHeight(1);
  column->addWidget(rule);
  column->addWidget(m_pages, 1);
  m_whole->addWidget(scrolled(m_start));
  m_whole->addWidget(workspace);

  auto* centre = new QWidget;
  auto* outer = new QVBoxLayout(centre);
  outer->setContentsMargins(0, 0, 0, 0);
  outer->setSpacing(0);
  m_problem = new MessageBar("problemBar", MessageBar::Kind::Error);
  m_changedOnDisk = new MessageBar("reloadBar", MessageBar::Kind::Warning);
  outer->addWidget(m_problem);
  outer->addWidget(m_changedOnDisk);
  outer->addWidget(m_whole, 1);
  setCentralWidget(centre);
  connect(m_tabs, &QTabBar::currentChanged, this, [this](int index) {
    m_session.edit(tr("Show %1").arg(m_tabs->tabText(index)), "page", [&](SessionState& state) { state.page = static_cast<Page>(index); });
  });
  connect(m_start, &StartPage::openFileRequested, this, &MainWindow::askFile);
  connect(m_start, &StartPage::openFolderRequested, this, &MainWindow::askFolderToOpen);
  connect(m_start, &StartPage::openSampleRequested, this, &MainWindow::openSample);
  connect(m_start, &StartPage::openRequested, this, &MainWindow::open);
}

// A page is one line here, one in Page and one in the names of ui/session/session_text.cpp.
void MainWindow::buildPages() {
  addPage(new ExplorePage(m_session), "explore", tr("Explore"));
  addPage(m_compare = new ComparePage(m_session), "compare", tr("Compare"));
  addPage(m_train = new TrainPage(m_session), "train", tr("Train"));
  addPage(m_export = new ExportPage(m_session), "export", tr("Export"));
}

void MainWindow::addPage(QWidget* page, const QString& iconName, const QString& name) {
  m_tabs->addTab(icon(iconName), name);
  m_pages->addWidget(scrolled(page));
}

void MainWindow::connectSession() {
  connect(&m_session, &Session::changed, this, &MainWindow::followSession);
  connect(&m_session, &Session::problem, this, [this](const QString& message) { m_problem->showMessage(message); });
  connect(&m_session, &Session::opened, this, [this] {
    m_problem->hide();
    m_changedOnDisk->hide();
    if (!m_session.state().file) return;
    m_recent.add(*m_session.state().file);
    m_tensorDock->focusTree();
  });
  connect(&m_session, &Session::fileChangedOnDisk, this, [this] {
    const auto& file = m_session.state().file;
    if (!file) return;
    m_changedOnDisk->showMessage(tr("%1 changed on disk. What is shown may be out of date.").arg(QString::fromStdString(file->path.filename().string())),
                                 tr("Reload"), [this] { m_session.reload(); });
  });
  connect(&m_recent, &RecentFiles::changed, this, &MainWindow::fillRecent);
}

void MainWindow::followSession(const SessionState& before) {
  const auto& now = m_session.state();
  if (now.file != before.file) m_changedOnDisk->hide();
  if (now.file != before.file || now.page != before.page) showPage();
}

void MainWindow::showPage() {
  const auto& state = m_session.state();
  const bool open = state.file != nullptr;
  const bool wasOpen = m_whole->currentIndex() == 1;
  m_whole->setCurrentIndex(open ? 1 : 0);
  if (open != wasOpen || !open) {
    m_tensorDock->setVisible(open && !m_settings.value("tensorDockClosed").toBool());
    m_schemeDock->setVisible(open && !m_settings.value("schemeDockClosed").toBool());
    if (open) fitDocks();
  }
  m_pages->setCurrentIndex(static_cast<int>(state.page));
  const QSignalBlocker block(m_tabs);
  m_tabs->setCurrentIndex(static_cast<int>(state.page));
  for (auto* action : m_fileActions) action->setEnabled(open);
  setWindowTitle(open ? tr("%1 - Nibblescope").arg(QString::fromStdString(state.file->path.filename().string())) : "Nibblescope");
}

void MainWindow::open(const QString& path) {
  m_problem->hide();
  if (!path.endsWith(".nibble")) return m_session.open(path);
  m_sessionPath = path;
  m_session.openSession(path);
}

void MainWindow::openSample(const QString& choice) {
  const QString path = samplePath();
  if (path.isEmpty()) return m_problem->showMessage(tr("The sample is not installed."));
  m_session.openWith(path, [choice](SessionState& state) {
    for (const auto& item : state.file->tree->items())
      if (item.name.ends_with("attention.self.query.weight")) state.tensor = item.name;
    state.selection = {state.tensor};
    state.page = Page::Explore;
    if (const auto parsed = Choice::parse(choice.toStdString()); parsed && !choice.isEmpty()) state.choose(*parsed);
  });
}

void MainWindow::dragEnterEvent(QDragEnterEvent* event) {
  if (!pathOf(event->mimeData()).isEmpty()) event->acceptProposedAction();
}

void MainWindow::dropEvent(QDropEvent* event) {
  const QString path = pathOf(event->mimeData());
  if (path.isEmpty()) return;
  event->acceptProposedAction();
  open(path);
}

void MainWindow::restoreLayout() {
  resize(1440, 900);
  fitDocks();
  if (m_settings.contains("geometry")) restoreGeometry(m_settings.value("geometry").toByteArray());
  if (m_settings.contains("layout")) restoreState(m_settings.value("layout").toByteArray(), layoutVersion);
}

void MainWindow::resetLayout() {
  m_settings.remove("layout");
  m_settings.remove("tensorDockClosed");
  m_settings.remove("schemeDockClosed");
  addDockWidget(Qt::LeftDockWidgetArea, m_tensorDock);
  addDockWidget(Qt::RightDockWidgetArea, m_schemeDock);
  m_tensorDock->setVisible(m_session.state().file != nullptr);
  m_schemeDock->setVisible(m_session.state().file != nullptr);
  fitDocks();
}

void MainWindow::fitDocks() {
  const bool narrow = width() < wideFrom;
  resizeDocks({m_tensorDock, m_schemeDock},
              {narrow ? sizes::tensorDockLeast : sizes::tensorDock, narrow ? sizes::schemeDockLeast : sizes::schemeDock}, Qt::Horizontal);
}

void MainWindow::resizeEvent(QResizeEvent* event) {
  QMainWindow::resizeEvent(event);
  const bool was = event->oldSize().width() < wideFrom, is = event->size().width() < wideFrom;
  if (was != is || !event->oldSize().isValid()) fitDocks();
}

void MainWindow::closeEvent(QCloseEvent* event) {
  m_settings.setValue("geometry", saveGeometry());
  if (m_session.state().file) {
    m_settings.setValue("layout", saveState(layoutVersion));
    m_settings.setValue("tensorDockClosed", m_tensorDock->isHidden());
    m_settings.setValue("schemeDockClosed", m_schemeDock->isHidden());
  }
  QMainWindow::closeEvent(event);
}

void MainWindow::setThemeOverride(const QString& theme) {
  m_theme = theme;
  m_settings.setValue("theme", theme);
  applyThemeNow();
}

void MainWindow::applyThemeNow() {
  if (m_applyingTheme) return;
  m_applyingTheme = true;
  const bool dark = m_theme == "dark" || (m_theme == "system" && isDark(QApplication::palette()));
  applyTheme(*qApp, dark);
  m_applyingTheme = false;
}

void MainWindow::changeEvent(QEvent* event) {
  QMainWindow::changeEvent(event);
  if (m_applyingTheme || m_theme != "system" || m_tabs == nullptr) return;
  if (event->type() == QEvent::ThemeChange) {
    // Our own palette hides the system's: give it back for a moment to read it.
    m_applyingTheme = true;
    QApplication::setPalette(QPalette());
    m_applyingTheme = false;
    applyThemeNow();
  } else if (event->type() == QEvent::ApplicationPaletteChange && isDark(QApplication::palette()) != themeOf(this).dark) {
    applyThemeNow();
  }
}

}  // namespace nibble
