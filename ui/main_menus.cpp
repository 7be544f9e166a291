// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/docks/scheme_dock.h"
#include "ui/docks/tensor_dock.h"
#include "ui/forms/file_dialogs.h"
#include "ui/forms/message_bar.h"
#include "ui/main_window.h"
#include "ui/pages/beside_panel.h"
#include "ui/pages/compare_page.h"
#include "ui/pages/export_page.h"
#include "ui/search_box.h"
#include "ui/session/comparer.h"
#include "ui/session/explorer.h"
#include "ui/session/session.h"
#include "ui/session/session_text.h"
#include "ui/session/training.h"
#include "ui/status_line.h"
#include "ui/theme/icons.h"
#include "ui/theme/theme.h"

#include <QActionGroup>
#include <QApplication>
#include <QClipboard>
#include <QDialog>
#include <QHBoxLayout>
#include <QLabel>
#include <QMenuBar>
#include <QPushButton>
#include <QSettings>
#include <QTabBar>
#include <QVBoxLayout>
#include <array>

namespace nibble {

QAction* MainWindow::add(QMenu* menu, const QString& objectName, const QString& text, const QKeySequence& keys, std::function<void()> act) {
  auto* action = menu->addAction(text);
  action->setObjectName(objectName);
  action->setShortcut(keys);
  connect(action, &QAction::triggered, this, [act = std::move(act)] { act(); });
  addAction(action);
  return action;
}

void MainWindow::buildMenus() {
  // One row of our own: a corner widget of the menu bar would push menus into its extension.
  auto* row = new QFrame;
  row->setObjectName("menuRow");
  row->setFixedHeight(sizes::menuBar);
  m_menuBar = new QMenuBar;
  m_menuBar->setObjectName("menuBar");
  m_menuBar->setNativeMenuBar(false);
  buildFileMenu();
  buildEditMenu();
  buildViewMenu();
  buildRunMenu();
  buildHelpMenu();
  m_search = new SearchBox(m_session);
  m_search->setCommands(actions());
  auto* line = new QHBoxLayout(row);
  line->setContentsMargins(0, 0, sizes::gap, 0);
  line->addWidget(m_menuBar, 1);
  line->addWidget(m_search, 0, Qt::AlignVCenter);
  setMenuWidget(row);
}

void MainWindow::buildFileMenu() {
  auto* menu = m_menuBar->addMenu(tr("&File"));
  menu->setObjectName("fileMenu");
  add(menu, "actionOpenFile", tr("&Open file..."), QKeySequence("Ctrl+O"), [this] { askFile(); })->setIcon(icon("open-file"));
  add(menu, "actionOpenFolder", tr("Open &folder..."), QKeySequence("Ctrl+Shift+O"), [this] { askFolderToOpen(); })->setIcon(icon("open-folder"));
  add(menu, "actionOpenSample", tr("Open the &sample"), QKeySequence("Ctrl+Shift+S"), [this] { openSample(); })->setIcon(icon("sample"));
  m_recentMenu = menu->addMenu(tr("Open &recent"));
  m_recentMenu->setObjectName("recentMenu");
  fillRecent();
  menu->addSeparator();
  m_fileActions.push_back(add(menu, "actionReload", tr("Re&load from disk"), QKeySequence("F5"), [this] { m_session.reload(); }));
  m_fileActions.push_back(add(menu, "actionClose", tr("&Close"), QKeySequence("Ctrl+W"), [this] { closeFile(); }));
  m_fileActions.push_back(add(menu, "actionCompareFiles", tr("Co&mpare with a file..."), QKeySequence("Ctrl+D"), [this] { m_compare->compareFiles(); }));
  menu->addSeparator();
  add(menu, "actionOpenSession", tr("Open s&ession..."), QKeySequence("Ctrl+Alt+O"), [this] {
    askOpenFile(this, tr("Open a session"), tr("Sessions (*.nibble)"), [this](const QString& path) { open(path); });
  });
  m_fileActions.push_back(add(menu, "actionSaveSession", tr("&Save session"), QKeySequence("Ctrl+S"), [this] { saveSession(false); }));
  m_fileActions.push_back(add(menu, "actionSaveSessionAs", tr("Save session &as..."), QKeySequence("Ctrl+Alt+S"), [this] { saveSession(true); }));
  menu->addSeparator();
  add(menu, "actionQuit", tr("&Quit"), QKeySequence("Ctrl+Q"), [this] { close(); });
}

void MainWindow::buildEditMenu() {
  auto* menu = m_menuBar->addMenu(tr("&Edit"));
  menu->setObjectName("editMenu");
  auto* undo = m_session.history().createUndoAction(this, tr("&Undo"));
  undo->setObjectName("actionUndo");
  undo->setShortcut(QKeySequence("Ctrl+Z"));
  undo->setIcon(icon("undo"));
  auto* redo = m_session.history().createRedoAction(this, tr("&Redo"));
  redo->setObjectName("actionRedo");
  redo->setShortcuts({QKeySequence("Ctrl+Shift+Z"), QKeySequence("Ctrl+Y")});
  redo->setIcon(icon("redo"));
  menu->addActions({undo, redo});
  menu->addSeparator();
  m_fileActions.push_back(add(menu, "actionCopyCommand", tr("&Copy as command line"), QKeySequence("Ctrl+Shift+C"), [this] { copyCommand(); }));
  m_fileActions.push_back(add(menu, "actionCopyTable", tr("Copy the &table of candidates"), QKeySequence("Ctrl+Alt+C"), [this] { m_compare->copyTable(); }));
  menu->addSeparator();
  m_fileActions.push_back(add(menu, "actionFilter", tr("&Filter tensors"), QKeySequence("Ctrl+F"), [this] {
    m_tensorDock->show();
    m_tensorDock->focusFilter();
  }));
  add(menu, "actionSearch", tr("&Search"), QKeySequence("Ctrl+K"), [this] {
    m_search->setFocus(Qt::ShortcutFocusReason);
    m_search->selectAll();
  });
}

void MainWindow::buildViewMenu() {
  auto* menu = m_menuBar->addMenu(tr("&View"));
  menu->setObjectName("viewMenu");
  // 3 is kept for a page to come, between Compare and Train; until then it is another key of Export.
  const std::array<QList<QKeySequence>, 4> keys{{{QKeySequence("Ctrl+1")}, {QKeySequence("Ctrl+2")}, {QKeySequence("Ctrl+4")},
                                                 {QKeySequence("Ctrl+5"), QKeySequence("Ctrl+3")}}};
  for (int i = 0; i < m_tabs->count(); ++i)
    m_fileActions.push_back(add(menu, "actionPage" + QString::number(i + 1), m_tabs->tabText(i), {}, [this, i] {
      m_session.edit(tr("Change the page"), "page", [&](SessionState& state) { state.page = static_cast<Page>(i); });
    }));
  for (std::size_t i = 0; i < keys.size(); ++i) m_fileActions[m_fileActions.size() - keys.size() + i]->setShortcuts(keys[i]);
  menu->addSeparator();
  auto* tensors = m_tensorDock->toggleViewAction();
  tensors->setObjectName("actionTensorDock");
  auto* scheme = m_schemeDock->toggleViewAction();
  scheme->setObjectName("actionSchemeDock");
  menu->addActions({tensors, scheme});
  add(menu, "actionResetLayout", tr("&Reset the layout"), {}, [this] { resetLayout(); });
  menu->addSeparator();
  const auto pooling = [this](const std::string& mode) {
    m_session.edit(tr("Pool by %1").arg(QString::fromStdString(mode)), "view.matrix.pool", [&](SessionState& state) { state.view["matrix.pool"] = mode; });
  };
  m_fileActions.push_back(add(menu, "actionPoolMax", tr("Matrix: pool by the &largest"), {}, [pooling] { pooling("max"); }));
  m_fileActions.push_back(add(menu, "actionPoolMean", tr("Matrix: pool by the &mean"), {}, [pooling] { pooling("mean"); }));
  auto* beside = menu->addMenu(tr("&Beside the matrix"));
  beside->setObjectName("besideMenu");
  for (const auto& [view, title] : besideViews())
    m_fileActions.push_back(add(beside, "actionBeside_" + view, title, {}, [this, view] { showBeside(m_session, view); }));
  menu->addSeparator();
  auto* themes = menu->addMenu(tr("&Theme"));
  themes->setObjectName("themeMenu");
  m_themes = new QActionGroup(this);
  for (const auto& [id, name] : {std::pair("system", tr("&System")), std::pair("light", tr("&Light")), std::pair("dark", tr("&Dark"))}) {
    const QString theme = id;
    auto* action = add(themes, "actionTheme_" + theme, name, {}, [this, theme] { setThemeOverride(theme); });
    action->setCheckable(true);
    action->setChecked(theme == m_theme);
    m_themes->addAction(action);
  }
}

void MainWindow::buildRunMenu() {
  auto* menu = m_menuBar->addMenu(tr("&Run"));
  menu->setObjectName("runMenu");
  m_fileActions.push_back(add(menu, "actionAddCandidate", tr("&Add to Compare"), QKeySequence("Ctrl+Return"), [this] {
    const auto& state = m_session.state();
    if (state.choice && state.storedLayer() == nullptr) m_session.comparer().add({*state.choice}, tr("Add to Compare"));
  }));
  m_fileActions.push_back(add(menu, "actionBits", tr("Add &bits 2..8"), {}, [this] { m_compare->addBits(); }));
  m_fileActions.push_back(add(menu, "actionGroups", tr("Add &group sizes"), {}, [this] { m_compare->addGroups(); }));
  m_fileActions.push_back(add(menu, "actionNear", tr("Add every scheme &near this size"), {}, [this] { m_compare->addNear(); }));
  menu->addSeparator();
  m_fileActions.push_back(add(menu, "actionStartExport", tr("&Export"), QKeySequence("Ctrl+E"), [this] {
    if (m_session.state().page == Page::Export) return m_export->startExport();
    m_session.edit(tr("Change the page"), "page", [](SessionState& state) { state.page = Page::Export; });
  }));
  add(menu, "actionCancel", tr("&Cancel the running job"), QKeySequence("Ctrl+."), [this] { m_status->cancelJob(); });
  menu->addSeparator();
  menu->addMenu(m_status->backendMenu());
}

void MainWindow::buildHelpMenu() {
  auto* menu = m_menuBar->addMenu(tr("&Help"));
  menu->setObjectName("helpMenu");
  add(menu, "actionShortcuts", tr("&Keys"), QKeySequence("F1"), [this] { showShortcuts(); });
  add(menu, "actionAbout", tr("&About Nibblescope"), {}, [this] { showAbout(); });
}

void MainWindow::fillRecent() {
  m_recentMenu->clear();
  for (const auto& file : m_recent.files()) {
    auto* action = m_recentMenu->addAction(tr("%1 in %2").arg(file.name(), file.parentName()));
    action->setToolTip(file.path);
    connect(action, &QAction::triggered, this, [this, path = file.path] { open(path); });
  }
  m_recentMenu->setEnabled(!m_recent.files().empty());
}

void MainWindow::askFile() {
  askOpenFile(this, tr("Open weights"), tr("Weights and sessions (*.safetensors *.gguf *.json *.npy *.npz *.nibble);;All files (*)"), [this](const QString& path) { open(path); });
}

void MainWindow::askFolderToOpen() {
  askFolder(this, tr("Open a folder with a checkpoint"), [this](const QString& path) { open(path); });
}

void MainWindow::saveSession(bool askName) {
  if (askName || m_sessionPath.isEmpty()) {
    askSaveFile(this, tr("Save the session"), "session.nibble", tr("Sessions (*.nibble)"), [this](QString path) {
      if (!path.endsWith(".nibble")) path += ".nibble";
      m_sessionPath = path;
      saveSession(false);
    });
    return;
  }
  if (const Status saved = m_session.saveSession(m_sessionPath); !saved) m_problem->showMessage(QString::fromStdString(saved.error().message));
  else m_status->setIdleText(tr("Saved %1").arg(m_sessionPath.section('/', -1)));
}

void MainWindow::closeFile() {
  m_session.edit(tr("Close"), {}, [](SessionState& state) {
    state.file.reset();
    state.tensor.clear();
    state.selection.clear();
    state.cell.reset();
    state.whatIf.reset();
  });
}

void MainWindow::copyCommand() {
  const auto& state = m_session.state();
  const QString text = state.page == Page::Compare  ? compareCommand(state)
                       : state.page == Page::Train  ? trainCommand(state)
                       : state.page == Page::Export ? exportCommand(state)
                                                    : inspectCommand(state, m_session.explorer().cell());
  QApplication::clipboard()->setText(text);
  m_status->setIdleText(tr("Copied: %1").arg(text));
}

namespace {

void showDialog(QWidget* parent, const QString& objectName, const QString& title, const QString& text) {
  auto* dialog = new QDialog(parent);
  dialog->setObjectName(objectName);
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setWindowTitle(title);
  auto* label = new QLabel(text);
  label->setTextFormat(Qt::RichText);
  label->setTextInteractionFlags(Qt::TextBrowserInteraction);
  label->setOpenExternalLinks(true);
  auto* column = new QVBoxLayout(dialog);
  column->setContentsMargins(20, 16, 20, 16);
  column->addWidget(label);
  auto* close = new QPushButton(QObject::tr("Close"));
  close->setObjectName(objectName + "Close");
  QObject::connect(close, &QPushButton::clicked, dialog, &QDialog::close);
  column->addWidget(close, 0, Qt::AlignRight);
  dialog->show();
}

}  // namespace

void MainWindow::showShortcuts() {
  QStringList rows;
  for (auto* action : actions())
    if (!action->shortcut().isEmpty())
      rows << QString("<tr><td style='padding-right:24px'>%1</td><td><b>%2</b></td></tr>").arg(action->text().remove('&'), action->shortcut().toString(QKeySequence::NativeText));
  rows << tr("<tr><td>Candidate: set as baseline, use, tick, remove</td><td><b>B, Enter, Space, Del</b></td></tr>");
  rows << tr("<tr><td>Plots: move, zoom, all</td><td><b>arrows, + and -, Escape</b></td></tr>");
  showDialog(this, "shortcutsDialog", tr("Keys"), "<table>" + rows.join("") + "</table>");
}

void MainWindow::showAbout() {
  showDialog(this, "aboutDialog", tr("About Nibblescope"),
             tr("<h3>Nibblescope %1</h3><p>See what quantization does to your weights.</p><p>Free software under the GNU General Public License, "
                "version 3 or later.<br>Plots are drawn with QCustomPlot. The sample weights are from all-MiniLM-L6-v2 (Apache 2.0).</p>")
                 .arg(QApplication::applicationVersion()));
}

}  // namespace nibble
